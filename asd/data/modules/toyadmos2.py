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
        subsets: Which of them to use, such as ``[dev_data, eval_data]``; ``None``: those that are there. All their
            normal training clips are trained on.
        machines: Machines to use; ``None``: all that are there.
        test_subsets: Of which of `subsets` the test clips are scored; ``None``: of all.
        common: What every data module takes, see `asd.data.datamodule.ClipDataModule`.
    """

    def __init__(
        self,
        root: Path | str,
        subsets: Sequence[str] | None = ("dev_data",),
        machines: Sequence[str] | None = None,
        test_subsets: Sequence[str] | None = None,
        **common: Unpack[Options],
    ) -> None:
        super().__init__(**common)
        self.root = Path(root)
        self.subsets = None if subsets is None else list(subsets)
        self.machines = None if machines is None else list(machines)
        self.test_subsets = None if test_subsets is None else list(test_subsets)

    def clips(self) -> list[Clip]:
        """Every clip under `root`; errors as of `asd.data.layouts.dcase.scan`."""
        return scan(self.root, self.subsets, self.machines, test_subsets=self.test_subsets)
