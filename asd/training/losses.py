"""The loss of a training batch, or why it cannot be had."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from asd.errors import UserError


class Losses:
    """The losses of a run, of which none may fail to be finite.

    The host never waits for a device to know: each loss is copied aside, and looked at when the next one is asked for,
    or when `settle` is called, which is due before anything is kept of a step. On the CPU that is at once.
    """

    def __init__(self) -> None:
        self._held: tuple[Tensor, Callable[[], None], str] | None = None

    def checked(self, compute: Callable[[], Tensor], clips: int, place: str) -> Tensor:
        """What `compute` returns for a batch of so many clips; `place` says which it is.

        Raises:
            UserError: A loss is not finite, or batch normalisation has a single clip to learn from.
        """
        try:
            loss = compute()
        except ValueError as error:
            if clips > 1 or "more than 1 value per channel" not in str(error):
                raise
            raise UserError(
                "a batch of a single clip cannot train batch normalisation; raise data.batch_size, or give more clips"
            ) from error
        self.settle()
        self._held = *_aside(loss.detach()), place
        if loss.is_cpu:
            self.settle()
        return loss

    def settle(self) -> None:
        """Look at the last loss.

        Raises:
            UserError: It is not finite.
        """
        if self._held is None:
            return
        loss, wait, place = self._held
        self._held = None
        wait()
        if not math.isfinite(value := loss.item()):
            raise UserError(
                f"the loss is {value} in {place}; lower model.optimizer.lr, clip gradients "
                "(trainer.gradient_clip_val) or train in float32 (trainer.precision)"
            )


def _aside(loss: Tensor) -> tuple[Tensor, Callable[[], None]]:
    """A copy of a loss that the host can read, and what waits until it is there."""
    if not loss.is_cuda:
        return loss, lambda: None
    copy = torch.empty_like(loss, device="cpu", pin_memory=True).copy_(loss, non_blocking=True)
    there = torch.cuda.Event()
    there.record()
    return copy, there.synchronize
