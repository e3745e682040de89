"""The loss of a training batch, or why it cannot be had."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from asd.errors import UserError


def checked_loss(compute: Callable[[], Tensor], clips: int, place: str) -> Tensor:
    """What `compute` returns for a batch of so many clips; `place` says which it is.

    Raises:
        UserError: The loss is not finite, or batch normalisation has a single clip to learn from.
    """
    try:
        loss = compute()
    except ValueError as error:
        if clips > 1 or "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            "a batch of a single clip cannot train batch normalisation; raise data.batch_size, or give more clips"
        ) from error
    if not bool(loss.detach().isfinite()):
        raise UserError(
            f"the loss is {loss.item()} in {place}; lower model.optimizer.lr, clip gradients "
            "(trainer.gradient_clip_val) or train in float32 (trainer.precision)"
        )
    return loss
