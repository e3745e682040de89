"""What can be set of `asd watch`, on the command line or in a file."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from asd.errors import UserError
from asd.inference.monitor import Rules
from asd.inference.recordings import RecordedOtherwise
from asd.inference.stream import FORMATS
from asd.utils.yaml_file import read_yaml

KINDS = ("folder", "file", "pipe", "microphone", "url")
"""What a source can be."""

STANDARD_INPUT = "-"

_Built = TypeVar("_Built")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class SourceOptions:
    """One source.

    Attributes:
        folder: A folder that a recorder writes into; one of this and the next four is given.
        file: A recording.
        pipe: A named pipe of raw samples, or `STANDARD_INPUT`.
        microphone: The name of one, or ``default``.
        url: Anything that ffmpeg reads.
        machine: Machine and section; ``None``: the only one that the detector knows.
        poll: Of a folder, seconds between two looks.
        speed: Of a file, times its own; 0: as fast as can be.
        rate: Of a pipe or microphone, in Hz.
        channels: The same.
        format: Of a pipe.
        stall: Seconds without any sound, or of a folder without a new file, after which it has stalled; ``None``: 30 s,
            of a folder never.
    """

    folder: Path | None = None
    file: Path | None = None
    pipe: Path | None = None
    microphone: str | None = None
    url: str | None = None
    machine: str | None = None
    poll: float = 1.0
    speed: float = 1.0
    rate: int = 16000
    channels: int = 1
    format: str = "s16le"
    stall: float | None = None

    def __post_init__(self) -> None:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise UserError(f"a source is {' and '.join(given) or 'nothing'}; give one of {', '.join(KINDS)}")
        times = (
            0 < self.poll < math.inf
            and (self.stall is None or 0 < self.stall < math.inf)
            and 0 <= self.speed < math.inf
        )
        if min(self.rate, self.channels) < 1 or not times:
            raise UserError("rate, channels, poll and stall must be above 0, speed 0 or more")
        if self.format not in FORMATS:
            raise UserError(f"format is {self.format!r}; choose one of {', '.join(FORMATS)}")

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def live(self) -> bool:
        """Whether the sound is made while it is listened to."""
        return self.kind in ("pipe", "microphone", "url")


@dataclass(frozen=True)
class Options:
    """All else; each is an option of the command as well, but for the last ones.

    Attributes:
        checkpoint: The detector: a file, or a run's folder.
        hop: Seconds between windows; ``None``: half a window.
        false_alarms: How many are allowed; ``None``: as the checkpoint was asked for, or one a day.
        smooth: See `asd.inference.monitor.Rules`.
        event: So many windows of so many, as ``3/5``.
        grace: See `Rules`.
        hold_off: See `Rules`.
        re_arm: See `Rules`.
        recorded_otherwise: What follows where a recording was made otherwise than the normal sound.
        buffer: Seconds of live sound that wait at most.
        webhook: Where events are POSTed.
        mqtt: The broker and topic, see `asd.events.mqtt.Address`.
        mqtt_password_file: A file with the password.
        mqtt_ca: A file of certificates to trust.
        mqtt_discovery: Where Home Assistant looks for sensors; empty: they are not told.
        metrics: ``HOST:PORT`` of figures for Prometheus.
        state: A folder for what outlives the program; ``None``: nothing does.
        explain: Say of an event what makes its score.
        clips: A folder for the sound around events; ``None``: it is not kept.
        clips_mb: Megabytes that they take at most; the oldest go.
        clip_before: Seconds before an event that are kept with it.
        clip_seconds: Seconds of a clip at most.
        queue: Events that wait to be delivered at most.
    """

    checkpoint: Path
    hop: float | None = None
    false_alarms: str | float | None = None
    smooth: int = 3
    event: str = "3/5"
    grace: float = 0.0
    hold_off: float = 0.0
    re_arm: float = 0.0
    recorded_otherwise: RecordedOtherwise = "remark"
    buffer: float = 60.0
    webhook: str | None = None
    mqtt: str | None = None
    mqtt_password_file: Path | None = None
    mqtt_ca: Path | None = None
    mqtt_discovery: str = "homeassistant"
    metrics: str | None = None
    state: Path | None = None
    explain: bool = False
    clips: Path | None = None
    clips_mb: float = 500.0
    clip_before: float = 5.0
    clip_seconds: float = 60.0
    queue: int = 10_000
    sources: Mapping[str, SourceOptions] = field(default_factory=dict)

    def __post_init__(self) -> None:
        times = all(0 < one < math.inf for one in (self.buffer, self.clips_mb, self.clip_seconds))
        if not times or not 0 <= self.clip_before < self.clip_seconds or self.queue < 1:
            raise UserError(
                "buffer, clips_mb, clip_seconds and queue must be above 0, and clip_before shorter than clip_seconds"
            )
        _ = self.rules  # which raises where they are wrong
        if not self.sources:
            raise UserError("there is no source to listen to; give one or more under sources:")
        for name in self.sources:
            if not _NAME.fullmatch(name):
                raise UserError(f"a source is called {name!r}; use letters, digits, - and _, at most 64 of them")

    @property
    def rules(self) -> Rules:
        """When scores become events."""
        needed, _, among = self.event.partition("/")
        if not needed.isdecimal() or not among.isdecimal():
            raise UserError(f"--event is {self.event!r}; give so many of so many windows, as 3/5")
        return Rules(self.smooth, int(needed), int(among), grace=self.grace, hold_off=self.hold_off, re_arm=self.re_arm)


def read(path: Path, given: Mapping[str, Any]) -> Options:
    """The options in a file, and those that were given beside it, which count more.

    Paths in the file are relative to it. What outlives the program lies beside it, unless `state` says otherwise.

    Raises:
        UserError: No such file, an unknown option, or a wrong value; where it stands is said.
    """
    content = read_yaml(path, "plant")
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no mapping; it has options such as `checkpoint:` and `sources:`")
    sources = content.pop("sources", None)
    if not isinstance(sources, dict):
        raise UserError(f"{path}: sources: names each source, as `pump: {{folder: recordings/pump}}`")
    built = {
        str(name): _built(SourceOptions, one, f"{path}: sources: {name}", path.parent) for name, one in sources.items()
    }
    beside = {"state": path.with_suffix(".state").name}
    own = _typed(Options, {**beside, **content}, str(path), path.parent)
    return _made(Options, {**own, **given, "sources": built}, str(path))


def _built(kind: type[_Built], content: Any, where: str, base: Path) -> _Built:
    return _made(kind, _typed(kind, content, where, base), where)


def _made(kind: type[_Built], values: Mapping[str, Any], where: str) -> _Built:
    try:
        return kind(**values)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    except TypeError as error:
        raise UserError(f"{where}: checkpoint: is missing; give a file or a run's folder") from error


def _typed(kind: type[Any], content: Any, where: str, base: Path) -> dict[str, Any]:
    """The values of a mapping as the fields of a class have them."""
    if not isinstance(content, dict):
        raise UserError(f"{where} holds no mapping of options")
    known = [one.name for one in fields(kind) if one.name != "sources"]
    hints, values = get_type_hints(kind), dict[str, Any]()
    for name, value in content.items():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise UserError(f"{where}: no option {str(name)[:60]!r}.{guess} There are {', '.join(known)}")
        values[name] = _value(value, hints[name], f"{where}: {name}", base)
    return values


def _value(value: Any, hint: Any, where: str, base: Path) -> Any:
    choices = get_args(hint) or (hint,)
    if value is None and type(None) in choices:
        return None
    if Path in choices and isinstance(value, str):
        return Path(value) if value == STANDARD_INPUT else base / Path(value).expanduser()
    if isinstance(value, bool):
        if bool in choices:
            return value
    elif isinstance(value, int | float) and float in choices:
        return float(value)
    elif (
        (isinstance(value, int) and int in choices)
        or (isinstance(value, str) and str in choices)
        or (isinstance(value, str) and value in choices)
    ):
        return value
    kinds = [one.__name__ if isinstance(one, type) else repr(one) for one in choices if one is not type(None)]
    raise UserError(f"{where} is {str(value)[:60]!r}; give {' or '.join(kinds)}")
