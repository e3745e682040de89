"""What people teach the detector over HTTP: that a verdict was wrong, and how the place sounds where it works."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from fastapi import HTTPException
from torch import Tensor

from asd.data.audio.usual_recording import usual_recording
from asd.inference import Detector
from asd.inference.feedback import Kind, Said, append, read
from asd.inference.hearing import Hearing
from asd.inference.recalibration import USUAL_BUDGET, Calibrated
from asd.inference.result import Result
from asd.inference.rewriting import rewrite
from asd.serve.service import Kept, Service, refusing
from asd.serve.upload import Upload, telling_full_disk

_VERDICT = ("machine", "score", "decision", "threshold")


async def feedback(service: Service, upload: Upload, number: int, kind: Kind) -> dict[str, Any]:
    """Take what people say of a recording, into the log and into what is judged by from now on.

    Raises:
        HTTPException: As for a score; 409, the service keeps no log.
    """
    detector = service.detector
    if service.kept is None:
        raise HTTPException(409, "this service keeps no feedback")
    with refusing(upload), telling_full_disk():
        parts: list[Tensor] = []
        async for _, windows in service.heard(upload):
            embed = partial(detector.embed, [window for _, window in windows])
            parts.append(await asyncio.wrap_future(service.worker.call(embed)))

        def hear() -> tuple[Said, Result]:
            kept, name, embeddings = service.kept, detector.machines[number], torch.cat(parts)
            assert kept is not None  # of now: a calibration that came before has changed the log
            said = append(kept.log, Said.of(kind, name, upload.name, embeddings, detector.model))
            detector.hear(read(kept.log))
            scores = detector.judging.score(embeddings, number)
            return said, detector.result(upload.name, number, [(0.0, score) for score in scores])

        said, result = await asyncio.wrap_future(service.worker.call(hear))
    return {"mark": said.mark, "kind": kind, **{key: result.to_dict()[key] for key in _VERDICT}}


async def calibrate(
    service: Service, uploads: Sequence[Upload], number: int, false_alarms: str, add: bool
) -> dict[str, Any]:
    """Set the limits of a machine by normal recordings of the place where it works; a checkpoint keeps them.

    Args:
        service: The service.
        uploads: The recordings.
        number: Of the machine and section.
        false_alarms: How many are allowed; empty: as until now, or `USUAL_BUDGET`.
        add: Make the recordings references as well.

    Raises:
        HTTPException: As for a score, of any of them; 409, the service writes no checkpoint.
    """
    detector = service.detector
    if service.kept is None or service.kept.calibrated is None:
        raise HTTPException(409, "this service keeps no calibration; start it with --calibrated FILE")
    out = service.kept.calibrated
    hearing = Hearing(detector.embed, detector.cut)
    with refusing(uploads[0]):
        detector.model.sections.threshold.allowing(_budget(detector, false_alarms)).part_below(detector.cut.hop)
    for upload in uploads:
        with refusing(upload), telling_full_disk():
            hearing.begin(upload.name)
            async for _, windows in service.heard(upload):
                await asyncio.wrap_future(service.worker.call(partial(hearing.push, windows)))

    def settle() -> tuple[Calibrated, str]:
        kept, budget = service.kept, _budget(detector, false_alarms)
        assert kept is not None  # of now: another calibration that came before has changed it, and the budget
        usual = usual_recording([upload.sound for upload in uploads], detector.cut.channel)
        with detector.as_before_on_error():
            found = detector.calibrate_by(number, hearing.bank(), budget, add, usual)
            found = replace(found, recordings=hearing.recordings)
            rewrite(kept.checkpoint, out, detector, found, "calibrate", "service", budget)
        if kept.log != Kept(out).log:
            detector.judging.settle()
        service.kept = Kept(out, out)
        return found, found.expected.unkept(budget, found.hop)

    with refusing(uploads[-1]), telling_full_disk():
        found, unkept = await asyncio.wrap_future(service.worker.call(settle))
    return {
        "machine": detector.machines[number],
        "recordings": found.recordings,
        "windows": found.windows,
        "added": found.added,
        "threshold_before": found.before.alarm,
        "threshold": found.after.alarm,
        "abstain_above": found.after.abstain,
        "expected": found.expected.line(found.hop),
        "unkept": unkept,
    }


def _budget(detector: Detector, false_alarms: str) -> str | float:
    """How many false alarms are allowed: as is said, or as until now."""
    return false_alarms or detector.model.sections.threshold.false_alarms or USUAL_BUDGET
