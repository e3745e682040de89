from __future__ import annotations

import inspect
import os
import sys
import types
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import soundfile
import torch

from asd.cli import data as command
from asd.cli import main
from asd.data.classes import SupplementalClasses
from asd.training.checkpoints import describe


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two machines, one with hidden attributes, each with supplemental clips."""
    phase = iter(range(100))  # no two files hold the same
    for machine, attributes in (("fan", "_n_A"), ("bearing", "_noAttribute")):
        folder = tmp_path / "data/dev_data/raw" / machine
        for name in (
            f"train/section_00_source_train_normal_0000{attributes}",
            f"train/section_00_target_train_normal_0000{attributes}",
            "test/section_00_source_test_anomaly_0000_n_Z",
            "supplemental/section_00_machine_source_0000_noAttribute",
            "supplemental/section_00_noise_source_0000_noAttribute",
        ):
            path = folder / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * np.sin(np.arange(1600.0) + next(phase)), 16000)
    return tmp_path / "data"


def lines(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["data", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_check_prints_a_table_and_a_verdict(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(root)]) == 0
    shown = lines(capsys)
    assert shown[0][:5] == ["machine", "section", "split", "domain", "clips"]
    assert ["fan", "00", "train", "source", "1", "1", "0", "1", "0", "16000", "1", "0.10", "-23"] in shown
    assert ["bearing", "00", "train", "target", "1", "1", "0", "0", "1", "16000", "1", "0.10", "-23"] in shown
    assert ["bearing", "00", "test", "source", "1", "0", "1", "1", "0", "16000", "1", "0.10", "-23"] in shown
    assert ["note:", "hidden", "attributes,", "one", "class", "per", "domain:", "bearing"] in shown
    assert " ".join(shown[-1]) == "10 clips, 0.00 hours: nothing to mend"


def test_check_lists_what_must_be_mended(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = root / "dev_data/raw/fan/test/section_00_0001.wav"
    broken.write_text("no sound\n")
    assert main(["data", "check", str(root)]) == 1
    out = capsys.readouterr().out
    assert f"mend: {broken}: cannot be read as audio" in out
    assert out.endswith("1 to mend\n")


def test_check_shortens_long_lists_of_remarks_on_demand(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(25):
        clipped = np.concatenate([np.ones(4), -np.ones(4), np.zeros(i + 1)])
        soundfile.write(root / f"dev_data/raw/fan/test/section_00_{i:04d}.wav", clipped, 16000)
    assert main(["data", "check", str(root)]) == 0
    assert "note: 7 more; --all lists them" in capsys.readouterr().out
    assert main(["data", "check", str(root), "--all"]) == 0
    assert capsys.readouterr().out.count("clipped") == 25


def test_classes_of_a_data_set(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "classes", str(root), "--clean", "shared", "--noise", "none"]) == 0
    assert lines(capsys) == [
        ["label", "class", "clips"],
        ["0", "bearing/section_00/source", "1"],
        ["1", "bearing/section_00/target", "1"],
        ["2", "clean", "2"],
        ["3", "fan/section_00/n_a", "2"],
    ]
    assert main(["data", "classes", str(root), "--machines", "fan"]) == 0
    assert [row[1] for row in lines(capsys)[1:]] == ["fan/clean", "fan/noise", "fan/section_00/n_a"]


def test_classes_of_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"asd": describe(None, ["b/noise", "a/clean"], [])}, path)
    assert main(["data", "classes", "--checkpoint", str(path)]) == 0
    assert lines(capsys) == [["label", "class"], ["0", "b/noise"], ["1", "a/clean"]]
    torch.save({"state_dict": {}}, path)
    assert "was not written by asd" in refused(capsys, "classes", "--checkpoint", path)
    path.write_text("no checkpoint")
    assert str(path) in refused(capsys, "classes", "--checkpoint", path)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["check", "absent"], "no data folder absent; expected absent/dev_data/raw/<machine>/train/"),
        (["classes"], "give either a data set or --checkpoint FILE"),
        (["classes", "absent"], "no data folder absent"),
        (["classes", "absent", "--clean", "both"], "invalid choice: 'both'"),
        (["classes", "absent", "--check", "x"], "--check"),
        (["synthesize", "out", "--test", "-3"], "--test"),
        (["synthesize", "out", "--seconds", "0"], "'0' is not a number above 0"),
        (["synthesize", "out", "--seed", "x"], "--seed"),
        (["mix", "absent", "absent", "out", "--machine", "fan", "--snr", "6"], "no folder absent"),
        (["mix", "absent", "absent", "out", "--machine", "fan", "--snr", "loud"], "neither a number of dB nor clean"),
        (["mix", "absent", "absent", "out", "--machine", "fan", "--snr", "6", "--sample-rate", "x"], "no sample rate"),
        (["shard", "absent", "out"], "no data folder absent"),
        (["pseudo-label", "absent"], "no folder absent"),
        ([], "ACTION"),
        (["chek"], "chek"),  # codespell:ignore
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown in refused(capsys, *arguments)


def test_a_machine_without_training_clips_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (root / "dev_data/raw/fan/train").iterdir():
        path.unlink()
    assert "no normal training clips for fan, section 00" in refused(capsys, "classes", root)


def test_class_choices_are_those_of_the_table() -> None:
    assert set(get_args(SupplementalClasses)) - {False, "off"} == set(command.CLASS_CHOICES)


def test_synthesize_passes_on_what_is_given_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[Any, ...]] = []

    def synthesize(out: Path, machines: object, **options: object) -> Path:
        calls.append((machines, options))
        return out

    module = types.ModuleType("asd.data.synthesis.dataset")
    module.synthesize = synthesize  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "asd.data.synthesis.dataset", module)
    out = tmp_path / "out"
    given = {"subset": "eval_data", "seconds": 2.5, "train_source": 4, "train_target": 2, "test": 3, "supplemental": 0}
    given |= {"severity": 0.5, "seed": 7, "year": 2026}
    options = [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    assert main(["data", "synthesize", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    assert main(["data", "synthesize", str(out), "--machines", "fan", "valve", *options]) == 0
    assert calls == [(None, {}), (["fan", "valve"], given)]


def test_synthesize_offers_every_option_of_the_synthesiser(capsys: pytest.CaptureFixture[str]) -> None:
    synthesiser = pytest.importorskip("asd.data.synthesis.dataset", reason="needs asd/data/synthesize.py")
    with pytest.raises(SystemExit):
        main(["data", "synthesize", "--help"])
    shown = capsys.readouterr().out
    for name in inspect.signature(synthesiser.synthesize).parameters:
        assert (f"--{name.replace('_', '-')}" if name != "out" else "OUT") in shown


def test_what_is_synthesised_passes_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("asd.data.synthesis.dataset", reason="needs asd/data/synthesize.py")
    out = tmp_path / "out"
    sizes = ["--seconds", "1", "--train-source", "4", "--train-target", "2", "--test", "2", "--supplemental", "2"]
    assert main(["data", "synthesize", str(out), "--machines", "fan", *sizes]) == 0
    assert main(["data", "check", str(out)]) == 0
    assert "16 clips" in capsys.readouterr().out


def test_shard_packs_a_data_set(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "shard", str(root), str(tmp_path / "shards")]) == 0
    assert capsys.readouterr().out.splitlines() == ["10 clips in 1 archives", str(tmp_path / "shards")]
    assert "holds shards already" in refused(capsys, "shard", root, tmp_path / "shards")


def test_mix_fills_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, first in (("sounds", 0), ("noises", 3)):
        (tmp_path / folder).mkdir()
        for number in range(first, first + 3):
            sound = 0.1 * np.random.default_rng(number).standard_normal(1600)
            soundfile.write(tmp_path / folder / f"{number}.wav", sound, 16000)
    arguments = ["data", "mix", *(str(tmp_path / one) for one in ("sounds", "noises", "out")), "--machine", "fan"]
    assert main([*arguments, "--snr", "6", "clean"]) == 0
    assert main([*arguments, "--snr", "0", "--split", "test", "--domain", "target", "--condition", "anomaly"]) == 0
    assert capsys.readouterr().out.splitlines() == ["3 clips", str(tmp_path / "out")] * 2
    assert main(["data", "check", str(tmp_path / "out")]) == 0
    shown = lines(capsys)
    assert ["fan", "00", "train", "source", "3", "3", "0"] in [row[:7] for row in shown]
    assert ["fan", "00", "test", "target", "3", "0", "3"] in [row[:7] for row in shown]


def test_a_folder_without_read_permission_is_one_line(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scandir = os.scandir

    def guarded(path: Any) -> Any:  # as for anybody but root
        if str(path).endswith("fan/train"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    line = refused(capsys, "check", root)
    assert "fan/train" in line
    assert "permission denied" in line
