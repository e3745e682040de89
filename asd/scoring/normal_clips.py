"""What a fitted detector keeps of the normal clips of a machine, beside its scorer."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor, nn

from asd.scoring.reference_bank import Bank

_WIDEST = 4096
_MOST = 2000


class NormalClips(nn.Module):
    """Scores of the normal clips for thresholds and percentiles; the rest tells what a new clip is like.

    All of it lies in buffers, whose lengths are not known before the fit, so that a checkpoint holds it.

    Attributes:
        scores: ``(N,)`` held-out scores.
        target: ``(N,)`` bool, of the target domain.
        embeddings: ``(n, E)`` float16 of all clips, or of 2000 spread evenly; none, where they are wider than 4096.
        facts: Names and attributes of those, as bytes of JSON.
        spectrum: ``(F,)`` usual level of each frequency as `spectrum.mean_level` has it; empty where not known.
        recorded: How they were recorded, as bytes of text that is for others to read; empty where not known.
    """

    scores: Tensor
    target: Tensor
    embeddings: Tensor
    facts: Tensor
    spectrum: Tensor
    recorded: Tensor

    def __init__(self) -> None:
        super().__init__()
        self._keep(
            scores=torch.empty(0),
            target=torch.empty(0, dtype=torch.bool),
            embeddings=torch.empty(0, 0, dtype=torch.float16),
            facts=torch.empty(0, dtype=torch.uint8),
            spectrum=torch.empty(0),
            recorded=torch.empty(0, dtype=torch.uint8),
        )

    def _keep(self, **buffers: Tensor) -> None:
        for name, value in buffers.items():
            self.register_buffer(name, value.detach().clone())

    def remember(self, scores: Tensor, clips: Bank) -> None:
        """Keep the held-out `scores` ``(N,)`` of the `clips`, and what the clips are."""
        self._keep(scores=scores, target=clips.target)
        if clips.spectra is not None:
            self._keep(spectrum=clips.spectra.float().mean(0))
        if clips.facts and clips.embeddings.shape[1] <= _WIDEST:
            count = len(clips.facts)
            rows = torch.arange(count) if count <= _MOST else torch.linspace(0, count - 1, _MOST).round().long()
            text = json.dumps([clips.facts[row] for row in rows.tolist()], ensure_ascii=False)
            kept = clips.embeddings[rows.to(clips.embeddings.device)].float()
            # Their directions are compared, so what float16 cannot hold is made shorter.
            too_long = (kept.abs().amax(1, keepdim=True) / torch.finfo(torch.float16).max).clamp_min(1)
            self._keep(
                embeddings=(kept / too_long).half(),
                facts=torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8),
            )

    def keep_recorded(self, text: str) -> None:
        """Keep how the clips were recorded."""
        self._keep(recorded=torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8))

    @property
    def names_and_attributes(self) -> list[tuple[str, str]]:
        """Of the clips of `embeddings`."""
        text = bytes(self.facts.tolist())
        return [(name, attributes) for name, attributes in json.loads(text)] if text else []

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for name, own in list(self._buffers.items()):
            assert own is not None
            # Checkpoints from before it was kept have none.
            value = state_dict.setdefault(prefix + name, own)
            self._keep(**{name: torch.empty_like(value, device=own.device)})
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
