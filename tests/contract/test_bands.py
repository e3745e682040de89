"""Whatever the encoder, pooling over time keeps its rows of frequency where they are."""

from __future__ import annotations

import pytest
import torch
from asd_plugins.dual_branch import DualBranchCNN
from asd_plugins.mobilenet import MobileNet
from torch import Tensor

from asd.encoders import Adapter, Encoder
from asd.plugins import known
from asd.testing.encoder import waveforms

FOUND = {
    name: cls.tiny
    for name, cls in known(Encoder).items()  # type: ignore[type-abstract]
    if cls.__module__.startswith("asd_plugins.")
}
# Its deepest blocks see all bands, where their weights are random.
FOUND["MobileNet, rows kept"] = lambda: MobileNet(width=0.2, blocks=6, rows="kept")
# Tones that last are no part of its spectrogram, nor is what lies under 200 Hz.
FOUND["DualBranchCNN, rows kept"] = lambda: DualBranchCNN(
    seconds=2.0, width=4, branch_dim=8, spectrum_points=1000, low_hz=0.0, level=False, rows=8
)
VECTORS = ("bands", "bands/max", "bands/gem", "bands/rdp4", "bands/rdp8+gem")
POOLINGS = ("mean", "max", "mean_max", "attentive_statistics", "rdp", "gem", "rdp_gem")
TONES = (0.01, 0.1, 0.4)
"""Frequencies as parts of the sample rate: a low row, a higher one, and one for comparison."""


def adapter_of(encoder: Encoder, **options: object) -> Adapter:
    torch.manual_seed(0)
    return Adapter(**options).build(encoder.layers, encoder.feature_dim, encoder.layout)


def by_row(adapter: Adapter, features: Tensor, what: str) -> Tensor:
    """``(B, R, D)``."""
    return adapter.embed(features, what).unflatten(1, (adapter.size_of(what)[1], -1))


def rolled(encoder: Encoder, features: Tensor, frames: int = 0, rows: int = 0) -> Tensor:
    """The tokens as they would be of a clip that began later, or of bands in another order."""
    place = torch.arange(features[0, 0].numel()).reshape(1, 1, *features.shape[2:])
    grid = encoder.layout.grid(place)
    moved = features.flatten(2).clone()
    moved[:, :, grid.flatten()] = features.flatten(2)[:, :, grid.roll((frames, rows), (2, 3)).flatten()]
    return moved.reshape(features.shape)


@pytest.fixture(scope="module", params=FOUND)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    torch.manual_seed(0)
    made: Encoder = FOUND[request.param]()
    return made.eval()


@pytest.fixture(scope="module")
def features(encoder: Encoder) -> Tensor:
    with torch.no_grad():
        made: Tensor = encoder(waveforms(encoder, 3, 2.0))
    return made


def test_what_comes_later_is_pooled_the_same_and_rows_stay_apart(encoder: Encoder, features: Tensor) -> None:
    rows = encoder.layout.rows
    later, higher = rolled(encoder, features, frames=1), rolled(encoder, features, rows=1)
    adapter = adapter_of(encoder)
    for what in VECTORS:
        usual = by_row(adapter, features, what)
        assert usual.shape[1] == rows
        torch.testing.assert_close(by_row(adapter, later, what), usual, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(by_row(adapter, higher, what), usual.roll(1, 1), rtol=1e-4, atol=1e-5)
        if rows > 1:
            assert float((usual[:, 0] - usual[:, 1]).abs().max()) > 1e-3, "the rows are not the same"


def test_the_pooled_vector_keeps_rows_with_every_pooling(encoder: Encoder, features: Tensor) -> None:
    for pooling in POOLINGS:
        adapter = adapter_of(encoder, layers="last", pooling=pooling, bands=True, embedding_dim=5, embedding="pooled")
        usual, higher = (adapter.embed(one) for one in (features, rolled(encoder, features, rows=1)))
        assert usual.shape == (3, adapter.scored_dim)
        assert adapter.scored_bands == encoder.layout.rows
        bands = usual.unflatten(1, (adapter.scored_bands, -1))
        torch.testing.assert_close(higher.unflatten(1, (adapter.scored_bands, -1)), bands.roll(1, 1))
        assert adapter(features).shape == (3, 5) == (3, adapter.head_dim)


def test_rows_that_are_averaged_are_the_mean_of_those_that_are_kept(encoder: Encoder, features: Tensor) -> None:
    adapter = adapter_of(encoder)
    kept = by_row(adapter, features, "bands").mean(1)
    torch.testing.assert_close(adapter.embed(features, "tokens"), kept, rtol=1e-4, atol=1e-5)


def test_a_tone_shows_in_its_row_whenever_it_sounds(encoder: Encoder) -> None:
    layout, rate = encoder.layout, encoder.sample_rate
    if layout.rows == 1:
        return
    seconds = encoder.seconds or 2.0
    noise = 0.01 * torch.randn(4, round(seconds * rate), generator=torch.Generator().manual_seed(7))
    adapter = adapter_of(encoder)
    with torch.no_grad():
        heard = float(layout.edges(layout.frames(encoder(noise)).shape[2], seconds)[-1])  # may be the beginning alone
        time = torch.arange(round(0.3 * min(heard, seconds) * rate))
        loudest = []
        for part in (0.1, 0.6):
            start = round(part * min(heard, seconds) * rate)
            pooled = []
            for tone in TONES:
                waveform = noise.clone()
                waveform[:, start : start + len(time)] += 0.1 * torch.sin(2 * torch.pi * tone * time)
                pooled.append(by_row(adapter, encoder(waveform), "bands"))
            apart = torch.stack(pooled)
            loudest.append((apart - apart.median(0).values).square().sum((1, 3)).argmax(1).tolist())
    assert loudest[0][:2] == loudest[1][:2]
    assert loudest[0][0] < loudest[0][1]
