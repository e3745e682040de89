"""Which of several back ends, vectors and runs is best: by the labels of the test clips, or without any label."""

from __future__ import annotations

import argparse
import copy
import itertools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from asd.errors import UserError

if TYPE_CHECKING:
    import torch

    from asd.evaluation.back_ends import Rescored, Spec
    from asd.evaluation.embedding_store import Store, Stored
    from asd.evaluation.tables import Table

KINDS = ("shuffled", "attribute", "domain", "machine")


def add_choice_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option that says by what is chosen."""
    parser.add_argument(
        "--choose",
        metavar="BY",
        nargs="+",
        choices=("labels", "pseudo", *KINDS),
        default=["labels"],
        help="what the order follows: labels of the test clips (default), or pseudo, which tells normal clips from "
        f"pseudo-anomalies and reads no test clip; for one or some of their kinds: {', '.join(KINDS)}",
    )


def by_labels(choose: Sequence[str]) -> bool:
    """Whether the labels of the test clips decide.

    Raises:
        UserError: They shall decide, and something else as well.
    """
    if len(choose) > 1 and not set(choose) <= set(KINDS):
        raise UserError(f"--choose {' '.join(choose)}: give labels, pseudo, or kinds of pseudo-anomalies, not both")
    return list(choose) == ["labels"]


@dataclass(frozen=True)
class Choice:
    """Back ends in the order of preference.

    Attributes:
        rows: The best first.
        vectors: Whether there were several vectors of a clip to choose from.
        kinds: Of pseudo-anomalies that the order follows; none: it follows the labels.
    """

    rows: Sequence[Rescored]
    vectors: bool
    kinds: tuple[str, ...] = ()

    @property
    def headers(self) -> list[str]:
        """Of the table."""
        pseudo = ["pseudo-AUC", *self.kinds] if self.kinds else []
        return ["back end", *pseudo, "official score", "AUC source", "AUC target", "pAUC"]

    def named(self, row: Rescored) -> str:
        """A row by its run and vector, where there are several, and its back end."""
        from asd.evaluation.back_ends import describe

        return ": ".join([*filter(None, [row.run, row.what if self.vectors else ""]), describe(row.spec)])

    def lines(self) -> list[list[str]]:
        """The cells of each row."""
        from asd.evaluation.pseudo_anomalies import overall
        from asd.evaluation.tables import metrics_table, percent

        lines = []
        for row in self.rows:
            pseudo = [overall(row.pseudo), *(row.pseudo[kind] for kind in self.kinds)] if self.kinds else []
            means = metrics_table(row.metrics).summary[0][1:] if row.metrics else ["-", "-", "-"]
            lines.append([self.named(row), *map(percent, pseudo), percent(row.official), *means])
        return lines

    def table(self) -> Table:
        """For the screen; what is chosen without labels is marked."""
        from asd.evaluation.tables import Table

        first, *others = self.lines()
        mark = "* " if self.kinds else ""
        return Table(self.headers, [[mark + first[0], *first[1:]], *others])

    def remark(self) -> str:
        """What the order is worth."""
        from asd.evaluation.tables import percent

        best = self.rows[0]
        measured = [row for row in self.rows if not math.isnan(row.official)]
        if not self.kinds:
            if measured:
                return (
                    "The order follows the labels of the test clips: the best of many looks better than it will prove."
                )
            return "no test clip has a known label: the order is that of the grid, and best.yaml its first back end"
        chosen = f"* is chosen by pseudo-AUC ({', '.join(self.kinds)}), without any test clip: {self.named(best)}."
        if math.isnan(best.official):
            return chosen
        by_label = max(measured, key=lambda row: row.official)
        regret = by_label.official - best.official
        drawn = by_label.official - sum(row.official for row in measured) / len(measured)
        return (
            f"{chosen}\nRegret: {percent(regret)} points below the best by the labels of the test clips, "
            f"{self.named(by_label)}; a row drawn at random has {percent(drawn)} on average."
        )


def ranked(
    stores: Sequence[tuple[str, Store]],
    specs: Sequence[Spec],
    choose: Sequence[str],
    importing: bool,
    processes: int,
    device: torch.device,
) -> Choice:
    """Score every back end on every store, and put them in order.

    Args:
        stores: What is scored, with the name of the run, which is empty where there is one.
        specs: The back ends.
        choose: ``labels``, ``pseudo``, or kinds of pseudo-anomalies.
        importing: Whether back ends may be named by a module that is imported for it.
        processes: Back ends at a time, where the system allows it; one, where the device is not the CPU.
        device: Where they are fitted and score.

    Raises:
        UserError: No back end can be fitted, or the runs are not of the same clips.
    """
    from asd.configured import configured
    from asd.evaluation import back_ends, embedding_store, pseudo_anomalies
    from asd.scoring import Scorer
    from asd.utils.forks import each

    for run, store in stores:
        for name in embedding_store.SUBSETS:
            _check_same(getattr(stores[0][1], name), getattr(store, name), f"{run}, {name} clips")
    tried = None
    if not by_labels(choose):
        tried = pseudo_anomalies.trial([store.reference for _, store in stores])
        tried = tried if list(choose) == ["pseudo"] else tried.only(choose)
    vectors = len({store.query.what for _, store in stores}) > 1
    scorers = [configured(spec, Scorer, importing=importing) for spec in specs]  # type: ignore[type-abstract]
    pairs = list(itertools.product(stores, zip(specs, scorers, strict=True)))

    def scored(number: int) -> Rescored | str:
        (run, store), (spec, blank) = pairs[number]
        scorer = copy.deepcopy(blank)  # each vector has bands of its own, which a scorer takes over
        try:
            pseudo = {} if tried is None else pseudo_anomalies.pseudo_auc(tried, store.reference, scorer, device)
            return replace(back_ends.score(store, scorer, spec, device), run=run, pseudo=pseudo)
        except UserError as error:
            return str(error)

    rows: list[Rescored] = []
    for ((run, store), (spec, _)), found in zip(pairs, each(scored, len(pairs), processes), strict=True):
        if isinstance(found, str):
            vector = store.query.what if vectors else ""
            named = ": ".join([*filter(None, [run, vector]), back_ends.describe(spec)])
            print(f"asd: warning: left out {named}: {found}", file=sys.stderr)
        else:
            rows.append(found)
    if not rows:
        raise UserError(f"no back end could be fitted, of {', '.join(map(back_ends.describe, specs))}")
    if tried is not None:
        return Choice(sorted(rows, key=lambda row: -pseudo_anomalies.overall(row.pseudo)), vectors, tried.kinds)
    return Choice(sorted(rows, key=lambda row: -1.0 if math.isnan(row.official) else -row.official), vectors)


def _check_same(first: Stored, other: Stored, where: str) -> None:
    """Raise `UserError` where another run has other clips, or keeps others for calibration: nothing could be ranked."""
    from asd.utils.pairs import first_few

    ours, theirs = ([(c.machine_section, c.name, c.calibration) for c in one.clips] for one in (first, other))
    if ours != theirs:
        differing = sorted({f"{section.machine}/{name}" for section, name, _ in {*ours} ^ {*theirs}})
        raise UserError(
            f"{where}: {first_few(differing) if differing else 'their order'} differ from the first run's; only runs "
            "on the same clips, with the same kept for calibration, can be ranked: write them anew with `asd predict`"
        )
