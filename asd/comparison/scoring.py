"""The back ends of every vector of an encoder: by the labels of the test clips, and without any label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from asd.configured import configured
from asd.errors import UserError
from asd.evaluation import back_ends, embedding_store, pseudo_anomalies
from asd.evaluation.metrics import SectionMetrics
from asd.evaluation.tables import metrics_table
from asd.scoring import Scorer, ZFusion
from asd.utils import strict_json
from asd.utils.files import replace_text


@dataclass(frozen=True)
class Scoring:
    """What to score.

    Attributes:
        store: Folder of the encoder.
        stores: Folders of all encoders that are compared, in a fixed order: blocks of near copies, which are held out
            together where no label is used, are found in the vectors of all.
        back_ends: As a grid has them.
        out: The file of the results.
        beside: How many encoders may be scored at a time.
    """

    store: Path
    stores: Sequence[Path]
    back_ends: Sequence[dict[str, Any]]
    out: Path
    beside: int = 1


@dataclass(frozen=True)
class Row:
    """What a back end makes of a vector.

    Attributes:
        what: The vector.
        back_end: In one line.
        official: The official score; ``None`` without labels.
        means: AUC of source and target clips and pAUC, in percent, over the machines; none without labels.
        pseudo: AUC against pseudo-anomalies, by their kind; none of a fusion of the others.
        failed: Why it could not be fitted; empty where it was.
    """

    what: str
    back_end: str
    official: float | None = None
    means: list[str] = field(default_factory=list)
    pseudo: Mapping[str, float] = field(default_factory=dict)
    failed: str = ""

    @property
    def criterion(self) -> float:
        """The pseudo-AUC; nan where there is none."""
        return pseudo_anomalies.overall(self.pseudo) if self.pseudo else math.nan


def read_rows(path: Path) -> list[Row] | None:
    """The results in a file, which is there whole or not at all; ``None``: there is none that can be read."""
    try:
        return [Row(**one) for one in strict_json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return None


def score(job: Scoring, _: int = 0) -> None:
    """Score every vector of an encoder with every back end.

    Raises:
        UserError: A store that cannot be used.
    """
    torch.set_num_threads(max(1, torch.get_num_threads() // job.beside))
    tried = trial(job.stores)
    whole = embedding_store.read(job.store)
    rows = []
    for what in whole.query.names:
        store = whole.of(what)
        for spec in job.back_ends:
            scorer = configured(spec, Scorer, importing=True)  # type: ignore[type-abstract]
            name = back_ends.describe(spec)
            # Of a fusion it would take longer than of all that it fuses, which is tried already.
            known = isinstance(scorer, ZFusion) and len(job.back_ends) > 1
            try:
                pseudo = {} if known or tried is None else pseudo_anomalies.pseudo_auc(tried, store.reference, scorer)
                found = back_ends.score(store, scorer)
            except UserError as error:
                rows.append(Row(what, name, failed=str(error)))
                continue
            official = None if math.isnan(found.official) else found.official
            rows.append(Row(what, name, official, _means(found.metrics), pseudo))
    replace_text(job.out, strict_json.dumps([asdict(row) for row in rows], indent=2))


def _means(metrics: Mapping[str, SectionMetrics]) -> list[str]:
    return list(metrics_table(metrics).summary[0][1:]) if metrics else []


def trial(stores: Sequence[Path]) -> pseudo_anomalies.Trial | None:
    """How all vectors of all encoders are tried without labels; ``None`` where no clips can be held out."""
    references = []
    for folder in stores:
        reference = embedding_store.read(folder).reference
        references += [reference.of(name) for name in reference.names]
    try:
        return pseudo_anomalies.trial(references)
    except UserError:  # says that the recordings are too few
        return None
