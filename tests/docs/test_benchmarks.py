"""Benchmarks are run by hand, seldom: what they import and name must be there all the same."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.benchmarks.all import MORE, QUICK
from tests.benchmarks.encoders import operations, operations_of_training
from tests.benchmarks.method import VARIANTS
from tests.benchmarks.robustness import KINDS

TESTS = Path(__file__).parents[1]
BENCHMARKS = sorted(path.stem for path in (TESTS / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_can_be_started(name: str) -> None:
    assert callable(importlib.import_module(f"tests.benchmarks.{name}").main)


def test_every_benchmark_is_run_with_the_others_or_says_what_it_needs() -> None:
    assert sorted([*QUICK, *MORE, "all"]) == BENCHMARKS


def test_the_operations_of_training_are_those_of_its_products() -> None:
    grouped, sound = nn.Conv1d(8, 8, 3, padding=1, groups=4, bias=False), torch.randn(2, 8, 10)
    assert operations_of_training(lambda: grouped(sound), lambda: None) == 3 * 2 * (2 * 10 * 8 * 2 * 3)
    query = torch.randn(1, 2, 5, 4)
    assert operations(lambda: F.scaled_dot_product_attention(query, query, query)) == 2 * 2 * (2 * 5 * 5 * 4)


def test_the_tests_of_each_fault_are_there() -> None:
    assert [place for places in KINDS.values() for place in places if not (TESTS / place).exists()] == []


@pytest.mark.parametrize(("recipe", "variant"), [(recipe, name) for recipe, each in VARIANTS.items() for name in each])
def test_every_variant_of_a_recipe_is_understood(recipe: str, variant: str, parse: Callable[[list[str]], Any]) -> None:
    assert parse(["fit", "--config", recipe, *VARIANTS[recipe][variant], "--data.root", "DATA"]).model is not None
