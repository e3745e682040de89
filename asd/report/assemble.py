"""Puts a report together, and keeps it small enough to send."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path

from asd.errors import UserError
from asd.inference import Detector
from asd.report import html, sections
from asd.report.clips import Chosen, Heard, Listener, choose
from asd.report.gather import Run, gather
from asd.run_folder import RunFolder
from asd.training.restore_data import data_of
from asd.utils.files import replace_text

LARGEST = 19_000_000
"""Bytes that a report may have: some mail systems refuse 20 MB."""

_TITLES = {
    "miss": "Anomalies that scored lowest",
    "false alarm": "Normal clips that scored highest",
    "suspect": "Clips that scored highest",
}


@dataclass(frozen=True)
class Options:
    """What a report shows.

    Attributes:
        clips: Clips of each kind and machine; 0: none.
        data: Where the data lies now; ``None``: where it lay.
        audio: Whether clips can be played and are explained.
    """

    clips: int = 3
    data: Path | None = None
    audio: bool = True


@dataclass(frozen=True)
class Written:
    """A report.

    Attributes:
        path: The file.
        megabytes: Its size.
        notes: What it lacks, and why, a sentence each.
    """

    path: Path
    megabytes: float
    notes: tuple[str, ...]


def write(
    folder: Path, out: Path | None, options: Options, progress: Callable[[int, int], None] = lambda done, of: None
) -> Written:
    """Write the report of a run.

    Args:
        folder: The run.
        out: The file; ``None``: ``report.html`` in the run.
        options: What it shows.
        progress: Told how many clips are explained, and of how many.

    Raises:
        UserError: No run, a file of it that cannot be understood, or a report that cannot be written.
    """
    if options.clips < 0:
        raise UserError(f"--clips is {options.clips}; give 0 or more")
    run = gather(folder)
    place = RunFolder(folder).report if out is None else out
    with tempfile.TemporaryDirectory() as temporary:
        text = _text(run, options, Path(temporary), progress)
    try:
        replace_text(place, text)
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror or error}; choose another file with --out") from error
    return Written(place, len(text.encode()) / 1e6, tuple(run.notes))


def _text(run: Run, options: Options, temporary: Path, progress: Callable[[int, int], None]) -> str:
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    parts = {
        "official": ("Official score", sections.official(run)),
        "scores": ("Scores", sections.scores(run, temporary)),
        "embeddings": ("Embeddings", sections.embeddings(run, temporary)),
        "thresholds": ("Thresholds", sections.thresholds(run)),
        "clips": ("Clips to listen to", ""),
        "training": ("Training", sections.training(run, temporary)),
        "origin": ("Environment and configuration", sections.origin(run)),
    }
    used = len(style) + sum(len(text.encode()) for _, text in parts.values())
    parts["clips"] = (parts["clips"][0], _clips(run, options, temporary, LARGEST - used, progress))
    links = "".join(f'<a href="#{name}">{escape(title)}</a> ' for name, (title, _) in parts.items())
    body = "".join(html.section(name, title, text) for name, (title, text) in parts.items())
    content = f"<header>{sections.headline(run)}</header><nav>{links}</nav><main>{body}</main>"
    return html.page(f"{run.folder.resolve().name}: report", style, content)


def _clips(run: Run, options: Options, temporary: Path, room: int, progress: Callable[[int, int], None]) -> str:
    chosen = choose(run.rows, run.known, options.clips)
    if not chosen:
        return html.sentence("No clips are shown.")
    listener = _listener(run, options, temporary)
    shown: dict[tuple[str, str], list[str]] = {}
    silent = 0
    for number, one in enumerate(chosen):
        plain = _clip(one, None)
        # The worst of all machines come first; once there is no room, the rest goes without sound.
        heard = listener.hear(one.row) if listener is not None and room > 0 else None
        text = _clip(one, heard)
        if len(text) > room:
            text = plain
        silent += listener is not None and text is plain
        room -= len(text)
        shown.setdefault((one.machine, one.kind), []).append(text)
        if listener is not None:
            progress(number + 1, len(chosen))
    if silent:
        run.notes.append(f"{silent} of {len(chosen)} clips come without sound: they are gone, or the page is full.")
    blocks, last = [], ""
    for machine, kind in sorted(shown):
        if machine != last:
            blocks.append(f"<h3>{escape(machine)}</h3>")
            last = machine
        blocks.append(f"<h4>{_TITLES[kind]}</h4>{''.join(shown[machine, kind])}")
    return "".join(blocks)


def _listener(run: Run, options: Options, temporary: Path) -> Listener | None:
    if not options.audio or run.checkpoint is None:
        return None
    detector = Detector.load(run.checkpoint)
    try:
        data = data_of(detector.model.config or {}, detector.cut.sample_rate, options.data)
    except UserError as error:
        run.notes.append(f"Clips come without sound and explanation: {error}. Say where the data lies with --data.")
        return None
    return Listener(detector, data, temporary)


def _clip(one: Chosen, heard: Heard | None) -> str:
    numbers = [f"score {one.row.score:.4g}"]
    if not math.isnan(one.threshold):
        numbers.append(f"threshold {one.threshold:.4g}")
    if not math.isnan(one.percentile):
        numbers.append(f"above {one.percentile:.0f} % of the normal training clips")
    text = f"<strong>{escape(one.row.name)}</strong> {escape(', '.join(numbers))}"
    if heard is None:
        return f'<div class="clip"><p>{text}</p></div>'
    found = heard.explanation
    (low, high), (first, last) = found.band, found.span
    why = f"Most from {low:.0f} to {high:.0f} Hz, and from {first:.1f} to {last:.1f} s."
    if found.nearest:
        near = found.nearest[0]
        why += f" Nearest normal clip: {near.name} ({near.similarity:.2f})."
    picture = html.image(heard.picture, f"Spectrogram of {one.row.name} with what raises its score")
    return f'<div class="clip"><p>{text}</p>{html.player(heard.audio)}{html.sentence(why)}{picture}</div>'
