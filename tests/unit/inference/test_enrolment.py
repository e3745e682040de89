"""An enrolled machine is measured by what else the detector knows."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from asd.inference.enrolment import _doubts, told_apart
from asd.scoring import GammaThreshold, NeighboursScorer
from asd.scoring.reference_bank import Bank
from asd.scoring.sections import SectionScorers


def clips(centre: float, count: int, seed: int) -> Tensor:
    """Embeddings ``(N, 4)`` around a direction."""
    noise = 0.1 * torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return noise + torch.tensor([math.cos(centre), math.sin(centre), 0.0, 0.0])


def fitted(*machines: Tensor) -> SectionScorers:
    section = torch.cat([torch.full((len(one),), number) for number, one in enumerate(machines)])
    count = len(section)
    bank = Bank(
        torch.cat(machines), section, torch.zeros(count, dtype=torch.bool), torch.arange(count), torch.arange(count),
        tuple((str(row), "") for row in range(count)),
    )  # fmt: skip
    names = [f"{chr(97 + number)}_section_00" for number in range(len(machines))]
    return SectionScorers(NeighboursScorer(), GammaThreshold(), names).fit(bank)


def test_other_sound_scores_higher_where_the_detector_knows_the_machine() -> None:
    assert told_apart(fitted(clips(0.0, 30, 1), clips(1.5, 30, 2)), 0) == 1.0


def test_sound_like_that_of_another_machine_is_at_chance() -> None:
    assert abs(told_apart(fitted(clips(0.0, 300, 1), clips(0.0, 300, 2)), 0) - 0.5) < 0.1


def test_nothing_is_known_where_there_is_no_other_machine() -> None:
    assert math.isnan(told_apart(fitted(clips(0.0, 30, 1)), 0))


@pytest.mark.parametrize(
    ("classifies", "apart", "said"),
    [
        (True, 0.9, ""),
        (True, math.nan, ""),
        (True, 0.47, "in 47 % of the pairs alone, where 50 % is chance"),
        (False, math.nan, "object has learned the sound of its own machines alone"),
    ],
)
def test_a_detector_that_is_of_no_use_says_so(classifies: bool, apart: float, said: str) -> None:
    model = SimpleNamespace(head=SimpleNamespace(classifies=classifies), encoder=object())
    told = list(_doubts(SimpleNamespace(model=model), apart, "pump"))  # type: ignore[arg-type]
    assert len(told) == bool(said)
    assert all(said in one and "asd fit --config my_machine" in one and "PLACE/pump/normal" in one for one in told)
