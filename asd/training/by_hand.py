"""The configuration of a run that was put together in Python, for its checkpoints to be built again from."""

from __future__ import annotations

import os
from typing import Any

import lightning.pytorch as pl

from asd.described import described
from asd.training.lightning_seams import trainer_of
from asd.utils.log import notice

_PARTS = ("encoder", "adapter", "head", "scorer", "threshold", "mixup", "exchange")
"""Arguments of the detector, of which it is made."""


def configuration(module: pl.LightningModule) -> dict[str, Any] | None:
    """What `asd fit` would have been told for this run; ``None``, and a notice, where plain data cannot say it.

    Args:
        module: The detector, with its trainer.
    """
    parts = {name: getattr(module, name) for name in _PARTS}
    trainer = trainer_of(module)
    if trainer is None:
        return None
    try:
        return {
            "seed_everything": int(os.environ.get("PL_GLOBAL_SEED", "0")),
            "trainer": {"precision": trainer.precision, "max_epochs": trainer.max_epochs},
            "model": described(parts | {"optimizer": module.optimizer_options}),
            "data": described(getattr(trainer, "datamodule", None)),
        }
    except TypeError as error:
        notice(f"the checkpoint keeps no configuration ({error}), so no detector can be loaded from it alone")
        return None
