"""Checkpoints of detectors whose limits were set anew where they work."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from asd.data.layouts.walk import recordings_in
from asd.inference.detector import Detector
from asd.inference.feedback import log_of
from asd.inference.recalibration import USUAL_BUDGET, Calibrated
from asd.run_folder import checkpoint_at
from asd.scoring.sections import SectionScorers
from asd.training import checkpoints
from asd.utils.text import as_text


def calibrate(
    checkpoint: Path | str,
    folder: Path | str,
    machine: str | None,
    out: Path | str,
    false_alarms: str | float = USUAL_BUDGET,
    add: bool = True,
    hop: float | None = None,
) -> Calibrated:
    """Set the limits of a machine by its normal recordings at another place or time, and write a checkpoint with them.

    Args:
        checkpoint: A checkpoint of `asd fit`, `enroll` or of this, or the folder of a run.
        folder: Normal recordings, made as those that will be judged.
        machine: Its name; ``None``: the only one.
        out: The checkpoint to write.
        false_alarms: How many are allowed, see `asd.scoring.budget.Budget`.
        add: Take the recordings into the references as well: what sounds like them is normal from now on.
        hop: Seconds from one window to the next; ``None``: the length of a window.

    Raises:
        UserError: An unknown machine, no recordings or such that cannot be used, or a checkpoint that cannot be
            written.
    """
    source = checkpoint_at(checkpoint)
    detector = Detector.load(source, hop=hop)
    found = detector.calibrate(recordings_in([folder]), machine, false_alarms, add)
    rewrite(source, out, detector, found, "calibrate", as_text(str(folder)), false_alarms)
    return replace(found, path=Path(out))


def rewrite(
    checkpoint: Path | str,
    out: Path | str,
    detector: Detector,
    found: Calibrated,
    what: str,
    place: str,
    false_alarms: str | float,
) -> None:
    """Write the checkpoint of a detector with the scorers and limits that it has by now; its history tells of it.

    Args:
        checkpoint: That of the detector.
        out: The new one; the same is replaced.
        detector: As it is by now.
        found: What was done to it.
        what: The command by which it was.
        place: Where the recordings came from.
        false_alarms: How many are allowed.

    Raises:
        UserError: The checkpoint cannot be read, or the new one not be written.
    """
    source, path = checkpoint_at(checkpoint), Path(out)
    scorers = scorers_to_write(detector, source, path)
    done = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "what": what,
        "machine": str(found.machine_section),
        "from": place,
        "recordings": found.recordings,
        "windows": found.windows,
        "false_alarms": str(false_alarms),
        "added": found.added,
        "before": list(found.before),
        "after": list(found.after),
    }
    content = checkpoints.with_budget(checkpoints.load(source), false_alarms)
    checkpoints.save(checkpoints.with_sections(content, scorers, done), path)


def scorers_to_write(detector: Detector, source: Path, out: Path) -> SectionScorers:
    """The scorers of a new checkpoint: with what people said, unless the log that says it will be read again there."""
    same = log_of(source).absolute() == log_of(out).absolute()
    return detector.judging.plain if same else detector.model.sections
