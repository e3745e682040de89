"""What people say of verdicts: a log beside the checkpoint, replayed whenever the detector is loaded.

The log is one JSON object a line and is only ever appended to; what was said is taken back by another line. It holds
the embeddings of the clips, so that the same log gives the same detector where the recordings are gone.
"""

from __future__ import annotations

import base64
import binascii
import copy
import json
import math
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from asd.errors import UserError
from asd.evaluation.calibration import of_scorers
from asd.inference.recalibration import fit_anew
from asd.run_folder import RunFolder
from asd.scoring.reference_bank import Bank
from asd.scoring.sections import SectionScorers
from asd.training.network import Network
from asd.utils import fingerprint as weights
from asd.utils.pairs import first_few
from asd.utils.text import as_text

Kind = Literal["false_alarm", "missed", "undo"]


@dataclass(frozen=True)
class Said:
    """A line of the log.

    Attributes:
        kind: A normal clip that was an alarm, a fault that was none, or that a line is taken back.
        machine: Machine and section; empty where a line is taken back.
        clip: Name of the clip.
        windows: ``float32`` embeddings of its windows one after the other, as base64.
        weights: Fingerprint of the weights that made them.
        undoes: The line that is taken back.
        mark: What this line goes by.
        when: ISO 8601.
    """

    kind: Kind
    machine: str = ""
    clip: str = ""
    windows: str = ""
    weights: str = ""
    undoes: str = ""
    mark: str = ""
    when: str = ""

    @classmethod
    def of(cls, kind: Kind, machine: str, clip: str, embeddings: Tensor, model: Network) -> Said:
        """What is said of a clip with embeddings ``(W, E)`` of its windows."""
        windows = base64.b64encode(embeddings.cpu().float().numpy().astype("<f4").tobytes()).decode()
        return cls(kind, machine, as_text(clip), windows, fingerprint(model))

    def embeddings(self, width: int) -> Tensor:
        """``(W, E)`` with `width` columns.

        Raises:
            ValueError: It holds no such thing.
        """
        rows = np.frombuffer(base64.b64decode(self.windows, validate=True), dtype="<f4")
        found = torch.from_numpy(rows.reshape(-1, width).astype(np.float32))
        if not len(found) or not bool(found.isfinite().all()):
            raise ValueError("no embeddings, or such that are not finite")
        return found


def fingerprint(model: Network) -> str:
    """Of the weights that make embeddings."""
    return weights.fingerprint([model.encoder, model.adapter])


def log_of(checkpoint: Path) -> Path:
    """Where the log of a checkpoint lies: in the folder of its run, or beside it."""
    run = RunFolder.of_checkpoint(checkpoint)
    return checkpoint.with_suffix(".feedback.jsonl") if run is None else run.feedback


def append(log: Path, said: Said) -> Said:
    """Write a line, on the disk when this returns; returns it with its mark and time.

    Raises:
        UserError: The log cannot be written.
    """
    whole = replace(said, mark=uuid.uuid4().hex[:8], when=datetime.now(UTC).isoformat(timespec="seconds"))
    line = json.dumps({key: value for key, value in asdict(whole).items() if value}, ensure_ascii=False)
    try:
        with log.open("ab+") as file:
            # What a stopped process left of a line must not swallow this one.
            if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                line = "\n" + line
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"cannot write {log}: {error.strerror or error}; free space, or mend its rights") from error
    return whole


def read(log: Path) -> list[Said]:
    """What holds of a log: its lines without those that were taken back. A line that was not finished says nothing.

    Raises:
        UserError: It cannot be read, or a line is none of the log's.
    """
    try:
        lines = log.read_bytes().splitlines(keepends=True) if log.is_file() else []
    except OSError as error:
        raise UserError(f"cannot read {log}: {error.strerror or error}") from error
    found: dict[str, Said] = {}
    for number, line in enumerate(lines, 1):
        try:
            said = Said(**json.loads(line))
            texts = all(isinstance(value, str) for value in asdict(said).values())
            if said.kind not in get_args(Kind) or not said.mark or not texts:
                raise ValueError("no line of a log")
        except (ValueError, TypeError) as error:
            whole = line.endswith(b"\n") and number < len(lines)
            if not whole or not line.rstrip().endswith(b"}"):
                continue
            raise UserError(f"{log}, line {number} cannot be understood; delete that line") from error
        if said.kind == "undo":
            found.pop(said.undoes, None)
        else:
            found[said.mark] = said
    return list(found.values())


def applied(
    model: Network, plain: SectionScorers, said: Sequence[Said], hop: float
) -> tuple[SectionScorers, list[str]]:
    """The scorers with what was said, and what has to be told about it, a sentence each.

    Normal clips become references and set limits as well. Faults lower the threshold below the lowest of their scores,
    where that allows no more false alarms than were asked for.

    Args:
        model: The detector, which stays as it is.
        plain: Its scorers without anything said, which stay, too.
        said: Lines of its log.
        hop: Seconds from one decision to the next.
    """
    scorers, told = copy.deepcopy(plain), list[str]()
    width, own = model.adapter.scored_dim, fingerprint(model)
    other = [one for one in said if one.weights != own or one.machine not in scorers.names]
    if other:
        told.append(
            f"what was said of {first_few([one.clip for one in other])} is of another checkpoint's weights or machines "
            "and is left out"
        )
    rest = [one for one in said if one not in other]
    for name in sorted({one.machine for one in rest}):
        number = scorers.names.index(name)
        try:
            clips = [(one, one.embeddings(width)) for one in rest if one.machine == name]
        except (ValueError, binascii.Error) as error:
            raise UserError(f"the feedback on {name} holds no embeddings of {width} columns; take it back") from error
        normal = [(one.clip, rows) for one, rows in clips if one.kind == "false_alarm"]
        missed = [(one.clip, rows) for one, rows in clips if one.kind == "missed"]
        if normal:
            told += _with_normal(model, scorers, number, normal, hop)
        if missed:
            told += _below_faults(scorers, number, missed, hop)
    return scorers, told


def _with_normal(
    model: Network, scorers: SectionScorers, number: int, clips: Sequence[tuple[str, Tensor]], hop: float
) -> Iterator[str]:
    kept = scorers.normal_clips(number).bank()
    if kept is None:
        yield f"{scorers.names[number]}: the checkpoint keeps no references, so false alarms cannot join them"
        return
    rows = torch.cat([own for _, own in clips])
    group = torch.tensor([place for place, (_, own) in enumerate(clips) for _ in own])
    nothing = torch.zeros_like(group)
    names = tuple((clip, "") for clip, own in clips for _ in own)
    new = Bank(rows, nothing, nothing.bool(), group, torch.arange(len(rows)), names)
    joined = kept.with_more(new, alone=False)
    fit_anew(model, scorers, number, joined, hop)


@torch.no_grad()
def _below_faults(
    scorers: SectionScorers, number: int, clips: Sequence[tuple[str, Tensor]], hop: float
) -> Iterator[str]:
    scored = [(float(scorers(rows.to(scorers.thresholds.device), number).mean()), clip) for clip, rows in clips]
    lowest, clip = min(scored)
    limits = scorers.limits(number)
    if lowest > limits.alarm:
        return
    known = of_scorers(scorers, hop).machines[scorers.names[number]]
    # Of float32, in which limits are kept.
    below = float(torch.nextafter(torch.tensor(lowest), torch.tensor(-math.inf)))
    expected, allowed = known.expected(limit=below), 1 - scorers.threshold.part_below(hop)
    if expected.rate > max(allowed, known.expected().rate):
        yield (
            f"{scorers.names[number]}: the fault in {clip} scores {lowest:.6g}, as {100 * expected.rate:.3g} % of the "
            f"normal clips do, where {100 * allowed:.3g} % are allowed; the threshold stays at {limits.alarm:.6g}"
        )
        return
    scorers.thresholds[number] = below
    scorers.abstain_above[number] = min(below, limits.abstain)
