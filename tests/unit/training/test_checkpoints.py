"""Checkpoints: written whole or not at all, read without running code, enough to build the detector again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from asd_plugins.dual_branch import DualBranchCNN
from torch import Tensor, nn

from asd.encoders.adapter import Adapter
from asd.encoders.augment import Mixup
from asd.errors import UserError
from asd.scoring import GammaThreshold, KMeansScorer, SectionScorers
from asd.training import checkpoints, distributed
from asd.training.collect import Rows
from asd.training.module import AnomalyDetector

NOTHING = checkpoints.describe(None, [], [])


def test_a_checkpoint_is_renamed_into_place_and_nothing_is_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "new" / "last.ckpt"
    checkpoints.save({"asd": NOTHING, "value": torch.ones(2)}, path)
    checkpoints.save({"asd": NOTHING, "value": torch.zeros(2)}, path)
    assert [one.name for one in path.parent.iterdir()] == ["last.ckpt"]
    assert torch.equal(checkpoints.load(path)["value"], torch.zeros(2))


def test_a_write_that_fails_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    checkpoints.save({"asd": NOTHING, "value": 1}, path)

    def full(content: object, place: Path) -> None:
        Path(place).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"cannot write the checkpoint .*No space left"):
        checkpoints.save({"asd": NOTHING, "value": 2}, path)
    monkeypatch.undo()
    assert checkpoints.load(path)["value"] == 1
    assert [one.name for one in tmp_path.iterdir()] == ["last.ckpt"]


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo run > pickled_code_was_run",)


@pytest.mark.parametrize("kind", ["missing", "truncated", "foreign", "code", "list"])
def test_what_is_no_checkpoint_is_named(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "some.ckpt"
    if kind == "truncated":
        torch.save({"asd": {}, "state_dict": {"x": torch.ones(10_000)}}, path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind != "missing":
        torch.save({"foreign": {"state_dict": {}}, "code": _Code(), "list": [1]}[kind], path)
    with pytest.raises(UserError, match=r"some\.ckpt"):
        checkpoints.load(path)
    assert not (tmp_path / "pickled_code_was_run").exists()


def test_weights_files_are_not_asked_for_again() -> None:
    encoder = {"class_path": "F", "init_args": {"encoders": [{"init_args": {"weights": "a"}}, {"weights": "b"}]}}
    config = checkpoints.without_weights_files({"model": {"encoder": encoder, "weights": "kept"}, "data": {}})
    assert config["model"]["encoder"]["init_args"]["encoders"] == [{"init_args": {"weights": None}}, {"weights": None}]
    assert config["model"]["weights"] == "kept"


def test_scoring_differs_only_by_scorer_and_threshold() -> None:
    then = {"model": {"scorer": {"k": 1}, "threshold": None, "mixup": None}}
    assert not checkpoints.scoring_differs(then, {"model": {"scorer": {"k": 1}, "threshold": None, "mixup": 1}})
    assert checkpoints.scoring_differs(then, {"model": {"scorer": {"k": 2}, "threshold": None}})
    assert not checkpoints.scoring_differs(None, then)


def test_options_newer_than_a_checkpoint_do_not_change_its_scorer() -> None:
    def run(**inner: object) -> dict[str, object]:
        density = {"class_path": "asd.scoring.LocalDensity", "init_args": {"mode": "ratio", **inner}}
        return {"model": {"scorer": {"class_path": "asd.scoring.Standardised", "init_args": {"scorer": density}}}}

    assert not checkpoints.scoring_differs(run(), run(cluster_exit=False))
    assert checkpoints.scoring_differs(run(), run(cluster_exit=True))


def test_scorers_of_another_embedding_are_fitted_anew() -> None:
    def run(**arguments: object) -> dict[str, object]:
        adapter = {"class_path": "asd.encoders.Adapter", "init_args": arguments} if arguments else None
        return {"model": {"adapter": adapter, "scorer": None}}

    assert checkpoints.scoring_differs(run(embedding="pooled"), run(embedding="bands/rdp4"))
    assert checkpoints.scoring_differs(run(), run(pooling="max"))
    assert not checkpoints.scoring_differs(run(), run(embedding="projected", dropout=0.1, bands=False))


def detector() -> AnomalyDetector:
    torch.manual_seed(0)
    return AnomalyDetector(
        DualBranchCNN.tiny(), Adapter(embedding_dim=4), scorer=KMeansScorer(2), mixup=Mixup()
    )  # fmt: skip


def test_the_file_alone_says_which_classes_and_machines_there_are() -> None:
    one = detector()
    one.build(["a", "b", "c"], ["fan_section_00", "valve_section_00"])
    saved: dict[str, object] = {"state_dict": one.state_dict()}
    one.on_save_checkpoint(saved)
    other = detector()
    other.on_load_checkpoint(saved)
    other.load_state_dict(saved["state_dict"])
    assert other.classes == ("a", "b", "c")
    assert other.sections.names == ("fan_section_00", "valve_section_00")
    waveform, numbers = torch.randn(3, 16000), torch.zeros(3, dtype=torch.int64)
    torch.testing.assert_close(other.eval().embed(waveform), one.eval().embed(waveform))
    with pytest.raises(UserError, match="not fitted"):
        other(waveform, numbers)


def test_rows_of_one_process_are_sorted_and_counted_once() -> None:
    held = Rows(1, (5, 0))
    held.add("reference", torch.tensor([3, 1]), torch.tensor([[3.0], [1.0]]))
    held.add("reference", torch.tensor([3]), torch.tensor([[9.0]]))
    index, rows = held.gathered("reference")
    assert index.tolist() == [1, 3]
    assert rows.tolist() == [[1.0], [3.0]]
    assert held.gathered("query")[1].shape == (0, 1)
    module: nn.Module = nn.BatchNorm1d(2)
    distributed.share_buffers([module])
    value: Tensor = distributed.total(torch.ones(2))
    assert value.tolist() == [1, 1]
    assert distributed.broadcast("x") == "x"


def test_what_earlier_versions_called_otherwise_is_found(tmp_path: Path) -> None:
    path = tmp_path / "old.ckpt"
    described = {"version": "0.1.0", "config": None, "classes": ["a"], "populations": ["fan_section_00"]}
    state = {"encoder.population.weight": torch.zeros(1), "population.thresholds": torch.ones(1)}
    checkpoints.save({"asd": described, "state_dict": state}, path)
    content = checkpoints.load(path)
    assert content["asd"]["sections"] == ["fan_section_00"]
    assert "populations" not in content["asd"]
    assert set(content["state_dict"]) == {"encoder.population.weight", "sections.thresholds"}
    scorers = SectionScorers(KMeansScorer(), GammaThreshold(), ["fan"])
    old = {key: value for key, value in scorers.state_dict().items() if key != "abstain_above"}
    old |= {"thresholds": torch.tensor([2.0]), "doubts": torch.tensor([1.0])}
    scorers.load_state_dict(old)
    assert scorers.limits(0) == (2.0, 1.0)
    del old["doubts"]
    scorers.load_state_dict(old)
    assert scorers.limits(0) == (2.0, 2.0)
