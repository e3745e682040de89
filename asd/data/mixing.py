"""Machine sound and background noise, mixed at a signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from asd.data.clip import Clip, Kind
from asd.described import Described
from asd.errors import UserError
from asd.utils.seeds import seed_of

_NOISE = 1
"""Tells the random numbers of noise apart from those of crops."""


def mix(signal: Tensor, noise: Tensor, snr: float) -> Tensor:
    """``(T,)`` and ``(T,)`` mixed as ToyADMOS2's mixer does (Harada et al. 2021, arXiv 2106.02369).

    ``k = rms(signal) / rms(noise) / 10^(snr/20)`` is the gain of the noise that gives `snr` in dB; both are divided by
    ``1 + k``, so that a mixture of sounds within full scale stays within it. Silence is left out of the mixture.
    """
    level, other = (float(one.square().mean().sqrt()) for one in (signal, noise))
    if level == 0 or other == 0:
        return signal if other == 0 else noise
    gain = level / other / 10 ** (snr / 20)
    return (signal + gain * noise) / (1 + gain)


class NoiseMix(Described):
    """Adds noise clips of the same machine to training clips, each time others at another level and cropped otherwise.

    Clips of clean machine sound and of noise stay as they are, because they are classes of their own.

    Args:
        snr: Lowest and highest signal-to-noise ratio in dB; drawn uniformly between them.
        probability: Part of the clips that noise is added to.
    """

    def __init__(self, snr: tuple[float, float] = (0.0, 20.0), probability: float = 0.5) -> None:
        low, high = snr
        if not low <= high:
            raise UserError(f"NoiseMix: snr is {list(snr)}; give the lowest, then the highest, in dB")
        if not 0 <= probability <= 1:
            raise UserError(f"NoiseMix: probability is {probability}; give 0 to 1")
        self.low, self.high, self.probability = low, high, probability


def noise_rows(clips: Sequence[Clip], noises: Sequence[Clip]) -> list[list[int]]:
    """For each clip the rows of the noise clips that may be added to it: none to clean sound and to noise.

    Raises:
        UserError: A machine has none.
    """
    rows: dict[str, list[int]] = {clip.machine: [] for clip in clips if clip.kind == Kind.MACHINE}
    for row, noise in enumerate(noises):
        rows.setdefault(noise.machine, []).append(row)
    missing = sorted(machine for machine, own in rows.items() if not own)
    if missing:
        raise UserError(
            f"data.noise_mix: no noise clips of {', '.join(missing)}; put some into the machine's supplemental folder, "
            "take the far channel of training clips (data.far_noise), or choose other machines (data.machines)"
        )
    return [rows[clip.machine] if clip.kind == Kind.MACHINE else [] for clip in clips]


class Noises(Protocol):
    """Noise clips by row, cropped otherwise at each use."""

    def waveform(self, row: int, generator: torch.Generator) -> Tensor:
        """The clip of that row ``(T,)``, cropped as the generator says."""


class Mixer:
    """The noise that belongs to each row of a data set.

    Args:
        how: Levels and probability.
        noises: The noise clips, as a data set with random crops.
        choices: For each row of the other data set, the rows of `noises` that may be added.
        seed: Together with epoch and row, what is added.
    """

    def __init__(self, how: NoiseMix, noises: Noises, choices: Sequence[Sequence[int]], seed: int) -> None:
        self.how, self.noises, self.choices, self.seed = how, noises, choices, seed

    def add(self, waveform: Tensor, row: int, epoch: int) -> None:
        """Add noise to ``(T,)`` in place, or leave it."""
        choices = self.choices[row]
        if not choices:
            return
        own = torch.Generator().manual_seed(seed_of(self.seed, epoch, row, _NOISE))
        chance, level = torch.rand(2, generator=own).tolist()
        if chance >= self.how.probability:
            return
        chosen = choices[int(torch.randint(len(choices), (), generator=own))]
        noise = self.noises.waveform(chosen, own)
        waveform.copy_(mix(waveform, noise, self.how.low + level * (self.how.high - self.how.low)))
