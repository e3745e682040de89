"""What the program says while it works: one logger for what goes on, notices for what the user should know."""

from __future__ import annotations

import logging
import os
import warnings

from asd.errors import Notice

logger = logging.getLogger("asd")
"""The command line gives it a handler; elsewhere the program that imports this one decides."""

_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def is_first() -> bool:
    """Whether this process is the first, or the only one, of a run: the others would say the same once more."""
    return int(next((os.environ[name] for name in _RANKS if os.environ.get(name, "").isdecimal()), "0")) == 0


def notice(message: str) -> None:
    """Warn with a `Notice`, in the first process alone."""
    if is_first():
        warnings.warn(message, Notice, stacklevel=3)
