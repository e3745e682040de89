"""Ensembles: the scores of several runs fused clip by clip, or their embeddings side by side."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from asd.errors import UserError
from asd.evaluation import calibration
from asd.evaluation import embedding_store as stores
from asd.evaluation.calibration import Calibration, Calibrations
from asd.evaluation.clip_scores import ClipScore, read_scores
from asd.evaluation.embedding_store import Store, Stored
from asd.machine import sections_of
from asd.run_folder import scores_at
from asd.scoring.conformal import Surprise
from asd.scoring.threshold import Threshold
from asd.utils.pairs import first_few

Fusion = Literal["mean", "rank", "maximum"]


def check_weights(weights: Sequence[float] | None, runs: int) -> list[float]:
    """Weights that sum to one: those given, or equal ones.

    Raises:
        UserError: Another number of weights than runs, or one that is negative.
    """
    given = [1.0] * runs if weights is None else list(weights)
    if len(given) != runs or not all(0 <= one < math.inf for one in given) or sum(given) == 0:
        raise UserError(f"weights are {given} for {runs} runs; give one for each, none negative")
    return [one / sum(given) for one in given]


def fuse_scores(
    folders: Sequence[Path], fusion: Fusion, weights: Sequence[float] | None, threshold: Threshold
) -> tuple[list[ClipScore], Calibrations]:
    """Fuse the scores of runs on the same clips.

    The scores of each run are first made comparable by its scores of the normal training clips, machine by machine:
    ``mean`` and ``maximum`` standardise them by mean and deviation, ``rank`` takes the place among them, see
    `asd.scoring.conformal.Surprise`. Decisions follow from the fused scores of the training clips.

    Args:
        folders: Run folders with ``scores`` and ``calibration.json``.
        fusion: How scores are fused.
        weights: Of the runs; ``None``: equal. The maximum takes none.
        threshold: How limits follow from the fused scores of the training clips.

    Raises:
        UserError: Fewer than two runs, runs of other clips, or a run that keeps no scores of its training clips.
    """
    if fusion not in get_args(Fusion):
        raise UserError(f"unknown fusion {fusion!r}; choose one of {', '.join(get_args(Fusion))}")
    if len(folders) < 2:
        raise UserError("an ensemble needs two runs or more")
    if fusion == "maximum" and weights is not None:
        raise UserError("the maximum of scores takes no weights; choose mean or rank, or leave the weights out")
    share = torch.tensor(check_weights(weights, len(folders)), dtype=torch.float64)
    runs = [_read_run(folder) for folder in folders]
    names = [{(row.machine, row.section, row.name): row for row in rows} for rows, _ in runs]
    for folder, other in zip(folders[1:], names[1:], strict=True):
        differing = sorted("/".join(key) for key in names[0].keys() ^ other.keys())
        if differing:
            raise UserError(f"{folders[0]} and {folder} scored other clips: they differ in {first_few(differing)}")
    fused: list[ClipScore] = []
    machines: dict[str, Calibration] = {}
    for section in sections_of(runs[0][0]):
        keys = sorted(key for key in names[0] if key[:2] == section)
        test, training, flags = [], [], None
        for folder, rows, (_, known) in zip(folders, names, runs, strict=True):
            own = known.of(str(section))
            if own is None:
                raise UserError(f"{folder}: calibration.json knows no {section}; test the run anew")
            normal = torch.tensor(own.source + own.target, dtype=torch.float64)
            flags = torch.arange(len(normal)) >= len(own.source)
            asked = torch.tensor([rows[key].score for key in keys], dtype=torch.float64)
            test.append(_comparable(asked, normal, fusion))
            training.append(_comparable(normal, normal, fusion))
        if len({len(one) for one in training}) > 1 or flags is None:
            raise UserError(
                f"{section}: the runs were trained on different numbers of clips; train them on the same data"
            )
        scores, normal = _fused(torch.stack(test), fusion, share), _fused(torch.stack(training), fusion, share)
        limits = threshold.fit(normal, flags)
        machines[str(section)] = Calibration(*limits, *(tuple(normal[part].tolist()) for part in (~flags, flags)))
        for key, score in zip(keys, scores.tolist(), strict=True):
            fused.append(dataclasses.replace(names[0][key], score=score).decided(limits.decide(score)))
    return fused, Calibrations(machines, runs[0][1].seconds)


def _read_run(folder: Path) -> tuple[list[ClipScore], Calibrations]:
    known = calibration.read(folder)
    if known is None:
        raise UserError(f"{folder} has no calibration.json: give a run folder of `asd fit` or `asd test`")
    return read_scores(scores_at(folder)), known


def _comparable(scores: Tensor, normal: Tensor, fusion: Fusion) -> Tensor:
    if fusion == "rank":
        return Surprise.of(normal)(scores)
    return (scores - normal.mean()) / normal.std(correction=0).clamp_min(1e-12)


def _fused(scores: Tensor, fusion: Fusion, share: Tensor) -> Tensor:
    return scores.amax(0) if fusion == "maximum" else (share[:, None] * scores).sum(0)


def fuse_embeddings(folders: Sequence[Path], weights: Sequence[float] | None = None) -> Store:
    """The embeddings of several stores of the same clips side by side, each of unit length before it is weighted.

    With the cosine metric, the similarity of two clips is the weighted mean of their similarities in each store.

    Raises:
        UserError: Fewer than two stores, or stores of other clips.
    """
    if len(folders) < 2:
        raise UserError("an ensemble needs two runs or more")
    share = check_weights(weights, len(folders))
    found = [stores.read(folder) for folder in folders]
    joined = {}
    for part in stores.SUBSETS:
        pieces: list[Stored] = [getattr(one, part) for one in found]
        first = pieces[0]
        columns = []
        for folder, piece, weight in zip(folders, pieces, share, strict=True):
            place = {(clip.machine_section, clip.name): row for row, clip in enumerate(piece.clips)}
            wanted = [(clip.machine_section, clip.name) for clip in first.clips]
            differing = sorted(name for _, name in place.keys() ^ set(wanted))
            if differing:
                raise UserError(f"{folders[0]} and {folder} hold other {part} clips: {first_few(differing)} differ")
            rows = piece.embeddings[[place[key] for key in wanted]].float()
            columns.append(F.normalize(rows) * weight**0.5)
        mark = hashlib.sha256("".join(piece.fingerprint for piece in pieces).encode()).hexdigest()
        joined[part] = Stored(torch.cat(columns, 1), first.clips, mark, first.seconds)
    return Store(**joined)
