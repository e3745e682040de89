"""Shards as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from asd.data.clip import Clip
from asd.data.datamodule import ClipDataModule
from asd.data.layouts.folders import choose_machines
from asd.data.layouts.shards import read_shards
from asd.data.options import Options


class Shards(ClipDataModule):
    """Clips in tar archives that `asd data shard` wrote, in a folder or below a URL, see `asd.data.layouts.shards`.

    Args:
        root: The folder of the shards and their index, or a URL of any kind that fsspec reads.
        machines: Machines to use; ``None``: all that are there.
        common: What every data module takes, see `asd.data.datamodule.ClipDataModule`.
    """

    def __init__(self, root: str, machines: Sequence[str] | None = None, **common: Unpack[Options]) -> None:
        super().__init__(**common)
        self.root = str(root)
        self.machines = None if machines is None else list(machines)

    def clips(self) -> list[Clip]:
        """Every clip of the shards; errors as of `asd.data.layouts.shards.read_shards`."""
        clips = read_shards(self.root)
        chosen = choose_machines(self.machines, {clip.machine for clip in clips}, self.root)
        return [clip for clip in clips if clip.machine in chosen]
