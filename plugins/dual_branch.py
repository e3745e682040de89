"""The dual-branch CNN: a residual network on the spectrogram beside a 1-D network on the whole clip's spectrum.

Spectrograms of further resolutions have branches of their own, as in the multi-resolution network of Fujimura et al.
2025, "ASDKit", arXiv 2507.10264.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.encoders import Augmentation, Encoder, KnownScore, Statistics, TokenLayout
from asd.encoders.stft import MagnitudeSpectrogram, whole_magnitudes
from asd.errors import UserError
from asd.utils.precision import full_precision


class DualBranchCNN(Encoder):
    """Two views of a clip in one embedding: when what sounds, and which frequencies sound how purely.

    The first branch sees the magnitude spectrogram, standardised per frequency with statistics of the training set and
    freed of each clip's mean over time, in which the mean of the training set goes as well: of its statistics the
    deviation alone counts. Of the 513 bins of the transform those within the band are kept, 500 between 200 and
    8000 Hz. The second branch sees the magnitude spectrum of the clip as a whole, whose fine resolution tells
    stationary tones apart. After Wilkinghoff 2023, "Design choices for learning embeddings from
    auxiliary tasks for domain generalization in anomalous sound detection", with the input length as an option.

    Args:
        seconds: Length of clip; others are trimmed, or padded by repeating them.
        window: Samples of an STFT window.
        hop: Samples between windows.
        low_hz: Lower end of the band the first branch sees.
        high_hz: Upper end of that band.
        spectrum_points: Points of the second branch's input; finer spectra are averaged down to it.
        width: Channels of the first residual stage; each of the three further stages doubles them.
        branch_dim: Embedding width of each branch.
        level: Bring each clip to one root mean square first, because recording level is no property of the machine.
        augment: Augmentation of the spectrogram, such as SpecAugment.
        clip_mean: Take each clip's mean over time off the first branch's input; without it the training set's mean is
            all that is taken off.
        rows: Rows of frequency of the spectrogram that the embedding keeps, each with a vector of its own beside that
            of the whole spectrum, so that `bands` can be scored; 1: they become one vector, as in the paper.
        resolutions: Window and hop, in samples, of each further spectrogram, which has statistics and a branch of its
            own: short windows tell when it sounds, long ones which tones.
    """

    sample_rate = 16000
    scores: ClassVar[Sequence[KnownScore]] = (
        KnownScore(65.75, "trained", "RealMix", "recipe/dual_branch; tests/benchmarks/RESULTS.md"),
    )

    def __init__(
        self,
        seconds: float = 10.0,
        window: int = 1024,
        hop: int = 512,
        low_hz: float = 200.0,
        high_hz: float = 8000.0,
        spectrum_points: int = 8000,
        width: int = 16,
        branch_dim: int = 128,
        level: bool = True,
        augment: Augmentation | None = None,
        clip_mean: bool = True,
        rows: int = 1,
        resolutions: Sequence[tuple[int, int]] = (),
    ) -> None:
        super().__init__(augment)
        self.samples = round(seconds * self.sample_rate)
        for samples, step in ((window, hop), *resolutions):
            if samples < 2 or step < 1:
                raise UserError(f"DualBranchCNN: a window of {samples} samples every {step}; give 2 and 1 or more")
            if self.samples < samples:
                raise UserError(f"DualBranchCNN: seconds is {seconds:g}, shorter than one window of {samples} samples")
        self.seconds = seconds
        self.level = level
        self.clip_mean = clip_mean
        self.layout = TokenLayout(rows, "width")
        self.branches = (rows * branch_dim,) * (2 + len(resolutions))
        self.feature_dim = sum(self.branches)
        self.points = min(spectrum_points, self.samples // 2)
        self.front_end = MagnitudeSpectrogram(self.sample_rate, window, hop, low_hz, high_hz)
        self.statistics = Statistics(self.front_end.bands)
        self.spectrogram_branch = _SpectrogramBranch(self.front_end.bands, width, branch_dim, rows)
        self.spectrum_branch = _SpectrumBranch(self.points, branch_dim)
        front_ends = [MagnitudeSpectrogram(self.sample_rate, *one, low_hz, high_hz) for one in resolutions]
        self.further = nn.ModuleList(_View(one, width, branch_dim, rows) for one in front_ends)

    @classmethod
    def tiny(cls) -> DualBranchCNN:
        """A small instance of the same code paths."""
        return cls(seconds=1.0, width=4, branch_dim=8, spectrum_points=1000)

    def prepare(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to the encoder's own length, at one level."""
        if waveform.shape[1] < self.samples:
            waveform = waveform.repeat(1, -(-self.samples // waveform.shape[1]))
        waveform = waveform[:, : self.samples].float()
        if self.level:
            norm = torch.linalg.vector_norm(waveform, dim=1, keepdim=True)
            waveform = waveform * (0.05 * self.samples**0.5 / norm.clamp_min(1e-6))
        return waveform

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to the standardised magnitudes ``(B, F, M)``; with `clip_mean` of zero mean over the frames."""
        return self._spectrogram(self.prepare(waveform), self)

    def _spectrogram(self, prepared: Tensor, view: DualBranchCNN | _View) -> Tensor:
        magnitude: Tensor = view.statistics(view.front_end(prepared))
        return magnitude - magnitude.mean(1, keepdim=True) if self.clip_mean else magnitude

    def spectrum(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to the magnitudes ``(B, spectrum_points)`` of the whole clip's spectrum."""
        return self._spectrum(self.prepare(waveform))

    def _spectrum(self, prepared: Tensor) -> Tensor:
        magnitude = whole_magnitudes(prepared)
        return F.adaptive_avg_pool1d(magnitude[:, None], self.points)[:, 0]

    def encode(self, spectrogram: Tensor) -> Tensor:
        """``(B, F, M)`` to the first branch's features ``(B, 1, 1, branch_dim)``, each in all its rows."""
        features: Tensor = self.spectrogram_branch(spectrogram)
        return features[:, None, None]

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, T)`` to the features of all branches ``(B, 1, 1, D)``: spectrogram, spectrum, further spectrograms."""
        prepared = self.prepare(waveform)
        first = self.encode(self.augment(self._spectrogram(prepared, self)))
        others = [self.spectrum_branch(self._spectrum(prepared)).repeat_interleave(self.layout.rows, 1)]
        others += [view.branch(self.augment(self._spectrogram(prepared, view))) for view in self._further()]
        return torch.cat([first, *(one[:, None, None].to(first.dtype) for one in others)], dim=-1)

    def _further(self) -> list[_View]:
        return [view for view in self.further if isinstance(view, _View)]

    def compile_trunk(self, **options: Any) -> None:
        """The branches."""
        for branch in (self.spectrogram_branch, self.spectrum_branch, *(view.branch for view in self._further())):
            branch.compile(**options)

    def observe(self, waveform: Tensor) -> None:
        """Add the magnitudes of ``(B, T)`` to the training-set statistics."""
        prepared = self.prepare(waveform)
        views: list[DualBranchCNN | _View] = [self, *self._further()]
        for view in views:
            view.statistics.observe(view.front_end(prepared))

    def stages(self) -> list[nn.Module]:
        """The levels of all branches, shallow to deep."""
        further = [view.branch for view in self._further()]
        branches: list[_SpectrogramBranch | _SpectrumBranch] = [self.spectrogram_branch, self.spectrum_branch, *further]
        return [nn.ModuleList(level) for level in zip(*(one.levels() for one in branches), strict=True)]


class _Gate(nn.Module):
    """Squeeze and excitation: scales each channel by what all channels hold (Hu et al. 2018, arXiv 1709.01507)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(4, channels // 16)
        self.layers = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        # Channels lie together in memory, in the gradient of the mean as well, which is added to that of `x`.
        mean = x.mean(2) if x.ndim == 3 else x.permute(0, 2, 3, 1).flatten(1, 2).mean(1)
        gate: Tensor = self.layers(mean)
        return x * gate.reshape(*gate.shape, *[1] * (x.ndim - 2))


class _Residual(nn.Module):
    """Pre-activation residual block with gate; a stride of 2 halves both axes."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            _Gate(channels),
        )
        skip: list[nn.Module] = [nn.MaxPool2d(2, ceil_mode=True)] if stride == 2 else []
        skip += [nn.Conv2d(inputs, channels, 1, bias=False)] if inputs != channels or stride == 2 else []
        self.skip = nn.Sequential(*skip)

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.layers(x) + self.skip(x)
        return summed


class _SpectrogramBranch(nn.Module):
    def __init__(self, bands: int, width: int, out: int, rows: int) -> None:
        super().__init__()
        # Pooled before it is normalised: the same up to the sign of a scale, on a quarter of the values.
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 7, 2, 3, bias=False), nn.MaxPool2d(3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()
        )
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.blocks = nn.ModuleList(
            nn.Sequential(_Residual(given, channels, 1 if given == channels else 2), _Residual(channels, channels, 1))
            for given, channels in zip([width, *widths], widths, strict=False)
        )
        for _ in range(5):
            bands = -(-bands // 2)
        if not 1 <= rows <= bands:
            raise UserError(f"DualBranchCNN: rows is {rows}; of this spectrogram 1 to {bands} can be kept")
        self.sizes = [bands // rows + (row < bands % rows) for row in range(rows)]
        heads = [
            nn.Sequential(nn.BatchNorm1d(widths[-1] * size), nn.Linear(widths[-1] * size, out, bias=False))
            for size in self.sizes
        ]
        self.head: nn.Module = heads[0] if rows == 1 else nn.ModuleList(heads)
        # Convolutions on the CPU are about a third faster when channels lie together.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def levels(self) -> Sequence[nn.Module]:
        return [nn.ModuleList([self.stem, self.blocks[0]]), *list(self.blocks)[1:], self.head]

    def forward(self, spectrogram: Tensor) -> Tensor:
        x = spectrogram[:, None].contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        heads = [self.head] if len(self.sizes) == 1 else self.head.children()
        rows = zip(heads, x.amax(2).split(self.sizes, 2), strict=True)
        # Each feature in all its rows, as the layout says.
        return torch.stack([head(row.flatten(1)) for head, row in rows], 2).flatten(1)


class _View(nn.Module):
    """A spectrogram of another resolution, and what sees it."""

    def __init__(self, front_end: MagnitudeSpectrogram, width: int, out: int, rows: int) -> None:
        super().__init__()
        self.front_end = front_end
        self.statistics = Statistics(front_end.bands)
        self.branch = _SpectrogramBranch(front_end.bands, width, out, rows)


class _SpectrumBranch(nn.Module):
    def __init__(self, points: int, out: int) -> None:
        super().__init__()
        convolutions = [(1, 128, 256, 64), (128, 128, 64, 32), (128, 128, 16, 4)]
        self.convolutions = nn.ModuleList(
            nn.Sequential(nn.Conv1d(i, o, kernel, stride, kernel // 2, bias=False), nn.ReLU(), _Gate(o))
            for i, o, kernel, stride in convolutions
        )
        length = points
        for _, _, kernel, stride in convolutions:
            length = (length + 2 * (kernel // 2) - kernel) // stride + 1
        layers: list[nn.Module] = []
        given = 128 * length
        for _ in range(4):
            layers += [nn.Linear(given, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU()]
            given = 128
        self.dense = nn.Sequential(*layers)
        self.head = nn.Linear(128, out, bias=False)

    def levels(self) -> Sequence[nn.Module]:
        return [*self.convolutions, self.dense, self.head]

    def forward(self, spectrum: Tensor) -> Tensor:
        x = spectrum[:, None].float()
        # Most taps of the last kernel meet padding alone. In bfloat16 oneDNN 3.11 does not write their gradient, zero,
        # where a stride is as long as what is left of a clip: it may be NaN.
        with full_precision(x):
            for convolution in self.convolutions:
                x = convolution(x)
        features: Tensor = self.head(self.dense(x.flatten(1)))
        return features
