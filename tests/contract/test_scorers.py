"""Every scorer that is found passes every check; one that must not is caught."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import torch
from torch import Tensor

import asd.scoring
from asd.plugins import known
from asd.scoring.base import Scorer
from asd.testing.contract import run_check
from asd.testing.scorer import CHECKS, check_scorer

for module in pkgutil.iter_modules(asd.scoring.__path__):
    importlib.import_module(f"asd.scoring.{module.name}")
FOUND = [name for name, cls in known(Scorer).items() if cls.__module__.startswith("asd.")]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", FOUND)
def test_scorers_hold_to_the_contract(name: str, check: str) -> None:
    run_check(check, CHECKS[check], known(Scorer)[name]())


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
