"""Every scorer that is found passes every check; one that must not is caught."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from asd.plugins import known
from asd.scoring.base import Scorer
from asd.testing.contract import Check, name_of, run_check
from asd.testing.scorer import CHECKS, check_scorer, reference

FOUND = [name for name, cls in known(Scorer).items() if cls.__module__.startswith(("asd.", "asd_plugins."))]  # type: ignore[type-abstract]


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
@pytest.mark.parametrize("name", FOUND)
def test_scorers_hold_to_the_contract(name: str, check: Check[Scorer]) -> None:
    run_check(check, known(Scorer)[name]())


class _Alone(nn.Module):
    """A scorer as a graph of its own."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        self.scorer = scorer

    def forward(self, embeddings: Tensor) -> Tensor:
        scores: Tensor = self.scorer(embeddings).float()
        return scores


@pytest.mark.parametrize("name", FOUND)
def test_scorers_are_the_same_in_onnxruntime(name: str, tmp_path: Path) -> None:
    import onnx.checker
    import onnxruntime

    rows, target = reference()
    scorer = known(Scorer)[name]().fit(rows, target)
    batch = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    program = torch.export.export(_Alone(scorer).eval(), (rows[:3],), dynamic_shapes=batch, strict=False)
    written = torch.onnx.export(program, (rows[:3],), dynamo=True, verbose=False)
    written.save(str(tmp_path / "scorer.onnx"))
    onnx.checker.check_model(str(tmp_path / "scorer.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "scorer.onnx"), providers=["CPUExecutionProvider"])
    for size in (1, 2, 7):
        given = torch.cat([rows[: size - 1], -3 * rows[:1]])
        (found,) = session.run(None, {session.get_inputs()[0].name: given.numpy()})
        assert found == pytest.approx(scorer(given).numpy(), rel=1e-4, abs=1e-4)


class _Similarity(Scorer):
    """The wrong way round: higher is more normal."""

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Scorer:
        self.check_reference(embeddings)
        self.remember(centre=embeddings.mean(0))
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        self.check_fitted()
        return -torch.cdist(embeddings, self.centre[None])[:, 0]


class _Forgetful(_Similarity):
    """What is learned is no buffer."""

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Scorer:
        super().fit(embeddings, target)
        self.secret = embeddings.mean(0)
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        self.check_fitted()
        return torch.cdist(embeddings, self.secret[None])[:, 0]


@pytest.mark.parametrize(("broken", "message"), [(_Similarity, "higher_is_more_anomalous"), (_Forgetful, "state_dict")])
def test_broken_scorers_are_caught(broken: type[Scorer], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_scorer(broken())
