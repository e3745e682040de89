"""Which vector of a clip is scored: what a configuration says of it in a word.

Shapes: ``B`` clips, ``L`` layers, ``N`` tokens, ``R`` rows of frequency, ``D`` feature width.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from asd.encoders.pooling import pooled
from asd.encoders.token_layout import TokenLayout
from asd.errors import UserError

_TOKENS = re.compile(
    r"(tokens|bands)(?:/(mean|max|gem|rdp(\d+(?:\.\d+)?)(\+gem)?))?(?:@(all|-[1-9]\d*(?:,-[1-9]\d*)*))?", re.ASCII
)
OF_THE_ADAPTER = ("projected", "pooled")
EXAMPLES = "projected, pooled, tokens, bands, bands/rdp4, bands/rdp8+gem, tokens/max, bands/mean@-1,-3"


@dataclass(frozen=True)
class Tokens:
    """An encoder's tokens pooled over time, before any part that was trained beside the encoder.

    Attributes:
        bands: The rows of frequency are kept, each a vector of its own; else they are averaged first.
        pooling: ``mean``, ``max``, ``gem``, ``rdp`` or ``rdp_gem``.
        exponent: Of the relative deviation.
        layers: Places of layers, from the deepest (-1) on, whose mean is taken; none: of all.
    """

    bands: bool
    pooling: str = "mean"
    exponent: float = 0.0
    layers: tuple[int, ...] = (-1,)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What a word such as ``bands/rdp4+gem@-1,-3`` says; ``None`` for a vector of the adapter.

        Raises:
            UserError: A word that says nothing.
        """
        if text in OF_THE_ADAPTER:
            return None
        match = _TOKENS.fullmatch(text)
        if match is None:
            raise UserError(
                f"{text!r} is no embedding; choose projected or pooled, or say which tokens of the encoder: tokens or "
                "bands (kept apart), /mean, /max, /gem or /rdp with its exponent and perhaps +gem, and @ before layers "
                f"counted from the deepest, or all: {EXAMPLES}"
            )
        place, pooling, exponent, gem, layers = match.groups()
        if exponent is not None:
            pooling = "rdp_gem" if gem else "rdp"
        chosen = () if layers == "all" else tuple(int(one) for one in (layers or "-1").split(","))
        return cls(place == "bands", pooling or "mean", float(exponent or 0), chosen)

    def check(self, layers: int) -> None:
        """Raise `UserError` for a layer that an encoder of so many layers does not return."""
        if self.layers and -min(self.layers) > layers:
            raise UserError(
                f"embedding asks for layer {min(self.layers)}, but the encoder returns {layers}; have it return more "
                "(its argument layers, where it has one), or choose others"
            )

    def rows(self, layout: TokenLayout) -> int:
        """How many vectors lie side by side."""
        return layout.rows if self.bands else 1

    def pool(self, features: Tensor, layout: TokenLayout) -> Tensor:
        """``(B, L, N, D)`` to ``(B, R * D)``, from the lowest row on, or to ``(B, D)``."""
        chosen = features.mean(1) if not self.layers else features[:, list(self.layers)].mean(1)
        grid = layout.grid(chosen[:, None])[:, 0]  # (B, F', R, D)
        if not self.bands:
            return pooled(grid.mean(2), self.pooling, self.exponent)
        rows = grid.transpose(1, 2)
        each = pooled(rows.flatten(0, 1), self.pooling, self.exponent)
        vectors: Tensor = each.unflatten(0, (-1, rows.shape[1]))
        return vectors.flatten(1)
