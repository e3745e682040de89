"""Files of labels for training clips whose attributes are hidden."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from asd.data.clip import Clip, Kind, Split
from asd.errors import Notice, UserError
from asd.utils.files import replace_text
from asd.utils.sheet import read_sheet

COLUMNS = ("machine", "section", "file_name", "label")


def write_labels(path: Path, rows: Iterable[Sequence[str]]) -> Path:
    """Write rows of machine, section, file name and label; whole or not at all.

    Raises:
        UserError: The file cannot be written.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    try:
        replace_text(path, text.getvalue())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; choose another file") from error
    return path


def read_labels(path: Path) -> dict[tuple[str, str, str], str]:
    """Labels by machine, section and file name.

    Raises:
        UserError: Missing, not such a file, a line without a label, or a clip that is listed twice.
    """
    try:
        lines = read_sheet(path)
    except OSError as error:
        raise UserError(
            f"cannot read the labels {path} ({error}); `asd data pseudo-label` writes such a file"
        ) from error
    if not lines or tuple(lines[0][1]) != COLUMNS:
        raise UserError(f"{path}: the first line must be {','.join(COLUMNS)}; write it with `asd data pseudo-label`")
    labels: dict[tuple[str, str, str], str] = {}
    for place, fields in lines[1:]:
        if len(fields) != len(COLUMNS) or not all(fields):
            raise UserError(f"{place}: expected {len(COLUMNS)} fields, none empty; mend the line")
        key = (fields[0], fields[1], fields[2])
        if labels.setdefault(key, fields[3]) != fields[3]:
            raise UserError(f"{place}: {fields[2]} is listed twice with different labels; keep one")
    return labels


def with_labels(clips: Iterable[Clip], path: Path) -> list[Clip]:
    """The clips, with labels from a file where training clips of machine sound have no attributes.

    Raises:
        UserError: See `read_labels`; or a machine of which some such clips have a label and others none.
    """
    labels = read_labels(path)
    machines = {(machine, section) for machine, section, _ in labels}
    found, used, known = [], 0, 0
    for clip in clips:
        if clip.kind == Kind.MACHINE and clip.split == Split.TRAIN and (clip.machine, clip.section) in machines:
            label = labels.get((clip.machine, clip.section, clip.title))
            if clip.attributes:
                known += label is not None
            elif label is None:
                raise UserError(
                    f"{path} has no label for {clip.sound}, only for others of {clip.machine}; write it anew"
                )
            else:
                clip = replace(clip, attributes=label)
                used += 1
        found.append(clip)
    if known or not used:
        warnings.warn(
            f"{path}: {used} labels are used; {known} clips have attributes of their own, which stay",
            Notice,
            stacklevel=2,
        )
    return found
