"""Scoring of stored embeddings, by one back end or by a grid of them, without touching audio."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asd.configured import configured
from asd.errors import UserError
from asd.evaluation.clip_scores import ClipScore, measure
from asd.evaluation.embedding_store import Store
from asd.evaluation.metrics import SectionMetrics, official_score
from asd.machine import sections_of
from asd.scoring.base import Scorer
from asd.scoring.in_parts import of_each_on
from asd.scoring.reference_bank import Bank
from asd.scoring.sections import SectionScorers
from asd.scoring.threshold import GammaThreshold, Threshold
from asd.utils import configs

Spec = dict[str, Any]
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Rescored:
    """What a back end made of a store.

    Attributes:
        spec: Class path and arguments of the scorer.
        rows: The query clips with their scores.
        metrics: By machine, where labels are known.
        what: Which vector of a clip was scored, as the store names it.
        run: Which store it is of, where there are several.
        pseudo: AUC against pseudo-anomalies of each kind, where the choice is by them.
    """

    spec: Spec
    rows: list[ClipScore]
    metrics: dict[str, SectionMetrics]
    what: str = ""
    run: str = ""
    pseudo: Mapping[str, float] = field(default_factory=dict)

    @property
    def official(self) -> float:
        """The official score; nan without labels."""
        return official_score(self.metrics) if self.metrics else float("nan")


def fit(store: Store, scorer: Scorer, threshold: Threshold | None = None) -> SectionScorers:
    """Fit a scorer for each machine and section on the reference clips, with thresholds from held-out scores."""
    scorers, bank = _prepared(store, scorer, threshold)
    return scorers.fit(bank, store.reference.seconds)


def _prepared(store: Store, scorer: Scorer, threshold: Threshold | None = None) -> tuple[SectionScorers, Bank]:
    names = [str(section) for section in sections_of(store.reference.clips)]
    scorer.take_bands(store.reference.bands)
    scorers = SectionScorers(scorer, GammaThreshold() if threshold is None else threshold, names)
    return scorers, Bank.build(store.reference.embeddings, store.reference.clips, names)


@torch.no_grad()
def score(store: Store, scorer: Scorer, spec: Spec | None = None, device: torch.device = CPU) -> Rescored:
    """Fit and score on a device, without thresholds, which would take five more fits."""
    names = [str(section) for section in sections_of(store.reference.clips)]
    bank = Bank.build(store.reference.embeddings, store.reference.clips, names)
    bank.check(names)
    bank.warn(names)
    scorer.take_bands(store.reference.bands)
    values = torch.empty(len(store.query.clips))
    of = torch.tensor([names.index(str(clip.machine_section)) for clip in store.query.clips], dtype=torch.int64)
    for number, name in enumerate(names):
        asked = torch.nonzero(of == number).flatten()
        if not len(asked):
            continue
        found = _scores(bank.of(number).to(device), scorer, store.query.embeddings, asked)
        if not bool(found.isfinite().all()):
            raise UserError(f"{name}: {type(scorer).__name__} gave scores that are not finite")
        values[asked] = found
    rows = [clip.scored(one) for clip, one in zip(store.query.clips, values.tolist(), strict=True)]
    return Rescored(spec or {"class_path": type(scorer).__name__}, rows, measure(rows), store.query.what)


def _scores(bank: Bank, scorer: Scorer, embeddings: Tensor, rows: Tensor) -> Tensor:
    device = bank.embeddings.device
    fitted = copy.deepcopy(scorer).fit(bank.embeddings, bank.target, bank.group).to(device)
    return of_each_on(device, embeddings, fitted, rows)


@torch.no_grad()
def decided(
    store: Store, scorer: Scorer, threshold: Threshold | None = None, device: torch.device = CPU
) -> tuple[list[ClipScore], SectionScorers]:
    """Scores and decisions of the query clips, found on a device, and what thresholds follow from.

    One machine and section after the other is fitted, scored and forgotten: no more than its own clips is in memory.
    """
    scorers, bank = _prepared(store, scorer, threshold)
    bank.check(scorers.names)
    bank.warn(scorers.names)
    of = torch.tensor([scorers.index(clip.machine_section) for clip in store.query.clips], dtype=torch.int64)
    scores = torch.empty(len(of))
    for number in range(len(scorers.names)):
        rows = torch.nonzero(of == number).flatten()
        scorers.fit_section(number, bank.of(number).to(device), store.reference.seconds)
        scores[rows] = scorers.scores(number, store.query.embeddings, rows)
        scorers.scorers[number] = copy.deepcopy(scorer)
        scorers.normal_clips(number).forget_embeddings()
    made = zip(store.query.clips, scores.tolist(), scorers.decide(scores, of), strict=True)
    return [clip.scored(value, decision) for clip, value, decision in made], scorers


# -- back ends by name


def read_grid(path: Path) -> list[Spec]:
    """The back ends that a grid file names.

    A grid is a list of scorers, each as in a config. With ``vary``, a mapping from dotted places to lists of values,
    an entry stands for every combination of them.

    Raises:
        UserError: No YAML, no list, or an entry that is no scorer.
    """
    content = configs.read(path, "grid file")
    if not isinstance(content, list) or not content:
        raise UserError(f"{path} holds no list of scorers; see `asd configs show grid/back_ends`")
    specs = [one for entry in content for one in _combinations(entry, path)]
    for spec in specs:
        configured(spec, Scorer)  # type: ignore[type-abstract]
    return specs


def _combinations(entry: Any, path: Path) -> list[Spec]:
    if isinstance(entry, str):
        return [{"class_path": entry}]
    if not isinstance(entry, dict) or not isinstance(entry.get("vary", {}), dict):
        raise UserError(f"{path}: {entry!r} is no scorer; give a class name, or class_path, init_args and vary")
    places = {
        place: values if isinstance(values, list) else [values] for place, values in entry.get("vary", {}).items()
    }
    plain = {key: value for key, value in entry.items() if key != "vary"}
    specs = []
    for chosen in itertools.product(*places.values()):
        spec = copy.deepcopy(plain)
        for place, value in zip(places, chosen, strict=True):
            *way, last = place.split(".")
            at: Any = spec
            for step in way:
                at = at.setdefault(step, {})
                if not isinstance(at, dict):
                    raise UserError(f"{path}: vary names {place}, but {step} is no mapping there")
            at[last] = copy.deepcopy(value)
        specs.append(spec)
    return specs


def describe(spec: Any) -> str:
    """A back end in one line: ``LocalDensity(scorer=NeighboursScorer(k=2), mode=ratio)``."""
    if isinstance(spec, Mapping) and "class_path" in spec:
        arguments = spec.get("init_args") or {}
        inner = ", ".join(
            describe(value) if name in ("scorer", "scorers") else f"{name}={describe(value)}"
            for name, value in arguments.items()
        )
        return f"{spec['class_path'].rpartition('.')[2]}({inner})" if inner else spec["class_path"].rpartition(".")[2]
    return " + ".join(map(describe, spec)) if isinstance(spec, list | tuple) else str(spec)
