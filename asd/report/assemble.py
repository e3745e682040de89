"""Puts a report together, and keeps it small enough to send."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asd.data.layouts.own_names import own_name
from asd.errors import UserError
from asd.inference import Detector
from asd.report import html, sections, verdicts
from asd.report.clips import Chosen, Heard, Listener, choose
from asd.report.gather import Run, gather
from asd.report.html import Heading, Listening, Picture, Section
from asd.run_folder import RunFolder
from asd.training.restore_data import data_of
from asd.utils.files import replace_text

LARGEST = 19_000_000
"""Bytes that a report may have: some mail systems refuse 20 MB."""

_MARKUP = 2_000
"""More than a clip takes beside its sound and picture: its names are as long as those of files, written out."""

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
    parts = {
        "verdicts": Section("Verdicts", verdicts.section(run)),
        "ranking": Section("Ranking", sections.ranking(run)),
        "scores": Section("Scores", sections.scores(run, temporary)),
        "embeddings": Section("Embeddings", sections.embeddings(run, temporary)),
        "clips": Section("Clips to listen to", ()),
        "training": Section("Training", sections.training(run, temporary)),
        "origin": Section("Environment and configuration", sections.origin(run)),
    }
    name = RunFolder(run.folder).title
    room = LARGEST - len(html.page(name, (), parts).encode())
    parts["clips"] = Section(parts["clips"].title, _clips(run, options, temporary, room, progress))
    return html.page(name, sections.headline(run), parts)


def _clips(
    run: Run, options: Options, temporary: Path, room: int, progress: Callable[[int, int], None]
) -> list[html.Block]:
    chosen = choose(run.rows, run.known, options.clips)
    if not chosen:
        return ["No clips are shown."]
    listener = _listener(run, options, temporary)
    shown: dict[tuple[str, str], list[Listening]] = {}
    silent = 0
    for number, one in enumerate(chosen):
        # The worst of all machines come first; once there is no room, the rest goes without sound.
        heard = listener.hear(one.row) if listener is not None and room > 0 else None
        if heard is not None and len(heard.audio) + len(heard.picture) > room:
            heard = None
        silent += listener is not None and heard is None
        room -= _MARKUP + (0 if heard is None else len(heard.audio) + len(heard.picture))
        shown.setdefault((one.machine, one.kind), []).append(_clip(one, heard, run.own))
        if listener is not None:
            progress(number + 1, len(chosen))
    if silent:
        run.notes.append(f"{silent} of {len(chosen)} clips come without sound: they are gone, or the page is full.")
    blocks: list[html.Block] = []
    for machine, kinds in itertools.groupby(sorted(shown), key=lambda key: key[0]):
        blocks.append(Heading(3, machine))
        for _, kind in kinds:
            blocks += [Heading(4, _TITLES[kind]), *shown[machine, kind]]
    return blocks


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


def _clip(one: Chosen, heard: Heard | None, own: bool) -> Listening:
    name = own_name(one.row.name) if own else one.row.name
    numbers = [f"score {one.row.score:.4g}"]
    if not math.isnan(one.threshold):
        numbers.append(f"threshold {one.threshold:.4g}")
    if not math.isnan(one.percentile):
        numbers.append(f"above {one.percentile:.0f} % of the normal training clips")
    if heard is None:
        return Listening(name, ", ".join(numbers))
    found = heard.explanation
    (low, high), (first, last) = found.band, found.span
    why = f"Most from {low:.0f} to {high:.0f} Hz, and from {first:.1f} to {last:.1f} s."
    if found.nearest:
        near = found.nearest[0]
        why += f" Nearest normal clip: {near.name} ({near.similarity:.2f})."
    picture = Picture(heard.picture, f"Spectrogram of {name} with what raises its score")
    return Listening(name, ", ".join(numbers), heard.audio, why, picture)
