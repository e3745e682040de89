"""What is scored, said in a word."""

from __future__ import annotations

import pytest
import torch

from asd.encoders import Adapter, TokenLayout
from asd.encoders.pooling import pooled
from asd.encoders.scored import EXAMPLES, Tokens
from asd.errors import UserError

LAYERS, FRAMES, ROWS, WIDTH = 3, 5, 2, 4
# (B, L, F', R, D), as tokens frame after frame behind a class token.
GRID = torch.randn(3, LAYERS, FRAMES, ROWS, WIDTH, generator=torch.Generator().manual_seed(1))
FEATURES = torch.cat([torch.full((3, LAYERS, 1, WIDTH), 9.0), GRID.flatten(2, 3)], 2)
LAYOUT = TokenLayout(ROWS, special_tokens=1)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("tokens", Tokens(bands=False)),
        ("bands", Tokens(bands=True)),
        ("bands/max", Tokens(True, "max")),
        ("tokens/gem@-2", Tokens(False, "gem", 0.0, (-2,))),
        ("bands/rdp4", Tokens(True, "rdp", 4.0)),
        ("bands/rdp0.5+gem@-1,-3", Tokens(True, "rdp_gem", 0.5, (-1, -3))),
        ("bands/mean@all", Tokens(True, layers=())),
    ],
)
def test_words(text: str, tokens: Tokens) -> None:
    assert Tokens.parse(text) == tokens


def test_examples_are_words() -> None:
    assert [Tokens.parse(one) for one in EXAMPLES.split(", ")][:2] == [None, None]


@pytest.mark.parametrize(
    "text", ["", "band", "bands/", "bands/rdp", "bands/gem4", "tokens@1", "tokens@-0", "pooled@-1"]
)
def test_words_that_say_nothing_are_told(text: str) -> None:
    with pytest.raises(UserError, match="is no embedding; choose projected or pooled, or say which tokens"):
        Adapter(embedding=text)


@pytest.mark.parametrize(
    ("text", "layers"),
    [("bands", [-1]), ("bands/rdp4@-1,-3", [-1, -3]), ("tokens/max@-2", [-2]), ("bands/gem@all", [0, 1, 2])],
)
def test_tokens_are_scored_before_whatever_is_trained_on(text: str, layers: list[int]) -> None:
    adapter = Adapter("mix", "attentive_statistics", embedding_dim=6, embedding=text).build(LAYERS, WIDTH, LAYOUT)
    grid, tokens = GRID[:, layers].mean(1), Tokens.parse(text)
    assert tokens is not None
    parts = [grid[:, :, row] for row in range(ROWS)] if tokens.bands else [grid.mean(2)]
    expected = torch.cat([pooled(one, tokens.pooling, tokens.exponent) for one in parts], 1)
    torch.testing.assert_close(adapter.embed(FEATURES), expected)
    assert (adapter.scored_dim, adapter.scored_bands) == (expected.shape[1], len(parts))
    assert adapter(FEATURES).shape == (3, 6)


def test_rows_within_the_width_are_bands_as_well() -> None:
    adapter = Adapter(embedding="bands").build(LAYERS, WIDTH * ROWS, TokenLayout(ROWS, "width"))
    torch.testing.assert_close(adapter.embed(GRID.mT.flatten(3)), GRID[:, -1].mean(1).flatten(1))
    assert (adapter.scored_dim, adapter.scored_bands) == (WIDTH * ROWS, ROWS)


def test_the_pooled_vector_may_keep_its_bands() -> None:
    adapter = Adapter("concatenate", "mean_max", bands=True, embedding="pooled").build(LAYERS, WIDTH, LAYOUT)
    bands = GRID.permute(0, 3, 2, 1, 4).flatten(3)  # (B, R, F', L * D)
    torch.testing.assert_close(adapter.embed(FEATURES), torch.cat([bands.mean(2), bands.amax(2)], 2).flatten(1))
    assert adapter.size_of("pooled") == adapter.size_of("projected") == (2 * ROWS * LAYERS * WIDTH, ROWS)
    narrow = Adapter(bands=True, embedding_dim=6).build(LAYERS, WIDTH, LAYOUT)
    assert (narrow.scored_dim, narrow.scored_bands) == (6, 1)


def test_other_vectors_than_the_one_that_is_scored() -> None:
    adapter = Adapter("last", embedding_dim=6, embedding="bands").build(LAYERS, WIDTH, LAYOUT)
    torch.testing.assert_close(adapter.embed(FEATURES, "pooled"), adapter.pool(FEATURES))
    torch.testing.assert_close(adapter.embed(FEATURES, "projected"), adapter(FEATURES))
    assert adapter.size_of("tokens/max") == (WIDTH, 1)


def test_layers_that_the_encoder_does_not_return_are_told() -> None:
    with pytest.raises(UserError, match="asks for layer -4, but the encoder returns 3"):
        Adapter(embedding="bands@-1,-4").build(LAYERS, WIDTH, LAYOUT)
    with pytest.raises(UserError, match="exponent is -1"):
        Adapter(exponent=-1.0)
