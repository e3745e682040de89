"""Vectors that an encoder made of clips before, in the place of the clips: heads are trained on them in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import torch
from torch import Tensor

from asd.data.audio.usual_recording import UsualRecording
from asd.data.clip import Clip, ClipBatch, Condition, Domain, Encoded, Split
from asd.data.datamodule import ClipDataModule
from asd.data.dataset import ClipDataset, Crop
from asd.data.options import Options
from asd.errors import UserError
from asd.evaluation import embedding_store
from asd.evaluation.embedding_store import StoredClip
from asd.machine import MachineSection

_POOLED = "pooled"
_UNHEARD = ("noise_mix", "crop_seconds", "far_noise")


class Stored(ClipDataModule):
    """The pooled vectors of a folder that ``asd predict --outputs.also '[pooled]'`` wrote.

    The encoder stays frozen and is not heard (``warmup.epochs: -1``), and the adapter's layers after the pooling, head
    and scorers are trained; the checkpoint holds the encoder as well, so it scores recordings like any other. Clips of
    clean sound and of noise are not in such a folder, and make no classes; of longer clips the start alone is known.
    How the normal recordings were made, and their spectra, are not known.

    Args:
        store: The folder, or that of the run.
        common: What every data module takes, see `asd.data.datamodule.ClipDataModule`.
    """

    def __init__(self, store: Path | str, **common: Unpack[Options]) -> None:
        super().__init__(**common)
        self.store = Path(store)
        asked = [name for name in _UNHEARD if common.get(name)]
        if asked:
            raise UserError(f"data.{asked[0]} changes what is heard, but Stored holds no sound; leave it out")
        self._vectors: dict[Path, Tensor] = {}

    def clips(self) -> list[Clip]:
        """Every clip of the store; its path is no file, but tells it from the others.

        Raises:
            UserError: The store cannot be used, holds no pooled vectors, or its clips were heard otherwise.
        """
        store = embedding_store.read(self.store)
        if _POOLED not in store.query.names or not store.query.origin:
            raise UserError(
                f"{self.store} holds no pooled vectors whose origin is known; write it anew with "
                "`asd predict --outputs.also [pooled]`"
            )
        self._check_heard(store.reference)
        pooled, probe = store.of(_POOLED), tuple(store.query.origin["probe"])
        self.encoded = Encoded(pooled.query.embeddings.shape[1], probe, str(self.store))
        found = []
        for part, split in ((pooled.reference, Split.TRAIN), (pooled.query, Split.TEST)):
            for clip, vector in zip(part.clips, part.embeddings, strict=True):
                found.append(_clip(clip, split))
                self._vectors[found[-1].path] = vector
        return found

    def _check_heard(self, stored: embedding_store.Stored) -> None:
        heard = {"seconds": stored.seconds, **stored.origin["heard"]}
        band = heard.pop("band")
        own = {"seconds": self.seconds, "pad": self.pad, "channels": self.channel}
        if isinstance(self.band, float | int):
            own["band"], heard["band"] = self.band, band
        for name, value in own.items():
            if value != heard[name]:
                theirs = "mean" if name == "channels" and heard[name] is None else heard[name]
                raise UserError(f"data.{name} is not that of the clips in {self.store}; set data.{name} to {theirs}")
        self.band_hz = band

    def setup(self, stage: str) -> None:
        """List the clips and name the classes, once.

        Raises:
            UserError: See `clips`.
        """
        if self._listed:
            return
        clips = sorted(self.clips(), key=lambda clip: str(clip.path))
        self.query_clips = [clip for clip in clips if clip.split == Split.TEST]
        self._take_train(self._prepared(clips))
        self._listed = self._train_checked = True

    def recorded(self) -> dict[MachineSection, UsualRecording]:
        """Nothing: it is not known."""
        return {}

    def _dataset(self, clips: list[Clip], crop: Crop = "start") -> ClipDataset:
        labelled = super()._dataset(clips, crop)
        rows = [self._vectors[clip.path] for clip in clips]
        return _Vectors(clips, labelled.labels.tolist(), rows, self.encoded.width if self.encoded else 0, labelled.seed)


class _Vectors(ClipDataset):
    """Vectors ``(P,)`` in the place of waveforms.

    Args:
        clips: The clips.
        labels: Auxiliary class of each.
        vectors: One of each.
        width: ``P``.
        seed: Of the order in training.
    """

    def __init__(self, clips: Sequence[Clip], labels: Sequence[int], vectors: list[Tensor], width: int, seed: int):
        super().__init__(clips, labels, 1, 0, seed=seed)
        self.vectors = torch.stack(vectors) if vectors else torch.empty(0, width)

    def __getitems__(self, rows: Sequence[int]) -> ClipBatch:
        """A batch of clips."""
        index = torch.tensor(rows, dtype=torch.int64)
        return ClipBatch(self.vectors[index], self.labels[index], index)


def _clip(stored: StoredClip, split: Split) -> Clip:
    domain = None if stored.domain is None else Domain(stored.domain)
    condition = None if stored.condition is None else Condition(stored.condition)
    path = Path(split, str(stored.machine_section), stored.name)
    return Clip(
        path, stored.machine, stored.section, split, domain, condition, stored.attributes,
        group=stored.group, name=stored.name, calibration=stored.calibration,
    )  # fmt: skip
