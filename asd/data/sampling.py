"""The order of training clips: a function of seed and epoch, also in a resumed run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, RandomSampler, Sampler

from asd.data.clip import ClipBatch
from asd.data.dataset import ClipDataset
from asd.utils.ahead import read_ahead


class ShuffleSampler(RandomSampler):
    """Rows in an order that depends on seed and epoch alone: the one that a distributed sampler deals to its ranks.

    Args:
        dataset: The clips.
        seed: Together with the epoch, the order.
    """

    def __init__(self, dataset: ClipDataset, seed: int) -> None:
        super().__init__(dataset, generator=torch.Generator())
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of that epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """The rows of this epoch."""
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()


Balance = Literal["off", "class", "domain", False]
"""What is drawn equally often. YAML reads a bare ``off`` as false."""


class BalancedSampler(Sampler[int]):
    """As many rows as there are, drawn with repeats so that every kind of row is drawn equally often.

    The rows depend on the seed and on the data set's epoch alone, so every process draws the same, and a distributed
    sampler deals them to its ranks. (It would replace a `RandomSampler` by an order of its own.)

    Args:
        dataset: The clips.
        seed: Together with the epoch, the rows.
        kinds: The kind of each clip.
    """

    def __init__(self, dataset: ClipDataset, seed: int, kinds: Sequence[Hashable]) -> None:
        self.dataset = dataset
        self.seed = seed
        counts = Counter(kinds)
        self.weights = torch.tensor([1 / counts[kind] for kind in kinds], dtype=torch.float64)

    def __len__(self) -> int:
        """Number of rows in an epoch."""
        return len(self.weights)

    @property
    def epoch(self) -> int:
        """The data set's epoch."""
        return self.dataset.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the rows, and the data set's crops, of that epoch."""
        self.dataset.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        """The rows of this epoch."""
        own = torch.Generator().manual_seed(self.seed + self.epoch)
        return iter(torch.multinomial(self.weights, len(self.weights), replacement=True, generator=own).tolist())


class ClipLoader(DataLoader[ClipBatch]):
    """A loader that reads on while a GPU computes; on a CPU it would take the cores that compute."""

    def __iter__(self) -> Any:
        """Batches."""
        batches = super().__iter__()
        on_gpu = self.pin_memory  # by `ClipDataModule`; Lightning makes loaders anew from what they were given
        return read_ahead(batches) if on_gpu and not self.num_workers else batches


class TrainLoader(ClipLoader):
    """A loader whose crops are those of the sampler's epoch, settled when the first batch is asked for.

    Not before: Lightning makes the first iterator of a run while it builds the optimizer, before it restores how far a
    run had come, and workers would fetch at once.

    Attributes:
        trained: Tells how many batches of the epoch a resumed run has trained on, which are left out.
    """

    dataset: ClipDataset
    trained: Callable[[], int] | None = None

    def __iter__(self) -> Any:
        """Batches of this epoch."""
        self.dataset.set_epoch(getattr(self.sampler, "epoch", self.dataset.epoch))
        yield from islice(super().__iter__(), 0 if self.trained is None else self.trained(), None)
