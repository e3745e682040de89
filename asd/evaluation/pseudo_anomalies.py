"""Choice without labels: how well a scorer tells held-out normal clips from clips that stand in for anomalies.

The clips are those that a store keeps for reference; test clips are neither read nor scored. A store gives up to four
kinds of pseudo-anomalies:

- ``shuffled``: normal clips of which half the columns are those of another normal clip;
- ``attribute``: clips of attributes that the scorer was not fitted on;
- ``domain``: clips of the other domain, for a scorer that was fitted on one alone;
- ``machine``: clips of other machines and sections.

After Wilkinghoff and Tan, who rank systems by the mean AUC against such clips; which of them are made how is chosen
here.
"""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from asd.errors import Notice, UserError
from asd.evaluation.embedding_store import Stored
from asd.evaluation.metrics import area_under_roc
from asd.machine import MachineSection, sections_of
from asd.scoring.base import Scorer
from asd.scoring.reference_bank import Bank

KINDS = ("shuffled", "attribute", "domain", "machine")
FOLDS = 4
"""Parts into which blocks of near copies, and attributes, are put to be held out in turn."""
_MOST = 200
"""Clips of other machines, spread evenly over them."""
_WIDTH = 64
"""Columns of each vector that blocks are found in."""


@dataclass(frozen=True)
class Split:
    """What one scorer is fitted on and judged by: rows of the reference clips, all int64.

    Attributes:
        fitted: ``(N,)`` rows to fit on.
        normal: ``(M,)`` rows of normal clips that are held out.
        anomalies: Rows of the pseudo-anomalies of each kind; of ``shuffled``, from which the other half is taken,
            ``(M,)``.
    """

    fitted: Tensor
    normal: Tensor
    anomalies: Mapping[str, Tensor]


@dataclass(frozen=True)
class Trial:
    """How any scorer of any vector of the same clips is tried, so that all are tried alike.

    Attributes:
        splits: By machine and section.
    """

    splits: Mapping[MachineSection, Sequence[Split]]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which kinds of pseudo-anomalies the clips give."""
        known = {kind for own in self.splits.values() for split in own for kind in split.anomalies}
        return tuple(kind for kind in KINDS if kind in known)

    def only(self, kinds: Sequence[str]) -> Trial:
        """With pseudo-anomalies of these kinds alone.

        Raises:
            UserError: The clips give none of a kind.
        """
        missing = [kind for kind in kinds if kind not in self.kinds]
        if missing:
            raise UserError(
                f"the reference clips give no pseudo-anomalies of {', '.join(missing)}, for which there must be "
                f"another attribute, domain or machine; choose by {', '.join(self.kinds)}"
            )
        splits = {
            section: [
                replace(split, anomalies={kind: rows for kind, rows in split.anomalies.items() if kind in kinds})
                for split in own
            ]
            for section, own in self.splits.items()
        }
        return Trial(splits)


def trial(references: Sequence[Stored]) -> Trial:
    """How scorers are to be tried on the normal clips of a store.

    Blocks of near copies are held out in `FOLDS` parts, and with each a part of the attributes of every domain that has
    several. Where clips were kept for calibration, they alone are judged by: an encoder puts what it was trained on
    closer together than what it hears for the first time.

    Args:
        references: All vectors of the same clips that are to be ranked. Blocks are found in all together: those of one
            would be held out to its disadvantage, as clusters in it.

    Raises:
        UserError: No machine has clips that can be held out.
    """
    clips = references[0].clips
    sections = sections_of(clips)
    names = [str(section) for section in sections]
    bank = Bank.build(torch.cat([_narrow(one.embeddings) for one in references], 1), clips, names)
    bank.check(names)
    parts = [bank.of(number) for number in range(len(names))]
    judged = [part.index[part.judged] for part in parts]
    splits: dict[MachineSection, Sequence[Split]] = {}
    for number, (section, part) in enumerate(zip(sections, parts, strict=True)):
        others = [rows for other, rows in enumerate(judged) if other != number]
        own = _splits(part, _spread(torch.cat(others)) if others else torch.empty(0, dtype=torch.int64))
        if own:
            splits[section] = own
        else:
            warnings.warn(
                f"{section}: too few recordings to hold any out; left out of the choice", Notice, stacklevel=2
            )
    if not splits:
        raise UserError(
            "no machine has recordings that can be held out, so nothing can be chosen without labels; embed more than "
            "one recording of each"
        )
    return Trial(splits)


def _narrow(embeddings: Tensor) -> Tensor:
    """Unit vectors ``(N, E)`` in `_WIDTH` columns at most, which keep their distances but for a little."""
    rows, width = F.normalize(embeddings.float()), embeddings.shape[1]
    if width <= _WIDTH:
        return rows
    generator = torch.Generator().manual_seed(0)
    narrow: Tensor = rows @ torch.randn(width, _WIDTH, generator=generator) / _WIDTH**0.5
    return narrow


def _spread(rows: Tensor) -> Tensor:
    """At most `_MOST` of the rows."""
    count = min(_MOST, len(rows))
    return rows[torch.linspace(0, len(rows) - 1, count).round().long()]


def _splits(part: Bank, others: Tensor) -> list[Split]:
    """The splits of one machine and section; none, where nothing can be held out."""
    fold, part_of = part.blocks().cpu() % FOLDS, _attribute_parts(part)
    generator = torch.Generator().manual_seed(0)
    usual = part.target if bool(part.target.double().mean() > 0.5) else ~part.target
    found: list[Split] = []
    for number in fold.unique().tolist():
        # What stands in for an anomaly has no near copies among the fitted clips either, or it would score lower than
        # what is normal.
        known, held = part_of != number, (fold == number) & part.judged
        rows = part.index[held & known]
        anomalies = {"attribute": part.index[held & ~known], "machine": others}
        if len(rows) > 1:
            anomalies["shuffled"] = rows[_other(len(rows), generator)]
        found += _split(part.index[(fold != number) & known], rows, anomalies)
        anomalies = {"domain": part.index[held & ~usual]}
        found += _split(part.index[(fold != number) & usual], part.index[held & usual], anomalies)
    return found


def _split(fitted: Tensor, normal: Tensor, anomalies: Mapping[str, Tensor]) -> list[Split]:
    """The split, where there is something to fit on, and something of either kind to judge by."""
    there = {kind: rows for kind, rows in anomalies.items() if len(rows)}
    return [Split(fitted, normal, there)] if len(fitted) and len(normal) and there else []


def _other(count: int, generator: torch.Generator) -> Tensor:
    """For each of so many clips another one."""
    order = torch.randperm(count, generator=generator)
    return order.roll(1)[order.argsort()]


def _attribute_parts(part: Bank) -> Tensor:
    """The part ``(N,)`` of each clip's attributes; -1 where its domain has no second value."""
    attributes = [name.casefold() for _, name in part.facts]
    own = list(zip(map(bool, part.target.tolist()), attributes, strict=True))
    values: dict[bool, list[str]] = defaultdict(list)
    for target, name in sorted(set(own)):
        values[target].append(name)
    numbers = [values[target].index(name) % FOLDS if len(values[target]) > 1 else -1 for target, name in own]
    return torch.tensor(numbers, dtype=torch.int64)


@torch.no_grad()
def pseudo_auc(tried: Trial, stored: Stored, scorer: Scorer, device: torch.device | None = None) -> dict[str, float]:
    """The AUC against pseudo-anomalies of each kind, as fractions: means over splits, then over machines.

    Args:
        tried: What is held out and left out, made of the same clips.
        stored: The reference clips, embedded.
        scorer: Copied for every fit.
        device: Where is fitted and scored; ``None``: where the embeddings lie.

    Raises:
        UserError: The scorer cannot be fitted, or gives scores that are not finite.
    """
    scorer.take_bands(stored.bands)
    names = [str(section) for section in tried.splits]
    bank = Bank.build(stored.embeddings, stored.clips, sorted({str(clip.machine_section) for clip in stored.clips}))
    means: dict[str, list[float]] = defaultdict(list)
    for name, own in zip(names, tried.splits.values(), strict=True):
        areas: dict[str, list[float]] = defaultdict(list)
        for split in own:
            if split.anomalies:
                for kind, area in _areas(bank, split, scorer, name, device).items():
                    areas[kind].append(area)
        for kind, values in areas.items():
            means[kind].append(float(np.mean(values)))
    return {kind: float(np.mean(means[kind])) for kind in tried.kinds}


def _areas(bank: Bank, split: Split, scorer: Scorer, name: str, device: torch.device | None) -> dict[str, float]:
    def there(values: Tensor, place: Tensor) -> Tensor:
        return values[place].to(device)

    rows = split.fitted
    fitted = copy.deepcopy(scorer).fit(*(there(one, rows) for one in (bank.embeddings, bank.target, bank.group)))
    normal = there(bank.embeddings, split.normal)
    queries = [normal]
    for kind, place in split.anomalies.items():
        own = there(bank.embeddings, place)
        queries.append(_exchanged(normal, own) if kind == "shuffled" else own)
    # In float64, which not every device has: on the CPU.
    scores = fitted.to(device)(torch.cat(queries)).cpu().double()
    if not bool(scores.isfinite().all()):
        raise UserError(f"{name}: {type(scorer).__name__} gave scores that are not finite")
    usual, *strange = (one.numpy() for one in scores.split([len(one) for one in queries]))
    return {
        kind: area_under_roc(np.arange(len(usual) + len(one)) >= len(usual), np.concatenate([usual, one]))
        for kind, one in zip(split.anomalies, strange, strict=True)
    }


def _exchanged(rows: Tensor, others: Tensor) -> Tensor:
    """The rows ``(N, E)``, of each of which half the columns, drawn anew, are those of the other."""
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(rows.shape, generator=generator).argsort(1)
    return torch.where(order.to(rows.device) < rows.shape[1] // 2, others, rows)


def overall(areas: Mapping[str, float]) -> float:
    """The pseudo-AUC that is chosen by: the mean over kinds, each of which counts alike."""
    return float(np.mean(list(areas.values())))
