"""A synthesised data set that makes itself when it is first needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from asd.data.layouts.folders import SUBSETS
from asd.data.modules.toyadmos2 import ToyADMOS2
from asd.data.options import Options
from asd.data.synthesis.dataset import synthesize
from asd.errors import UserError
from asd.utils.files import aside, put

RECIPE = "synthetic.json"
"""File in `root` that holds the arguments the data were made with; written last."""


class Synthetic(ToyADMOS2):
    """Synthesised machines, made into `root` where they are not there yet or were made with other arguments.

    Args:
        root: The folder to hold ``dev_data``; must be new, empty or made by this class.
        subsets: Which of ``dev_data`` and ``eval_data`` to make and use; ``None``: the first.
        machines: Machines to make and use; ``None``: all that can be synthesised.
        train_source: Normal training clips of the source domain per machine.
        train_target: Normal training clips of the target domain per machine.
        test: Test clips per machine, domain and condition.
        supplemental: Supplemental clips per machine; ``None``: 12, of 2026 none.
        severity: How grave the faults are, see `asd.data.synthesis.dataset.synthesize`; ``None``: graded.
        seed: The same seed gives the same data.
        test_subsets: Of which of `subsets` the test clips are scored; ``None``: of all.
        year: Whose layout they have, see `asd.data.synthesis.dataset.synthesize`: 2026 has a near and a far channel.
        common: What every data module takes, see `asd.data.datamodule.ClipDataModule`.
    """

    def __init__(
        self,
        root: Path | str = "data/synthetic",
        subsets: Sequence[str] | None = ("dev_data",),
        machines: Sequence[str] | None = None,
        train_source: int = 60,
        train_target: int = 6,
        test: int = 15,
        supplemental: int | None = None,
        severity: float | None = None,
        seed: int = 1,
        test_subsets: Sequence[str] | None = None,
        year: int = 2025,
        **common: Unpack[Options],
    ) -> None:
        made = list(SUBSETS[:1] if subsets is None else subsets)
        super().__init__(root, made, machines, test_subsets, **common)
        self.recipe: dict[str, Any] = {
            "subsets": made,
            "machines": self.machines,
            "seconds": self.seconds,
            "train_source": train_source,
            "train_target": train_target,
            "test": test,
            "supplemental": (12 if year == 2025 else 0) if supplemental is None else supplemental,
            "severity": severity,
            "seed": seed,
        }
        if year != 2025:  # what was made before there were years is as it was
            self.recipe["year"] = year

    def prepare_data(self) -> None:
        """Make the data unless they are there, whole and of the same arguments.

        Raises:
            UserError: The folder holds something else, or cannot be written.
        """
        made_with = self._made_with()
        if made_with == self.recipe:
            return
        if made_with is None and self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
            raise UserError(
                f"{self.root} holds something that was not synthesised (no {RECIPE}); choose another data.root, "
                "or read it with data.class_path=ToyADMOS2"
            )
        # Made beside its place and renamed when whole: what a stopped run leaves is never taken for data.
        try:
            with aside(self.root) as place:
                for subset in self.recipe["subsets"]:
                    self._synthesize(place, subset)
                (place / RECIPE).write_text(json.dumps(self.recipe, indent=2) + "\n")
                if self._made_with() != self.recipe:  # else another process was faster
                    put(place, self.root)
        except OSError as error:
            raise UserError(
                f"cannot write synthetic data to {self.root}: {error.strerror or error}; free space, or choose another "
                "data.root"
            ) from error

    def _made_with(self) -> object:
        try:
            return json.loads((self.root / RECIPE).read_text())
        except (OSError, ValueError):
            return None

    def _synthesize(self, out: Path, subset: str) -> None:
        options = {key: value for key, value in self.recipe.items() if key not in ("subsets", "machines")}
        synthesize(out, self.machines, subset=subset, **options)
