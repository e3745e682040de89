"""Seeds that are a function of what they are for, the same in every process and release of Python."""

from __future__ import annotations

import hashlib


def seed_of(*numbers: int) -> int:
    """A seed in ``[0, 2^63)`` from numbers such as the run's seed, an epoch and a row."""
    # Two microseconds: one is drawn for every clip.
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()) >> 1
