"""Seeds that are a function of what they are for, the same in every process and release of Python."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch


def seed_of(*numbers: int) -> int:
    """A seed in ``[0, 2^63)`` from numbers such as the run's seed, an epoch and a row."""
    # Two microseconds: one is drawn for every clip.
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()) >> 1


def seed_all(*numbers: int) -> None:
    """Seed the generators that a process shares, those of PyTorch, NumPy and Python, with `seed_of` the numbers."""
    seed = seed_of(*numbers)
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
