"""The data set of DCASE Task 2 as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asd.data.clip import Clip
from asd.data.datamodule import ClipDataModule, OnBadFile
from asd.data.dataset import Pad
from asd.data.labels import SupplementalClasses
from asd.data.layout import scan


class ToyADMOS2(ClipDataModule):
    """Machines and their sections in the layout of the challenge, see `asd.data.layout`.

    Args:
        root: The folder that holds ``dev_data`` and ``eval_data``.
        subsets: Which of them to use; both: train on all normal clips, test on all test clips.
        machines: Machines to use; ``None``: all that are there.
        seconds: Length of the waveforms; shorter clips are padded, longer ones cropped.
        batch_size: Clips in a batch, on each process.
        workers: Processes that read ahead for each loader; 0: read in the main process, as fast once clips are cached.
        pad: What follows a clip that is too short: the clip again, or zeros.
        channel: The channel to take, from 0; ``None``: the mean of all.
        clean_class: Classes of clean machine sound: one per machine, one shared by all, or none.
        noise_class: Classes of background noise: one per machine, one shared by all, or none.
        cache_gb: Bound of the decoded clips kept in RAM while training, in 10^9 bytes on each process; 0: none.
        on_bad_file: Stop at a training clip that cannot be used, or list such clips and skip them.
        crop_seconds: Length of the random crops that training sees, `seconds` at most; ``None``: `seconds`.
    """

    def __init__(
        self,
        root: Path | str,
        subsets: Sequence[str] = ("dev_data",),
        machines: Sequence[str] | None = None,
        seconds: float = 10.0,
        batch_size: int = 32,
        workers: int = 0,
        pad: Pad = "repeat",
        channel: int | None = None,
        clean_class: SupplementalClasses = "per_machine",
        noise_class: SupplementalClasses = "per_machine",
        cache_gb: float = 1.0,
        on_bad_file: OnBadFile = "stop",
        crop_seconds: float | None = None,
    ) -> None:
        super().__init__(
            seconds, batch_size, workers, pad, channel, clean_class, noise_class, cache_gb, on_bad_file,
            crop_seconds,
        )  # fmt: skip
        self.root = Path(root)
        self.subsets = list(subsets)
        self.machines = None if machines is None else list(machines)

    def clips(self) -> list[Clip]:
        """Every clip under `root`; errors as of `asd.data.layout.scan`."""
        return scan(self.root, self.subsets, self.machines)
