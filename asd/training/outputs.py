"""What a folder of scored clips holds: score files, results, calibration and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asd import plots
from asd.evaluation import calibration, clip_scores
from asd.evaluation.calibration import Calibrations
from asd.evaluation.clip_scores import ClipScore
from asd.machine import titles
from asd.run_folder import RunFolder
from asd.utils import strict_json
from asd.utils.files import replace_text

_UNLABELLED = "no test clip has a known label: the clips are scored, nothing is measured"

if TYPE_CHECKING:
    from asd.scoring.sections import SectionScorers


def promised(scorers: SectionScorers, seconds: float) -> list[str]:
    """What may be expected of the verdicts on each machine, a line each, for the screen.

    Args:
        scorers: The fitted scorers.
        seconds: From one decision to the next.
    """
    known, names = calibration.of_scorers(scorers, seconds), titles(scorers.sections)
    lines = []
    for section in scorers.sections:
        own = known.machines[str(section)]
        expected = own.expected()
        band = f", uncertain above {own.abstain:.6g}" if own.abstain < own.threshold else ""
        lines.append(f"{names[section]}: threshold {own.threshold:.6g}{band}; {expected.line(seconds)}")
        unkept = expected.unkept(scorers.threshold.false_alarms, seconds)
        lines += [f"{names[section]}: {unkept}"] if unkept else []
    return lines


def following(scorers: SectionScorers, folder: Path) -> str:
    """The command that comes next."""
    names = titles(scorers.sections)
    machine = f" --machine {names[scorers.sections[0]]}" if len(names) > 1 else ""
    return f"next: asd score RECORDING --checkpoint {folder}{machine}"


@dataclass(frozen=True)
class Written:
    """What was written, for the screen and for loggers.

    Attributes:
        table: The results as text.
        pictures: The PNG files.
    """

    table: str
    pictures: list[Path]


def write(
    folder: Path,
    rows: Sequence[ClipScore],
    known: Calibrations | None = None,
    title: str = "",
    scores: bool = True,
    draw: bool = True,
    own: bool = False,
) -> Written:
    """Write scores, results and pictures into a folder.

    Args:
        folder: Gets ``scores/``, ``results.json``, ``calibration.json`` and ``pictures/``.
        rows: The scored clips.
        known: Thresholds and scores of the training clips.
        title: First line of the table.
        scores: Write the score and decision files of the challenge.
        draw: Draw score histograms, ROC and DET curves, where labels are known.
        own: They are one's own recordings, see `asd.evaluation.clip_scores.table`.
    """
    metrics, run = clip_scores.measure(rows), RunFolder(folder)
    if scores:
        clip_scores.write_scores(run.scores, rows)
    replace_text(run.results, strict_json.dumps(clip_scores.to_json(metrics), indent=2))
    if known is not None:
        replace_text(run.calibration, calibration.to_text(known))
    drawn = pictures(run.path, rows) if draw else []
    return Written(clip_scores.table(metrics, title, known, own) if metrics else _UNLABELLED, drawn)


def pictures(folder: Path, rows: Sequence[ClipScore]) -> list[Path]:
    """The PNG files that `write` draws, where labels are known."""
    if all(clip.condition is None for clip in rows):
        return []
    run = RunFolder(folder)
    return [
        plots.score_histograms(rows, run.pictures / "score_histograms.png"),
        plots.roc_curves(rows, run.pictures / "roc_curves.png"),
        plots.det_curves(rows, run.pictures / "det_curves.png"),
    ]
