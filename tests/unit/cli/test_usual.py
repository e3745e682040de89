"""Options of parts whose class nobody names, through the parser of the program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from asd_plugins.dual_branch import DualBranchCNN

from asd.cli.training import run_trainer
from asd.errors import UserError
from asd.training.network import USUAL, Network

ENCODER = ("--model.encoder", "DualBranchCNN", "--data.root", "nowhere")


def parsed(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """The model's part of the configuration that these arguments make."""
    with pytest.raises(SystemExit) as ended:
        run_trainer(["fit", *ENCODER, *map(str, arguments), "--print_config"])
    assert ended.value.code == 0
    model: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)["model"]
    return model


def test_the_usual_parts_are_those_of_a_network() -> None:
    network = Network(DualBranchCNN.tiny())
    assert {name: type(getattr(network, name)) for name in USUAL} == USUAL


@pytest.mark.parametrize(
    ("flag", "path", "value"),
    [
        ("--model.scorer.k=8", "asd.scoring.KMeansScorer", 8),
        ("--model.scorer.init_args.k=8", "asd.scoring.KMeansScorer", 8),
        ("--model.head.dynamic=false", "asd.heads.AdaCos", False),
        ("--model.threshold.quantile=0.8", "asd.scoring.GammaThreshold", 0.8),
        ("--model.adapter.embedding_dim=16", "asd.encoders.Adapter", 16),
        ("--model.mixup.alpha=2", "asd.encoders.Mixup", 2),
    ],
)
def test_an_option_alone_is_one_of_the_usual_class(
    flag: str, path: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    _, part, *_, option = flag.partition("=")[0].split(".")
    found = parsed(capsys, flag)[part]
    assert (found["class_path"], found["init_args"][option]) == (path, value)


@pytest.mark.parametrize(
    ("parts", "flags", "path", "arguments"),
    [
        (["{init_args: {k: 8}}"], [], "KMeansScorer", {"k": 8}),
        (["{k: 8}"], ["--model.scorer.metric=euclidean"], "KMeansScorer", {"k": 8, "metric": "euclidean"}),
        (["null"], ["--model.scorer.k=8"], "KMeansScorer", {"k": 8}),
        (["{k: 8}", "null"], ["--model.scorer.metric=euclidean"], "KMeansScorer", {"k": 16, "metric": "euclidean"}),
        (["{k: 8}"], ["--model.scorer=NeighboursScorer"], "NeighboursScorer", {"k": 8}),
        (["NeighboursScorer"], ["--model.scorer.k=8"], "NeighboursScorer", {"k": 8}),
        (["null", "NeighboursScorer"], ["--model.scorer.k", "8"], "NeighboursScorer", {"k": 8}),
        ([], ["--model.scorer.class_path=NeighboursScorer", "--model.scorer.k=8"], "NeighboursScorer", {"k": 8}),
    ],
)
def test_configs_and_flags_together(
    parts: list[str], flags: list[str], path: str, arguments: dict[str, object], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    configs = []
    for number, part in enumerate(parts):
        (tmp_path / f"{number}.yaml").write_text(f"model: {{scorer: {part}}}")
        configs += ["--config", tmp_path / f"{number}.yaml"]
    found = parsed(capsys, *configs, *flags)["scorer"]
    assert found["class_path"] == f"asd.scoring.{path}"
    assert arguments.items() <= found["init_args"].items()


def test_what_the_usual_class_does_not_take_is_refused() -> None:
    with pytest.raises(UserError, match="Option 'neighbours' is not accepted"):
        run_trainer(["fit", *ENCODER, "--model.scorer.neighbours", "8"])


def test_parts_of_which_nothing_is_said_stay_unsaid(capsys: pytest.CaptureFixture[str]) -> None:
    assert [parsed(capsys)[name] for name in USUAL] == [None, None, None]
