"""The adapter: which layers, how frames are pooled, what is scored; and augmentation before it."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
import torch
from torch import nn

from asd.encoders.adapter import Adapter, Pooling
from asd.encoders.augment import Mixup, SpecAugment
from asd.errors import UserError

FEATURES = torch.randn(3, 4, 7, 10, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("layers", "pooling", "width"),
    [*product(["mix", "concatenate", "last"], get_args(Pooling), [None, 6])],
)
def test_every_combination_has_the_declared_widths_and_trains(layers: str, pooling: str, width: int | None) -> None:
    adapter = Adapter(layers, pooling, [12] if width else [], width).build(4, 10)
    out = adapter(FEATURES)
    assert out.shape == (3, adapter.head_dim)
    assert adapter.embed(FEATURES).shape == (3, adapter.scored_dim)
    if list(adapter.parameters()):
        (out * torch.randn(out.shape)).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in adapter.parameters())


def test_without_options_it_is_the_mean_of_all_layers_and_frames() -> None:
    torch.testing.assert_close(Adapter().build(4, 10)(FEATURES), FEATURES.mean((1, 2)))


def test_last_and_concatenated_layers() -> None:
    torch.testing.assert_close(Adapter("last").build(4, 10)(FEATURES), FEATURES[:, -1].mean(1))
    torch.testing.assert_close(Adapter("concatenate").build(4, 10)(FEATURES), FEATURES.mean(2).flatten(1))


def test_max_and_both() -> None:
    rows = FEATURES[:, -1]
    torch.testing.assert_close(Adapter("last", "max").build(4, 10)(FEATURES), rows.amax(1))
    both = Adapter("last", "mean_max").build(4, 10)(FEATURES)
    torch.testing.assert_close(both, torch.cat([rows.mean(1), rows.amax(1)], 1))


def test_attentive_statistics_with_even_attention_are_mean_and_deviation() -> None:
    adapter = Adapter("last", "attentive_statistics").build(4, 10)
    nn.init.zeros_(adapter.attention[2].weight)
    rows = FEATURES[:, -1]
    expected = torch.cat([rows.mean(1), rows.std(1, correction=0)], 1)
    torch.testing.assert_close(adapter(FEATURES), expected, rtol=1e-4, atol=1e-4)


def test_the_pooled_vector_can_be_scored_instead_of_the_projected() -> None:
    adapter = Adapter("last", embedding_dim=6, embedding="pooled").build(4, 10)
    assert adapter(FEATURES).shape == (3, 6)
    torch.testing.assert_close(adapter.embed(FEATURES), FEATURES[:, -1].mean(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"layers": "first"}, "layers is 'first'"), ({"pooling": "sum"}, "pooling"), ({"hidden": [3]}, "embedding_dim")],
)
def test_arguments_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Adapter(**options)


def test_spec_augment_hides_whole_frames_and_bands_with_the_clips_mean() -> None:
    torch.manual_seed(0)
    spectrogram = torch.randn(50, 40, 30)
    masked = SpecAugment(1, 0.3, 1, 0.3).train()(spectrogram)
    hidden = masked != spectrogram
    assert 0.02 < hidden.float().mean() < 0.5
    for clip in range(50):
        assert (masked[clip][hidden[clip]] == spectrogram[clip].mean()).all()
        frames, bands = hidden[clip].all(1), hidden[clip].all(0)
        assert torch.equal(hidden[clip], frames[:, None] | bands[None])
    assert len({tuple(hidden[c].flatten().tolist()) for c in range(50)}) > 40, "each clip has masks of its own"


def test_augmentation_is_the_identity_in_evaluation_mode_or_at_probability_zero() -> None:
    spectrogram, targets = torch.randn(4, 9, 8), torch.eye(4)
    assert SpecAugment().eval()(spectrogram) is spectrogram
    assert torch.equal(SpecAugment(probability=0).train()(spectrogram), spectrogram)
    assert Mixup().eval()(spectrogram[:, 0], targets)[0] is not None
    assert torch.equal(Mixup(probability=0).train()(spectrogram[:, 0], targets)[1], targets)


def test_mixup_mixes_waveforms_and_labels_in_the_same_shares() -> None:
    torch.manual_seed(0)
    waveform, targets = torch.eye(64), torch.eye(64)
    mixed, labels = Mixup(probability=0.5).train()(waveform, targets)
    torch.testing.assert_close(mixed, labels)
    torch.testing.assert_close(labels.sum(1), torch.ones(64))
    touched = (labels.amax(1) < 1).float().mean().item()
    assert 0.3 < touched < 0.7


@pytest.mark.parametrize(
    "make",
    [
        lambda: SpecAugment(time_width=1.5),
        lambda: SpecAugment(probability=-1),
        lambda: Mixup(probability=2),
        lambda: Mixup(alpha=0),
    ],
)
def test_augmentation_arguments_out_of_range(make: object) -> None:
    with pytest.raises(UserError):
        make()
