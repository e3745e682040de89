"""What is kept of many normal clips, and what it takes to choose them."""

from __future__ import annotations

import tracemalloc

import torch

from asd.scoring.normal_clips import NormalClips
from asd.scoring.reference_bank import Bank


def test_of_many_clips_those_kept_alone_are_described() -> None:
    count = 100_000
    one = torch.arange(count)
    bank = Bank(torch.ones(count, 1), 0 * one, one % 2 == 0, one // 10, one, facts=(("a.wav", "speed_1"),) * count)
    scores, kept = torch.ones(count), NormalClips()
    tracemalloc.start()
    kept.remember(scores, scores, one, bank)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * count, "bytes of Python's own"
    found = kept.bank()
    assert found is not None
    rows = torch.linspace(0, count - 1, 2000).round().long()
    assert torch.equal(found.group, bank.group[rows]) and torch.equal(found.target, bank.target[rows])
    assert set(found.facts) == {("a.wav", "speed_1")} and bool(found.judged.all())
