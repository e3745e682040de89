"""What a fitted detector keeps of the normal clips of a machine, beside its scorer."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor, nn

from asd.scoring.reference_bank import Bank

_WIDEST = 8192
_MOST = 2000


class NormalClips(nn.Module):
    """Scores of the normal clips for thresholds and percentiles; the rest tells what a new clip is like.

    All of it lies in buffers, whose lengths are not known before the fit, so that a checkpoint holds it.

    Attributes:
        scores: ``(N,)`` scores of the clips that thresholds are set by, each by a scorer that holds no clip of its
            block.
        apart: ``(N,)`` the same, by a scorer that holds no clip of its recording, but others of its block.
        block: ``(N,)`` int64, equal for clips of one block, see `asd.scoring.blocks`.
        recording: ``(N,)`` int64, equal for clips of one recording.
        target: ``(N,)`` bool, of the target domain.
        embeddings: ``(n, E)`` float16 of all clips, or of 2000 spread evenly; none, where they are wider than 8192.
        facts: Of those name, attributes, recording, and whether they are of the target domain and set thresholds, as
            bytes of JSON.
        spectrum: ``(F,)`` usual level of each frequency as `spectrum.mean_level` has it; empty where not known.
        recorded: How they were recorded, as bytes of text that is for others to read; empty where not known.
    """

    scores: Tensor
    apart: Tensor
    block: Tensor
    recording: Tensor
    target: Tensor
    embeddings: Tensor
    facts: Tensor
    spectrum: Tensor
    recorded: Tensor

    def __init__(self) -> None:
        super().__init__()
        self._keep(
            scores=torch.empty(0),
            apart=torch.empty(0),
            block=torch.empty(0, dtype=torch.int64),
            recording=torch.empty(0, dtype=torch.int64),
            target=torch.empty(0, dtype=torch.bool),
            embeddings=torch.empty(0, 0, dtype=torch.float16),
            facts=torch.empty(0, dtype=torch.uint8),
            spectrum=torch.empty(0),
            recorded=torch.empty(0, dtype=torch.uint8),
        )

    def _keep(self, **buffers: Tensor) -> None:
        # Where the others lie, whatever they were found by.
        place = self.scores.device if "scores" in self._buffers else None
        for name, value in buffers.items():
            self.register_buffer(name, value.detach().to(place, copy=True))

    def remember(self, scores: Tensor, apart: Tensor, block: Tensor, clips: Bank) -> None:
        """Keep what was found of the `clips`, for those of them that thresholds are set by, and what the clips are.

        Args:
            scores: ``(N,)``, blocks held out.
            apart: ``(N,)``, recordings held out.
            block: ``(N,)`` their blocks.
            clips: The ``N`` normal clips.
        """
        judged = clips.judged
        found = {"scores": scores, "apart": apart, "block": block, "recording": clips.group, "target": clips.target}
        self._keep(**{name: values[judged] for name, values in found.items()})
        if clips.spectra is not None:
            self.keep_spectrum(clips.spectra.float().mean(0))
        if clips.facts and clips.embeddings.shape[1] <= _WIDEST:
            count = len(clips.facts)
            rows = torch.arange(count) if count <= _MOST else torch.linspace(0, count - 1, _MOST).round().long()
            facts = [clips.facts[row] for row in rows.tolist()]
            others = (values[rows.to(values.device)].tolist() for values in (clips.group, clips.target, judged))
            text = json.dumps([(*one, *more) for one, *more in zip(facts, *others, strict=True)], ensure_ascii=False)
            kept = clips.embeddings[rows.to(clips.embeddings.device)].float()
            # Their directions are compared, so what float16 cannot hold is made shorter.
            too_long = (kept.abs().amax(1, keepdim=True) / torch.finfo(torch.float16).max).clamp_min(1)
            self._keep(
                embeddings=(kept / too_long).half(),
                facts=torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8),
            )

    def forget_embeddings(self) -> None:
        """Keep what thresholds follow from alone."""
        self._keep(embeddings=self.embeddings[:0], facts=self.facts[:0])

    def judge_by(self, scores: Tensor, clips: Bank) -> None:
        """Have limits follow from the `scores` ``(N,)`` of other clips, which no scorer was fitted on."""
        self._keep(
            scores=scores,
            apart=scores,
            block=clips.blocks(),
            recording=clips.group,
            target=torch.ones_like(clips.target),
        )

    def bank(self) -> Bank | None:
        """The clips of `embeddings`, on the CPU, to fit on again; ``None``: none is kept, or not all that is needed."""
        text = bytes(self.facts.tolist())
        try:
            rows = json.loads(text or b"[]")
            names, attributes, group, target, judged = zip(*rows, strict=True)
            if len(rows) != len(self.embeddings):
                return None
            return Bank(
                embeddings=self.embeddings.cpu().float(),
                section=torch.zeros(len(rows), dtype=torch.int64),
                target=torch.tensor(target, dtype=torch.bool),
                group=torch.tensor(group, dtype=torch.int64),
                index=torch.arange(len(rows)),
                facts=tuple(zip(map(str, names), map(str, attributes), strict=True)),
                calibration=torch.tensor(judged, dtype=torch.bool),
            )
        except (ValueError, TypeError, RuntimeError):  # of an earlier version, which kept less, or broken
            return None

    def keep_spectrum(self, level: Tensor) -> None:
        """Keep the usual level ``(F,)`` of each frequency."""
        self._keep(spectrum=level)

    def keep_recorded_as(self, other: NormalClips) -> None:
        """Keep how the clips of another one were recorded."""
        self._keep(recorded=other.recorded)

    def keep_recorded(self, text: str) -> None:
        """Keep how the clips were recorded."""
        self._keep(recorded=torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8))

    @property
    def names_and_attributes(self) -> list[tuple[str, str]]:
        """Of the clips of `embeddings`."""
        text = bytes(self.facts.tolist())
        return [(name, attributes) for name, attributes, *_ in json.loads(text)] if text else []

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        clips = len(state_dict.get(prefix + "scores", self.scores))
        for name in ("apart", "block", "recording"):
            # What is not of the same clips says nothing of them.
            if len(state_dict.get(prefix + name, ())) not in (0, clips):
                state_dict[prefix + name] = state_dict[prefix + name][:0]
        for name, own in list(self._buffers.items()):
            assert own is not None
            # Checkpoints from before it was kept have none.
            value = state_dict.setdefault(prefix + name, own)
            self._keep(**{name: torch.empty_like(value, device=own.device)})
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
