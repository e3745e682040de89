"""The contract of an encoder, as checks that anyone can run on their own."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from asd.encoders.base import Encoder
from asd.encoders.projections import linear_layers
from asd.testing.compiling import check_compile
from asd.testing.contract import Check, check_described, check_excuses, run_checks

LENGTHS = (1.0, 1.98, 2.74, 10.0)
_BURST_SECONDS = 0.05
_LEAST_FRAMES = 6
"""Of fewer, most may hear a burst wherever it sounds, so that a frame without one is what stands out."""
_TONES = (0.01, 0.1, 0.4)
"""Frequencies as parts of the sample rate: a low row, a higher one, and one for comparison."""
_LEAST_SHARE = 0.1
"""Of an even share of a tone's energy, what every row hears of it where all see all bands."""


def check_encoder(encoder: Encoder) -> None:
    """Run every check on an encoder of any weights; it is left as it was.

    Raises:
        AssertionError: A check fails that `expected_failures` does not name, or one passes that it names.
    """
    run_checks(CHECKS, encoder)


def waveforms(encoder: Encoder, clips: int = 3, seconds: float = 1.0) -> Tensor:
    """``(B, T)`` of noise and tones, the same each time."""
    generator = torch.Generator().manual_seed(7)
    time = torch.arange(round(seconds * encoder.sample_rate)) / encoder.sample_rate
    tones = torch.sin(2 * torch.pi * time * torch.linspace(150, 900, clips)[:, None])
    return 0.1 * tones + 0.05 * torch.randn(clips, len(time), generator=generator)


def burst_offsets(encoder: Encoder, seconds: float = 4.0, columns: slice = slice(None)) -> list[float]:
    """How many frames beside where it sounds a short burst shows in the features, for five places in a clip.

    It shows where the energy is greatest by which features differ from those of the same burst at other places.

    Args:
        encoder: It is put into evaluation mode.
        seconds: Length of the clip, unless the encoder says one, or six of its frames take longer.
        columns: Columns of the features that are looked at.
    """
    seconds = encoder.seconds or max(seconds, _LEAST_FRAMES * (encoder.layout.hop_seconds or 0.0))
    rate = encoder.sample_rate
    noise = torch.Generator().manual_seed(7)
    clips = 0.01 * torch.randn(4, round(seconds * rate), generator=noise)
    burst = 0.3 * torch.randn(4, round(_BURST_SECONDS * rate), generator=noise)
    encoder.eval()
    with torch.no_grad():
        count = encoder.layout.frames(encoder(clips[:1])).shape[2]
        edges = encoder.layout.edges(count, seconds)
        # An encoder may hear only the beginning of the clip.
        places = [part * min(seconds, float(edges[-1])) for part in (0.1, 0.3, 0.5, 0.7, 0.9)]
        found = []
        for place in places:
            start = round((place - _BURST_SECONDS / 2) * rate)
            waveform = clips.clone()
            waveform[:, start : start + burst.shape[1]] += burst
            found.append(encoder.layout.frames(encoder(waveform))[..., columns])
    elsewhere = torch.stack(found).median(0).values
    frames = [int((one - elsewhere).square().sum((0, 1, 3)).argmax()) for one in found]
    late = (edges[1:] + edges[:-1])[frames] / 2 - places
    beside = np.sign(late) * (np.abs(late) - _BURST_SECONDS / 2).clip(0)
    return [float(one) for one in beside / (edges[1] - edges[0])]


def check_declaration(encoder: Encoder) -> None:
    """What is declared is there and of the right kind."""
    assert isinstance(encoder.sample_rate, int), "sample_rate is Hz, an int"
    assert isinstance(encoder.feature_dim, int), "feature_dim is an int"
    assert isinstance(encoder.augment, nn.Module), "augment is a module; call super().__init__(augment)"
    assert encoder.layers >= 1, "layers is 1 or more"
    if encoder.branches:
        assert encoder.feature_dim % sum(encoder.branches) == 0, (
            f"branches of widths {list(encoder.branches)} do not fill a feature_dim of {encoder.feature_dim}"
        )
    if encoder.projections is not None:
        for end in (*encoder.projections.attention, *encoder.projections.outputs):
            assert linear_layers(encoder, [end]), f"projections: no linear layer's name ends with {end}"
    check_excuses(encoder, CHECKS)


def check_documented(encoder: Encoder) -> None:
    """Every argument of the constructor is described in the class's docstring."""
    check_described(type(encoder))


def check_shapes(encoder: Encoder) -> None:
    """Clips of any length give ``(B, L, F', D)``, finite float values."""
    encoder.eval()
    with torch.no_grad():
        for seconds in LENGTHS:
            waveform = waveforms(encoder, 2, seconds)
            features = encoder(waveform)
            assert features.ndim == 4, f"(B, L, F, D) expected for {seconds} s, got {tuple(features.shape)}"
            clips, layers, frames, width = features.shape
            assert (clips, layers, width) == (2, encoder.layers, encoder.feature_dim), (
                f"(2, {encoder.layers}, F, {encoder.feature_dim}) expected for {seconds} s, got {tuple(features.shape)}"
            )
            assert frames >= 1, f"no frame for {seconds} s"
            assert features.is_floating_point(), "features are floating point"
            assert bool(features.isfinite().all()), f"not finite for {seconds} s"
            assert encoder.spectrogram(waveform).ndim == 3, "spectrogram gives (B, F, M)"


def check_layout(encoder: Encoder) -> None:
    """Tokens are as many as `layout` says, and its grid divides them into frames and rows."""
    encoder.eval()
    layout = encoder.layout
    with torch.no_grad():
        for seconds in LENGTHS:
            features = encoder(waveforms(encoder, 2, seconds))
            tokens, width = features.shape[2:]
            told = f"{layout} does not fit {tokens} tokens of width {width} for {seconds} s"
            beside = layout.rows if layout.order == "width" else 1
            frames, left = divmod(tokens - layout.special_tokens, 1 if layout.order == "width" else layout.rows)
            assert frames >= 1, told
            assert left == 0, told
            assert width % beside == 0, told
            grid = layout.grid(features)
            assert grid.shape == (2, encoder.layers, frames, layout.rows, width // beside), told


def check_time(encoder: Encoder) -> None:
    """A burst that is moved in time moves along the frames of `layout`."""
    offsets = burst_offsets(encoder)
    assert max(map(abs, offsets)) <= 1.5, (
        f"bursts show {', '.join(f'{one:.1f}' for one in offsets)} frames from where they sound: does layout say how "
        "tokens lie?"
    )


def check_frequency(encoder: Encoder) -> None:
    """A higher tone shows in a higher row of `layout`, where rows are bands of frequency that hear apart."""
    encoder.eval()
    if encoder.layout.rows == 1 or not encoder.layout.bands:
        return
    time = torch.arange(2 * encoder.sample_rate)
    noise = 0.01 * torch.randn(4, len(time), generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        tones = [0.1 * torch.sin(2 * torch.pi * frequency * time) for frequency in _TONES]
        grids = torch.stack([encoder.layout.grid(encoder(noise + tone)) for tone in tones])
    energy = (grids - grids.median(0).values).square().sum((1, 2, 3, 5))[:2]
    share = energy / energy.sum(1, keepdim=True).clamp_min(1e-30)
    low, high = (share * torch.arange(encoder.layout.rows, device=share.device)).sum(1).tolist()
    # Deep in a network of convolutions every row sees all bands: which one hears a tone most is chance.
    see_all = bool((share * encoder.layout.rows >= _LEAST_SHARE).all())
    assert low < high or see_all, (
        f"tones of {_TONES[0]} and {_TONES[1]} of the sample rate show in rows {low:.1f} and {high:.1f}"
    )


def check_silence(encoder: Encoder) -> None:
    """A silent clip gives finite features."""
    encoder.eval()
    with torch.no_grad():
        assert bool(encoder(torch.zeros(2, encoder.sample_rate)).isfinite().all()), "not finite for silence"


def check_deterministic(encoder: Encoder) -> None:
    """In evaluation mode the same clip gives the same features, and augmentation does nothing."""
    encoder.eval()
    with torch.no_grad():
        waveform = waveforms(encoder)
        assert torch.equal(encoder(waveform), encoder(waveform)), "two passes in evaluation mode differ"
        spectrogram = encoder.spectrogram(waveform)
        assert torch.equal(encoder.augment(spectrogram), spectrogram), "augment changes the input in evaluation mode"


def check_rows_independent(encoder: Encoder) -> None:
    """A clip's features do not depend on the other clips of the batch, loud ones neither."""
    encoder.eval()
    with torch.no_grad():
        waveform = waveforms(encoder)
        alone = encoder(waveform[:1])
        beside = torch.cat([waveform[:1], waveform[1:] * 9])
        gap = (encoder(beside)[:1] - alone).abs().max().item()
        scale = alone.abs().max().item()
        assert gap <= 1e-4 * max(1.0, scale), f"the first clip's features change by {gap:.2g} with the others"


def check_input_unchanged(encoder: Encoder) -> None:
    """The waveform is not written to."""
    encoder.train()
    waveform = waveforms(encoder)
    before = waveform.clone()
    encoder(waveform)
    assert torch.equal(waveform, before), "the encoder wrote into its input"


def check_gradients(encoder: Encoder) -> None:
    """Every parameter gets a gradient when thawed, and none when frozen."""
    encoder.train().requires_grad_(True)
    features = encoder(waveforms(encoder))
    weight = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    (features * weight).sum().backward()
    missing = [name for name, p in encoder.named_parameters() if p.grad is None]
    assert not missing, f"no gradient for {', '.join(missing[:5])}: unused parameters stall DDP"
    encoder.requires_grad_(False)
    assert not encoder.eval()(waveforms(encoder)).requires_grad, "frozen, and yet the features have a gradient"


def check_stages(encoder: Encoder) -> None:
    """The stages hold every parameter once."""
    staged = [id(p) for stage in encoder.stages() for p in stage.parameters()]
    own = {id(p) for p in encoder.parameters()}
    assert len(staged) == len(set(staged)), "a parameter is in two stages"
    assert set(staged) == own, f"{len(own - set(staged))} parameters are in no stage"


def check_state_dict(encoder: Encoder) -> None:
    """A state dict moves the weights to another instance."""
    encoder.eval()
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        waveform = waveforms(encoder)
        torch.testing.assert_close(other(waveform), encoder(waveform))


def check_deepcopy(encoder: Encoder) -> None:
    """A copy can be made after a forward pass: averaging of weights needs it."""
    encoder.train()
    encoder(waveforms(encoder))
    copied = copy.deepcopy(encoder).eval()
    with torch.no_grad():
        torch.testing.assert_close(copied(waveforms(encoder)), encoder.eval()(waveforms(encoder)))


def check_meta(encoder: Encoder) -> None:
    """It runs on the meta device, where shapes are computed without values."""
    encoder.to("meta").eval()
    with torch.no_grad():
        features = encoder(torch.empty(2, encoder.sample_rate, device="meta"))
    assert features.shape[0] == 2
    assert features.shape[3] == encoder.feature_dim


def check_autocast(encoder: Encoder) -> None:
    """Under bfloat16 autocast features stay finite and near those of float32."""
    encoder.eval()
    with torch.no_grad():
        waveform = waveforms(encoder)
        exact = encoder(waveform)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = encoder(waveform).float()
    assert bool(rounded.isfinite().all()), "not finite under bfloat16 autocast"
    gap = ((rounded - exact).norm() / exact.norm().clamp_min(1e-6)).item()
    assert gap < 0.1, f"features change by {100 * gap:.0f} % under bfloat16 autocast: is the front end in float32?"


CHECKS: tuple[Check[Encoder], ...] = (
    check_declaration,
    check_documented,
    check_shapes,
    check_layout,
    check_time,
    check_frequency,
    check_silence,
    check_deterministic,
    check_rows_independent,
    check_input_unchanged,
    check_gradients,
    check_stages,
    check_state_dict,
    check_deepcopy,
    check_meta,
    check_autocast,
    check_compile,
)
