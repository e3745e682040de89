"""Encoders and vectors as they are named on the command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from asd_plugins.beats import BEATs
from asd_plugins.dual_branch import DualBranchCNN
from asd_plugins.fusion import Fusion
from asd_plugins.mobilenet import MobileNet

from asd.comparison.encoders import choices, random_parts, vectors, weights_files
from asd.errors import UserError


def test_an_encoder_has_the_arguments_that_are_given_and_the_usual_ones() -> None:
    (one,) = choices(["DualBranchCNN:seconds=2,resolutions=[[256, 128],[512,256]],clip_mean=false"])
    arguments = one.spec["init_args"]
    assert (arguments["seconds"], arguments["clip_mean"], arguments["width"]) == (2, False, 16)
    assert arguments["resolutions"] == [[256, 128], [512, 256]]
    assert one.title == "DualBranchCNN"
    assert choices(["DualBranchCNN"])[0].spec == choices(["asd_plugins.dual_branch.DualBranchCNN:seconds=10.0"])[0].spec


def test_an_encoder_within_another_is_given_by_a_config(tmp_path: Path) -> None:
    file = tmp_path / "lora.yaml"
    file.write_text("model: {encoder: {class_path: LoRA, init_args: {rank: 2, encoder: BEATs}}}")
    (one,) = choices([str(file)])
    assert one.name == "lora.yaml"
    assert one.spec["init_args"]["encoder"]["class_path"].endswith(".BEATs")
    (packaged,) = choices(["encoder/mobilenet"])
    assert packaged.spec["init_args"]["weights"] == "mn04_as"
    (nested,) = choices(["LoRA:encoder={class_path: BEATs, init_args: {layers: 2}},rank=2"])
    assert nested.spec["init_args"]["encoder"]["init_args"]["layers"] == 2


def test_names_are_short_where_they_tell_encoders_apart() -> None:
    found = choices(
        ["MobileNet:weights=here/net.pt", "MobileNet:weights=there/net.pt", "BEATs:weights=a/b.pt,layers=2"]
    )
    assert [one.name for one in found] == [
        "MobileNet:weights=here/net.pt", "MobileNet:weights=there/net.pt", "BEATs:weights=b.pt,layers=2",
    ]  # fmt: skip
    assert len(choices(["BEATs", "BEATs:layers=1", "BEATs"])) == 1, "the same encoder is compared once"


def test_files_of_weights_are_known_by_size_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.pt").write_bytes(b"123")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/model.safetensors").write_bytes(b"1234")
    spec = {"weights": f"{tmp_path}/net.pt", "parts": [{"weights": f"{tmp_path}/folder"}, {"weights": "gone.pt"}]}
    found = list(weights_files(spec))
    assert [one[:2] for one in found] == [("net.pt", 3), ("model.safetensors", 4)]
    os.utime(tmp_path / "net.pt", (1e9, 1e9))
    assert next(weights_files(spec)) == ("net.pt", 3, 10**18)
    monkeypatch.setenv("ASD_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/mn04_as_mAP_432.pt").write_bytes(b"12345")
    assert [one[:2] for one in weights_files({"weights": "mn04_as"})] == [("mn04_as_mAP_432.pt", 5)]


def test_parts_without_weights_are_random(tmp_path: Path) -> None:
    torch.save(
        {f"features.{key}": one for key, one in MobileNet(0.1).features.state_dict().items()}, tmp_path / "net.pt"
    )
    loaded = MobileNet(weights=str(tmp_path / "net.pt"))
    cnn = DualBranchCNN.tiny()
    assert random_parts(loaded) == []
    assert random_parts(cnn) == ["DualBranchCNN"]
    assert random_parts(Fusion([loaded, MobileNet(0.1)])) == ["MobileNet"]


def test_each_vector_is_made_once() -> None:
    beats, cnn = BEATs.tiny(), DualBranchCNN.tiny()
    assert vectors(["tokens", "bands", "tokens@-1"], beats) == (["tokens", "bands"], [])
    assert vectors(["tokens", "bands"], cnn) == (["tokens"], [])
    assert vectors(["bands"], cnn) == (["bands"], [])
    assert vectors(["bands/max@each", "tokens@-2", "tokens@-3"], beats) == (
        ["bands/max@-1", "bands/max@-2", "tokens@-2"], ["tokens@-3"],
    )  # fmt: skip
    with pytest.raises(UserError, match="it returns 2 of its layers, so there is no tokens@-4 or bands@-3"):
        vectors(["tokens@-4", "bands@-3"], beats)
