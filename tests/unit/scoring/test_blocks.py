"""Near copies are found and held out together; what is known of clips is no likeness."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asd.scoring import KMeansScorer, NeighboursScorer, QuantileThreshold
from asd.scoring.blocks import BLOCKS, blocks_of
from asd.scoring.reference_bank import Bank
from asd.scoring.sections import SectionScorers


def near_copies(recordings: int, each: int, seed: int = 0, apart: float = 0.5) -> tuple[Tensor, Tensor]:
    """Embeddings ``(N, 24)`` of `each` near copies of so many recordings, and of which each is a copy."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.ones(24) + apart * torch.randn(recordings, 24, generator=generator)
    rows = centres.repeat_interleave(each, 0) + 0.02 * torch.randn(recordings * each, 24, generator=generator)
    return rows, torch.arange(recordings).repeat_interleave(each)


def alone(count: int) -> tuple[Tensor, Tensor]:
    return torch.arange(count), torch.zeros(count, dtype=torch.bool)


def test_near_copies_share_a_block() -> None:
    rows, copy_of = near_copies(BLOCKS, 12)
    found = blocks_of(rows, *alone(len(rows)))
    assert len({(int(a), int(b)) for a, b in zip(found, copy_of, strict=True)}) == BLOCKS


def test_what_attributes_say_is_no_likeness() -> None:
    rows, copy_of = near_copies(BLOCKS, 12, apart=0.2)
    speed = torch.arange(len(rows)) % 3
    shifted = rows + 20 * torch.eye(24)[speed]
    kinds = [f"speed_{int(one)}" for one in speed]
    found = blocks_of(shifted, *alone(len(rows)), kinds)
    assert len({(int(a), int(b)) for a, b in zip(found, copy_of, strict=True)}) == BLOCKS
    unknown = blocks_of(shifted, *alone(len(rows)))
    assert max(len(unknown[copy_of == one].unique()) for one in range(BLOCKS)) == 3, "without, speed divides them"


def test_recordings_stay_together_and_few_are_blocks_themselves() -> None:
    rows, _ = near_copies(30, 4)
    group = torch.arange(60).repeat_interleave(2)
    found = blocks_of(rows, group, torch.zeros(120, dtype=torch.bool))
    assert torch.equal(found[::2], found[1::2])
    few = blocks_of(rows[:20], torch.arange(5).repeat_interleave(4) * 7, torch.zeros(20, dtype=torch.bool))
    assert few.tolist() == torch.arange(5).repeat_interleave(4).tolist()


def test_embeddings_that_are_all_the_same_are_one_block() -> None:
    assert blocks_of(torch.ones(40, 3), *alone(40)).unique().tolist() == [0]


@pytest.mark.parametrize("scorer", [NeighboursScorer(), KMeansScorer(16)])
def test_new_recordings_raise_no_more_false_alarms_than_were_asked_for(scorer: torch.nn.Module) -> None:
    """Where each clip has near copies, leaving it out alone promises what new sound does not keep."""
    alarms, uncertain = [], []
    for seed in range(6):
        rows, copy_of = near_copies(20, 12, seed)
        known, new = rows[copy_of < 12], rows[copy_of >= 12]
        bank = Bank(
            known, torch.zeros(144, dtype=torch.int64), torch.zeros(144, dtype=torch.bool), *2 * (torch.arange(144),)
        )
        sections = SectionScorers(scorer, QuantileThreshold(0.9), ["fan"]).fit(bank)
        limits, scores = sections.limits(0), sections(new, 0)
        alarms.append(float((scores > limits.alarm).double().mean()))
        uncertain.append(float((scores > limits.abstain).double().mean()))
    assert sum(alarms) / 6 < 0.25
    assert sum(uncertain) / 6 > 0.9, "the lower edge is what holds for near copies"


def test_clips_without_near_copies_cost_no_caution() -> None:
    """Where each clip is its own recording, both limits keep about the promise."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.ones(16) + 0.3 * torch.randn(600, 16, generator=generator)
    bank = Bank(
        rows[:300], torch.zeros(300, dtype=torch.int64), torch.zeros(300, dtype=torch.bool), *2 * (torch.arange(300),)
    )
    sections = SectionScorers(NeighboursScorer(), QuantileThreshold(0.9), ["fan"]).fit(bank)
    scores = sections(rows[300:], 0)
    assert 0.02 < float((scores > sections.limits(0).alarm).double().mean()) < 0.15
