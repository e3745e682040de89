"""The data set of DCASE Task 2 as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from asd.data.clip import Clip
from asd.data.datamodule import ClipDataModule
from asd.data.layouts.dcase import scan
from asd.data.options import Options


class ToyADMOS2(ClipDataModule):
    """Machines and their sections in the layout of the challenge, see `asd.data.layouts.dcase`.

    Args:
        root: The folder that holds ``dev_data`` and ``eval_data``, or the machines' folders themselves (MIMII DG).
        subsets: Which of them to use; both: train on all normal clips, test on all test clips.
        machines: Machines to use; ``None``: all that are there.
        common: What every data module takes, see `asd.data.datamodule.ClipDataModule`.
    """

    def __init__(
        self,
        root: Path | str,
        subsets: Sequence[str] = ("dev_data",),
        machines: Sequence[str] | None = None,
        **common: Unpack[Options],
    ) -> None:
        super().__init__(**common)
        self.root = Path(root)
        self.subsets = list(subsets)
        self.machines = None if machines is None else list(machines)

    def clips(self) -> list[Clip]:
        """Every clip under `root`; errors as of `asd.data.layouts.dcase.scan`."""
        return scan(self.root, self.subsets, self.machines)
