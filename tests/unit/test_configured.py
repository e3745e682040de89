"""Scorers and thresholds are built from what a config says of them, in one way for every command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asd.cli.thresholds import build_threshold
from asd.configured import configured
from asd.encoders import Augmentation
from asd.errors import UserError
from asd.heads import ArcFace, Head
from asd.scoring import ConformalThreshold, GammaThreshold, LocalDensity, NeighboursScorer, Scorer, Threshold

OWN = """
from asd.scoring import Threshold

class OfMyOwn(Threshold):
    def __init__(self, factor: float = 2.0, quantile: float = 0.9) -> None:
        super().__init__(quantile)
        self.factor = factor

    def at(self, scores, quantile):
        return self.factor * float(scores.max())
"""


def test_any_kind_is_built_with_the_parts_inside_it() -> None:
    made = configured({"class_path": "LocalDensity", "init_args": {"scorer": "NeighboursScorer", "k": 3}}, Scorer)
    assert isinstance(made, LocalDensity)
    assert isinstance(made.scorer, NeighboursScorer)
    assert made.k == 3
    head = configured({"class_path": "asd.heads.ArcFace", "init_args": {"margin": 0.3}}, Head)
    assert isinstance(head, ArcFace)
    assert head.margin == 0.3
    assert configured("SpecAugment", Augmentation).probability == 1.0


@pytest.mark.parametrize(
    ("spec", "base", "message"),
    [
        ("Gama", Threshold, r"'Gama'.* Did you mean GammaThreshold\?"),
        ("KMeansScorer", Threshold, "no registered Threshold"),
        ({"class_path": "GammaThreshold", "init_args": {"quantil": 0.5}}, Threshold, "no argument quantil; it has"),
        ({"class_path": "GammaThreshold", "init_args": {"quantile": 1.5}}, Threshold, "quantile is 1.5"),
        ({"class_path": "GammaThreshold", "init_args": {"quantile": "half"}}, Threshold, "quantile is 'half'"),
        ({"class_path": "GammaThreshold", "init_args": {"abstain": [1]}}, Threshold, "GammaThreshold: .*abstain"),
        ({"class_path": "LocalDensity", "init_args": {"scorer": "KMean"}}, Scorer, "scorer.scorer.*Did you mean KM"),
        ("os.system", Scorer, "no registered Scorer"),
        (["KMeansScorer"], Scorer, "class_path and init_args"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_told(spec: Any, base: type, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        configured(spec, base)
    assert "\n" not in str(caught.value)


def test_what_the_user_names_is_imported_and_what_a_file_names_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thresholds_of_my_own.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    spec = {"class_path": "thresholds_of_my_own.OfMyOwn", "init_args": {"factor": 3.0}}
    with pytest.raises(UserError, match="no registered Threshold"):
        configured(spec, Threshold)
    assert configured(spec, Threshold, importing=True).factor == 3.0  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"unknown threshold 'no\.such\.Module' \(ModuleNotFoundError"):
        configured("no.such.Module", Threshold, importing=True)
    with pytest.raises(UserError, match=r"unknown threshold 'Gama'\. Did you mean GammaThreshold\?"):
        configured("Gama", Threshold, importing=True)


def test_thresholds_of_the_command_line() -> None:
    assert type(build_threshold({}, importing=True)) is GammaThreshold
    assert type(build_threshold({"threshold": "conformal"}, importing=False)) is ConformalThreshold
    made = build_threshold(
        {"threshold": "{class_path: QuantileThreshold, init_args: {quantile: 0.5, abstain: 0.1}}", "quantile": 0.8},
        importing=True,
    )
    assert (type(made).__name__, made.quantile, made.abstain, made.target) == ("QuantileThreshold", 0.8, 0.1, "pooled")
    for wrong in ("[gamma]", "{class_path: GammaThreshold, init_args: [0.9]}", "{init_args: {quantile: 0.9}}"):
        with pytest.raises(UserError, match="class name, or class_path and init_args"):
            build_threshold({"threshold": wrong}, importing=True)
    with pytest.raises(UserError, match="Did you mean GammaThreshold"):
        build_threshold({"threshold": "gama"}, importing=True)
