"""One's own recordings as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Unpack

from asd.data.clip import Clip
from asd.data.datamodule import ClipDataModule
from asd.data.layouts.recordings import Cutting, scan_recordings
from asd.data.options import Options
from asd.errors import UserError


class Recordings(ClipDataModule):
    """A folder of recordings for each machine, cut into clips, see `asd.data.layouts.recordings`.

    The clips of a recording stay together wherever clips are held out.

    Args:
        root: The folder that holds a folder for each machine.
        machines: Machines to use; ``None``: all that are there.
        hop: Seconds from one clip of a recording to the next; ``None``: `seconds`.
        holdout: Part of the normal recordings that is kept to measure false alarms with, where the machine has no
            ``test/normal``.
        common: What every data module takes, see `asd.data.datamodule.ClipDataModule`.

    Attributes:
        own: Results are told without the challenge's words.
    """

    own: ClassVar[bool] = True

    def __init__(
        self,
        root: Path | str,
        machines: Sequence[str] | None = None,
        hop: float | None = None,
        holdout: float = 0.2,
        **common: Unpack[Options],
    ) -> None:
        super().__init__(**common)
        if hop is not None and hop <= 0:
            raise UserError(f"data.hop must be more than 0, or null for data.seconds, got {hop!r}")
        if not 0 <= holdout < 1:
            raise UserError(f"data.holdout must be from 0 to less than 1, got {holdout!r}")
        self.root = Path(root)
        self.machines = None if machines is None else list(machines)
        self.cutting = Cutting(self.seconds, hop or self.seconds, holdout)

    def clips(self) -> list[Clip]:
        """Every clip under `root`; errors as of `asd.data.layouts.recordings.scan_recordings`."""
        return scan_recordings(self.root, self.machines, self.cutting, skip=self.on_bad_file == "skip")
