"""Normal recordings as a bank of embedded windows, to fit a scorer or to set limits by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from asd.data.calibration import stretches
from asd.data.clip import Sound
from asd.inference.windows import BATCH, Cut, windows_of
from asd.scoring.reference_bank import Bank
from asd.scoring.spectrum import mean_level
from asd.utils.batches import batched
from asd.utils.text import as_text


class Hearing:
    """Takes windows as they come, one recording after the other.

    Args:
        embed: Windows ``(T,)`` to embeddings ``(N, E)``, see `asd.inference.Detector.embed`.
        cut: How the recordings became windows.

    Attributes:
        recordings: How many there were so far.
        windows: The same.
    """

    def __init__(self, embed: Callable[[Iterable[Tensor]], Tensor], cut: Cut) -> None:
        self.recordings = self.windows = 0
        self._embed, self._cut = embed, cut
        self._embeddings, self._spectra = list[Tensor](), list[Tensor]()
        self._places, self._facts = list[tuple[int, float]](), list[tuple[str, str]]()

    def begin(self, name: str) -> None:
        """What follows is of a recording of that name."""
        self.recordings += 1
        self._name = as_text(name)

    def push(self, windows: Sequence[tuple[float, Tensor]]) -> None:
        """Take the next windows ``(T,)`` of the recording, and the seconds at which they begin."""
        waveforms = [part for _, part in windows]
        self._embeddings.append(self._embed(waveforms))
        self._spectra.append(mean_level(torch.stack(waveforms), self._cut.sample_rate))
        self._places += [(self.recordings, start) for start, _ in windows]
        self._facts += [(f"{self._name} at {start:g} s", "") for start, _ in windows]
        self.windows += len(windows)

    def bank(self) -> Bank:
        """All of them, see `bank_from`."""
        return bank_from(
            torch.cat(self._embeddings), self._places, self._facts, self._cut.seconds, torch.cat(self._spectra)
        )


def bank_from(
    embeddings: Tensor,
    places: Sequence[tuple[int, float]],
    facts: Sequence[tuple[str, str]],
    seconds: float,
    spectra: Tensor | None = None,
) -> Bank:
    """Windows of normal sound as a bank: each recording is a group; of few, stretches of them are, see `stretches`.

    Args:
        embeddings: ``(N, E)`` of the windows.
        places: Of each, the number of its recording, and where it begins, in seconds.
        facts: Name and attributes of each.
        seconds: Length of a window.
        spectra: ``(N, F)`` levels of their frequencies; ``None``: not known.
    """
    groups = torch.tensor(stretches(places, seconds))
    kept = torch.nonzero(groups >= 0).flatten()
    nothing = torch.zeros(len(kept), dtype=torch.int64)
    return Bank(
        embeddings[kept], nothing, nothing.bool(), groups[kept], torch.arange(len(kept)),
        tuple(facts[row] for row in kept.tolist()), None if spectra is None else spectra[kept],
    )  # fmt: skip


def bank_of(embed: Callable[[Iterable[Tensor]], Tensor], cut: Cut, sounds: Iterable[Sound]) -> Bank:
    """The windows of recordings, embedded.

    Raises:
        AudioError: A recording cannot be used.
    """
    hearing = Hearing(embed, cut)
    for sound in sounds:
        hearing.begin(sound.path.name)
        for some in batched(windows_of(sound, cut), BATCH):
            hearing.push(some)
    return hearing.bank()
