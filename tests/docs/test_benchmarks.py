"""Benchmarks are run by hand, seldom: what they import and name must be there all the same."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.benchmarks.robustness import KINDS

TESTS = Path(__file__).parents[1]
BENCHMARKS = sorted(path.stem for path in (TESTS / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_can_be_started(name: str) -> None:
    assert callable(importlib.import_module(f"tests.benchmarks.{name}").main)


def test_the_tests_of_each_fault_are_there() -> None:
    assert [place for places in KINDS.values() for place in places if not (TESTS / place).exists()] == []
