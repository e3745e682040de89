"""Objects say how to make them again, as plain data."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from asd.data import NoiseMix, ToyADMOS2
from asd.described import Described, described
from asd.encoders import Adapter, Mixup, SpecAugment
from asd.scoring import KMeansScorer, Standardised
from asd.training import OptimizerOptions


class Both(Described, nn.Module):
    def __init__(self, first: int, *, second: str = "b", **more: Any) -> None:
        super().__init__()


def test_arguments_are_those_given_and_the_usual_rest() -> None:
    assert described(Both(1, third=[2, (3,)])) == {
        "class_path": f"{__name__}.Both", "init_args": {"first": 1, "second": "b", "third": [2, [3]]},
    }  # fmt: skip
    assert list(inspect.signature(Both).parameters) == ["first", "second", "more"]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Path("a/b"), "a/b"),
        ({"k": (1, None, True, 2.5)}, {"k": [1, None, True, 2.5]}),
        (
            NoiseMix((0.0, 6.0)),
            {"class_path": "asd.data.NoiseMix", "init_args": {"snr": [0.0, 6.0], "probability": 0.5}},
        ),
        (OptimizerOptions(lr=0.5), {**vars(OptimizerOptions()), "lr": 0.5}),
    ],
    ids=["path", "nested", "class", "dataclass"],
)
def test_values_become_plain(value: Any, plain: Any) -> None:
    assert described(value) == plain


def test_parts_are_described_by_the_package_that_names_them() -> None:
    whole = described(Standardised(KMeansScorer(k=3)))
    assert whole["class_path"] == "asd.scoring.Standardised"
    assert whole["init_args"]["scorer"]["class_path"] == "asd.scoring.KMeansScorer"
    assert whole["init_args"]["scorer"]["init_args"]["k"] == 3
    assert described(Mixup(0.5))["class_path"] == "asd.encoders.Mixup"
    data = described(ToyADMOS2("root", seconds=3))
    assert (data["init_args"]["root"], data["init_args"]["seconds"]) == ("root", 3)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))], ids=["copy", "pickle"])
def test_copies_say_the_same(again: Callable[[Any], Any]) -> None:
    for one in (SpecAugment(time_masks=7), Adapter(embedding_dim=4), KMeansScorer(k=5)):
        assert described(again(one)) == described(one)


@pytest.mark.parametrize("value", [torch.ones(1), nn.Linear(1, 1), object(), Both(torch.ones(1))])
def test_what_plain_data_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be described"):
        described(value)


def test_a_class_within_a_function_has_no_name_for_a_file() -> None:
    class Inner(SpecAugment):
        pass

    with pytest.raises(TypeError, match="Inner is no class of a module"):
        described(Inner())


def test_wrong_arguments_are_for_the_constructor_to_refuse() -> None:
    with pytest.raises(TypeError, match="first"):
        Both()  # type: ignore[call-arg]
