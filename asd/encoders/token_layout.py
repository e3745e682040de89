"""How the tokens of an encoder lie in time and frequency.

Shapes: ``B`` clips, ``L`` layers, ``N`` tokens, ``D`` feature width, ``F'`` frames in time, ``R`` rows of frequency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TokenLayout:
    """Where in a clip each token of ``(B, L, N, D)`` comes from; as it is: every token is a frame of all frequencies.

    Attributes:
        rows: Rows of frequency ``R`` that a frame is divided into, from low to high.
        order: What lies side by side: the rows of a frame (``time``: frame after frame), the frames of a row
            (``frequency``: row after row), or the rows within the width, each feature in all its rows (``width``).
        special_tokens: Tokens before all others that belong to no time, such as a class token.
        chunk_frames: Frames after which ``frequency`` begins anew with the first row, where long clips are encoded in
            chunks; ``None``: the rows are as long as the clip.
        hop_seconds: Time from one frame to the next; ``None``: the frames divide the clip among them.
        start_seconds: Where the first frame begins, which is before the clip where frames are centred on its start.
        bands: Whether rows are of frequency; else they are versions of a frame, such as two class tokens.
    """

    rows: int = 1
    order: Literal["time", "frequency", "width"] = "time"
    special_tokens: int = 0
    chunk_frames: int | None = None
    hop_seconds: float | None = None
    start_seconds: float = 0.0
    bands: bool = True

    def grid(self, features: Tensor) -> Tensor:
        """``(B, L, N, D)`` as they are encoded to ``(B, L, F', R, D)``, without special tokens.

        Rows that lie within the width divide it: ``(B, L, F', R, D / R)``.
        """
        tokens = features[:, :, self.special_tokens :]
        if self.order == "frequency":
            chunk = tokens.shape[2] if self.chunk_frames is None else self.chunk_frames * self.rows
            parts = [part.unflatten(2, (self.rows, -1)).transpose(2, 3) for part in tokens.split(chunk, dim=2)]
            return torch.cat(parts, dim=2)
        grid: Tensor = tokens.unflatten(2 if self.order == "time" else 3, (-1, self.rows))
        return grid if self.order == "time" else grid.mT

    def frames(self, features: Tensor) -> Tensor:
        """``(B, L, N, D)`` as they are encoded to ``(B, L, F', D)``: each frame the mean of its rows.

        Rows that lie within the width stay there.
        """
        return features[:, :, self.special_tokens :] if self.order == "width" else self.grid(features).mean(3)

    def edges(self, frames: int, seconds: float) -> NDArray[np.float64]:
        """``(F' + 1,)`` seconds at which each of `frames` begins and the last one ends, in a clip of `seconds`."""
        hop = seconds / frames if self.hop_seconds is None else self.hop_seconds
        return self.start_seconds + hop * np.arange(frames + 1, dtype=np.float64)
