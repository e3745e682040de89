"""How many training clips get the class that they have: the loss has no scale that stays, accuracies have."""

from __future__ import annotations

import torch
from torch import Tensor

from asd.data.classes import ClassTable
from asd.data.clip import Kind
from asd.training import distributed


class Accuracies:
    """Parts of the training clips of an epoch whose auxiliary class is found, over all processes.

    - ``accuracy_machine``: of the machines' clips, those that are taken for their machine, whatever its section and
      attributes; where there is more than one.
    - ``accuracy_attribute``: of the machines' clips, those that get their own class.
    - ``accuracy_clean`` and ``accuracy_noise``: of the clips of clean sound and of noise, those that get their class.

    A mixed clip counts as one of the class that it has most of.

    Args:
        classes: The auxiliary classes.
    """

    def __init__(self, classes: ClassTable) -> None:
        origins = classes.origins()
        machines = sorted({machine for machine, _ in origins})
        each = torch.arange(len(origins))
        of_machine = torch.tensor([machines.index(machine) for machine, _ in origins], dtype=torch.int64)
        kinds = {kind: torch.tensor([own == kind for _, own in origins], dtype=torch.bool) for kind in Kind}
        figures = {
            "accuracy_machine": (of_machine, kinds[Kind.MACHINE] & (len(of_machine.unique()) > 1)),
            "accuracy_attribute": (each, kinds[Kind.MACHINE]),
            "accuracy_clean": (each, kinds[Kind.CLEAN]),
            "accuracy_noise": (each, kinds[Kind.NOISE]),
        }
        self.names = [name for name, (_, counted) in figures.items() if bool(counted.any())]
        # For each figure and class, the answer that is asked for, and whether its clips count.
        self._answer = torch.stack([figures[name][0] for name in self.names])
        self._counted = torch.stack([figures[name][1] for name in self.names])
        self._sums = torch.zeros(2, len(self.names), dtype=torch.int64)

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Count a batch: logits ``(B, C)`` and soft labels ``(B, C)``. Nothing waits for the device."""
        if self._sums.device != logits.device:
            self._answer, self._counted, self._sums = (
                one.to(logits.device) for one in (self._answer, self._counted, self._sums)
            )
        found, label = logits.argmax(1), targets.argmax(1)
        counted = self._counted[:, label]
        right = (self._answer[:, found] == self._answer[:, label]) & counted
        self._sums += torch.stack([right.sum(1), counted.sum(1)])

    def finish(self) -> dict[str, float]:
        """The figures of the epoch, without those that no clip counts for; every process has to ask. Starts anew."""
        right, counted = distributed.total(self._sums.cpu()).tolist()
        self._sums.zero_()
        return {name: a / b for name, a, b in zip(self.names, right, counted, strict=True) if b}
