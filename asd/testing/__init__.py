"""Public contract checks: run them on your own plug-ins, in your own tests.

Each raises `AssertionError` with what is broken. ``check_encoder(MyEncoder())``, ``check_head(MyHead())``,
``check_scorer(MyScorer())``, ``check_threshold(MyThreshold())``, ``check_augmentation(MyAugmentation())``,
``check_datamodule(MyData(...))``; ``write_dataset`` writes a few short clips to check on.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asd.testing.augmentation import check_augmentation as check_augmentation
    from asd.testing.datamodule import check_datamodule as check_datamodule
    from asd.testing.encoder import check_encoder as check_encoder
    from asd.testing.head import check_head as check_head
    from asd.testing.scorer import check_scorer as check_scorer
    from asd.testing.threshold import check_threshold as check_threshold
    from asd.testing.tiny import write_dataset as write_dataset

_PLACES = {
    "check_augmentation": "augmentation",
    "check_datamodule": "datamodule",
    "check_encoder": "encoder",
    "check_head": "head",
    "check_scorer": "scorer",
    "check_threshold": "threshold",
    "write_dataset": "tiny",
}

__all__ = [
    "check_augmentation",
    "check_datamodule",
    "check_encoder",
    "check_head",
    "check_scorer",
    "check_threshold",
    "write_dataset",
]


def __getattr__(name: str) -> Any:
    # Imported when asked for, so that checking a scorer needs no encoder and no Lightning.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
