"""The original MIMII data set: ``ROOT/<machine>/id_<NN>/{normal,abnormal}/<number>.wav``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from asd.data.clip import Clip, Condition, Split
from asd.data.datamodule import ClipDataModule
from asd.data.layouts.folders import choose_machines
from asd.data.layouts.recordings import title
from asd.data.options import Options
from asd.errors import UserError

_MODEL = re.compile(r"id_(\d+)", re.IGNORECASE)


class MIMII(ClipDataModule):
    """MIMII as its authors publish it (Purohit et al. 2019, arXiv 1909.09347); each model is a section.

    The test is made of all abnormal clips and, of each model, as many of its normal clips, at most half of them; the
    other normal clips are trained on. The split follows from the names alone.

    Args:
        root: The folder that the archives of one signal-to-noise ratio were unpacked into.
        machines: Machines to use; ``None``: all that are there.
        common: What every data module takes, see `asd.data.datamodule.ClipDataModule`.
    """

    def __init__(self, root: Path | str, machines: Sequence[str] | None = None, **common: Unpack[Options]) -> None:
        super().__init__(**common)
        self.root = Path(root)
        self.machines = None if machines is None else list(machines)

    def clips(self) -> list[Clip]:
        """Every clip under `root`.

        Raises:
            UserError: No such folder or machine, or a model without normal clips.
        """
        models = sorted(
            one for one in self.root.glob("*/*") if _MODEL.fullmatch(one.name) and (one / "normal").is_dir()
        )
        if not models:
            raise UserError(f"no machine in {self.root}; expected {self.root}/<machine>/id_00/normal/00000000.wav")
        chosen = choose_machines(self.machines, {one.parent.name for one in models}, str(self.root))
        return [clip for model in models if model.parent.name in chosen for clip in _clips(model)]


def _clips(model: Path) -> list[Clip]:
    normal, abnormal = (sorted((model / name).glob("*.wav")) for name in ("normal", "abnormal"))
    if not normal:
        raise UserError(f"{model}/normal holds no .wav file; unpack the archive again")
    section = model.name.casefold().removeprefix("id_")
    held = min(len(abnormal), len(normal) // 2)
    # Evenly spaced, because neighbours in number were recorded one after the other.
    tested = {normal[int((number + 0.5) * len(normal) / held)] for number in range(held)} if held else set()
    splits = [(path, Split.TEST if path in tested else Split.TRAIN, Condition.NORMAL) for path in normal]
    splits += [(path, Split.TEST, Condition.ANOMALY) for path in abnormal]
    clips = [Clip(path, model.parent.name, section, split, condition=one) for path, split, one in splits]
    return [replace(clip, name=title(number, clip, clip.path.name)) for number, clip in enumerate(clips)]
