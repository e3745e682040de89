"""Which dimensions a vision transformer gets, and what is said where its file has others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from asd.encoders.pretrained import Weights
from asd.encoders.transformer import TransformerShape, decided, last_outputs, shape_of, stack
from asd.errors import UserError


@dataclass(frozen=True)
class Shape(TransformerShape):
    reach: int = 10


SIZES = {"base": Shape(768, 12, 12), "large": Shape(1024, 24, 16)}
WEIGHTS = Weights(Path("w.pt"), {}, {})


def test_what_is_asked_for_comes_before_the_file_and_that_before_the_first_size() -> None:
    own, long = Shape(8, 1, 2), Shape(1024, 24, 16, reach=20)
    assert decided("X", SIZES, None, None, None) == SIZES["base"]
    assert decided("X", SIZES, "large", None, None) == SIZES["large"]
    assert decided("X", SIZES, "large", own, None) == own
    assert decided("X", SIZES, None, None, (WEIGHTS, own)) == own
    # A published size is one by width, depth and heads; the rest is the file's.
    assert decided("X", SIZES, "large", None, (WEIGHTS, long)) == long


def test_a_file_of_other_dimensions_says_what_to_set() -> None:
    large = (WEIGHTS, SIZES["large"])
    said = r"w\.pt is of another size: width 1024 \(not 768\), depth 24 \(not 12\), heads 16 \(not 12\); "
    with pytest.raises(UserError, match=f"{said}set size to large, or leave size and shape out"):
        decided("X", SIZES, "base", None, large)
    with pytest.raises(UserError, match=r"another size: reach 10 \(not 20\); set shape to that"):
        decided("X", SIZES, None, Shape(1024, 24, 16, reach=20), large)


@pytest.mark.parametrize("heads", [0, 3, 12.0, "12"])
def test_heads_that_do_not_fit(heads: object) -> None:
    weights = Weights(Path("w.pt"), {"embed.weight": torch.zeros(128, 1, 2, 2)}, {})
    with pytest.raises(UserError, match="width 128, which does not divide into"):
        shape_of(weights, "embed.weight", heads)
    assert shape_of(weights, "embed.weight").heads == 2


@pytest.mark.parametrize("dims", [2, 4])
def test_an_embedding_of_other_dimensions(dims: int) -> None:
    weights = Weights(Path("w.pt"), {"embed.weight": torch.tensor(1.0)}, {})
    with pytest.raises(UserError, match=rf"embed\.weight is of shape \(\), not of {dims} dimensions; the file is of"):
        shape_of(weights, "embed.weight", dims=dims)


def test_what_is_masked_is_not_attended_to() -> None:
    torch.manual_seed(0)
    blocks = stack(Shape(16, 2, 2)).eval()
    tokens = torch.randn(1, 5, 16)
    mask = torch.zeros(1, 1, 1, 5)
    mask[..., 3:] = -1e4
    other = tokens.clone()
    other[:, 3:] += 1
    with torch.no_grad():
        first, second = (last_outputs(blocks, one, 2, False, mask) for one in (tokens, other))
        assert not torch.equal(last_outputs(blocks, tokens, 2, False)[:, :, :3], first[:, :, :3])
    assert first.shape == (1, 2, 5, 16)
    torch.testing.assert_close(first[:, :, :3], second[:, :, :3])
