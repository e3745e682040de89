"""What the service answers, as its interface describes it.

The answers themselves are made where they are known, and are not read through these classes: a recording of ten minutes
has thousands of numbers. The tests hold what is answered to them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

Decided = Literal["normal", "uncertain", "anomalous"]
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
Part = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Left = SkipJsonSchema[None]
"""Of a field that is left out where there is nothing to say."""


class Answer(BaseModel):
    """A JSON object; version 1 may get new fields, none changes its meaning."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Error(Answer):
    """Why a request is refused."""

    error: str
    """One line: what, where, and what to do."""


class Limits(Answer):
    """Where decisions change."""

    alarm: float
    """Scores above it are anomalous."""
    abstain: float
    """Above it and up to `alarm` nothing is decided."""


class Window(Answer):
    """One window of a recording."""

    start: float
    """Where it begins, in seconds."""
    score: float
    """Higher is more anomalous."""
    anomalous: bool
    """Whether the score lies above the threshold."""


class Neighbour(Answer):
    """A normal clip that sounds alike."""

    name: str
    """Of its file."""
    attributes: str
    """Its attributes; empty where none are known."""
    similarity: float
    """Cosine of the angle between the embeddings, at most 1."""


class Explanation(Answer):
    """Why the most anomalous window of a recording scores as it does."""

    name: str
    """Of the recording."""
    machine: str
    """Machine and section that it was compared with."""
    start: float
    """Where the window begins, in seconds."""
    seconds: float
    """How long it is."""
    score: float
    """Of the window."""
    threshold: float
    """Scores above it are anomalous."""
    band_hz: Interval
    """The band that raises the score most, from and to, in Hz."""
    span_s: Interval
    """The span of time that does, from and to, in seconds from the beginning of the recording."""
    band_edges_hz: list[float]
    """Edges of the bands of `by_band`, one more than these, in Hz."""
    span_edges_s: list[float]
    """Edges of the spans of `by_span`, one more than these, in seconds from the beginning of the recording."""
    by_band: list[float]
    """By how much the score falls where a band is as usual; negative where it rises."""
    by_span: list[float]
    """The same of spans of time."""
    nearest: list[Neighbour]
    """The most similar normal clips, nearest first; empty where the checkpoint keeps none."""
    resembles: dict[str, Part]
    """Part of each attribute string among the nearest normal clips, largest first."""
    level: list[list[int]]
    """Mel spectrogram of the window in dB, for drawing: a row for each band, the lowest first."""
    level_edges_hz: list[float]
    """Edges of the bands of `level`, `spectrum_db` and `usual_db`, one more than these, in Hz."""
    spectrum_db: list[float]
    """Mean level in those bands, in dB below the loudest of it and of `usual_db`."""
    usual_db: list[float]
    """The same of the normal clips; empty where the checkpoint keeps none."""


class Score(Answer):
    """What the detector says of a recording."""

    name: str
    """What the client calls the recording."""
    machine: str
    """Machine and section that it was compared with."""
    score: float
    """Of the whole recording; higher is more anomalous."""
    decision: Decided
    """What follows; `uncertain` between the limits."""
    threshold: float
    """As `limits.alarm`."""
    limits: Limits
    """By which it was decided."""
    percentile: Annotated[float, Field(ge=0, le=100)] | None
    """Percent of the normal clips, held out, that score no higher; null where none is known."""
    p_value: Part | None
    """Conformal p-value: how often normal sound scores as high; null where no normal clip is known."""
    windows: list[Window]
    """In order; those in which nothing can be heard are left out."""
    remarks: list[str]
    """What is worth knowing of the recording, such as that it was recorded otherwise."""
    unusable_windows: Count | Left = None
    """How many windows were left out; missing where none was."""
    explanation: Explanation | Left = None
    """Where it was asked for."""


class Feedback(Answer):
    """What was kept, and what the detector says of the recording from now on."""

    mark: str
    """By which `asd feedback --undo` takes it back."""
    kind: Literal["false_alarm", "missed"]
    """What was said."""
    machine: str
    """Machine and section."""
    score: float
    """By now."""
    decision: Decided
    """By now."""
    threshold: float
    """By now."""


class Calibration(Answer):
    """The limits of a machine from now on."""

    machine: str
    """Machine and section."""
    recordings: Count
    """How many were sent."""
    windows: Count
    """How many they have."""
    added: bool
    """Whether they are references from now on."""
    threshold_before: float
    """Until now."""
    threshold: float
    """From now on, scores above it are anomalous."""
    abstain_above: float
    """From now on, nothing is decided above it and up to `threshold`."""
    expected: str
    """False alarms that the recordings let expect."""
    unkept: str
    """Where so few recordings cannot promise what was allowed: what they can; else empty."""


class Histogram(Answer):
    """Scores of the normal clips, held out."""

    counts: list[Count]
    """How many lie between two edges."""
    edges: list[float]
    """One more than `counts`; none where no clip is known."""


class Sensitivity(Answer):
    """A setting that can be chosen, and what it costs."""

    threshold: float
    """Scores above it would be anomalous."""
    abstain_above: float
    """Nothing would be decided above it and up to `threshold`."""
    trained: bool
    """Whether it is the one that the service decides by."""
    false_alarms_a_day: float | Left = None
    """Of listening without pause; missing where no normal clip tells, as are the two below."""
    at_least: float | Left = None
    """The lower end of what is to be expected with 95 % certainty."""
    at_most: float | Left = None
    """The upper end."""


class Machine(Answer):
    """A machine that the detector knows."""

    name: str
    """Machine and section: what `machine` may say in a request."""
    title: str
    """What people call it, which `machine` may say as well."""
    threshold: float | None
    """Scores above it are anomalous; null where there is none."""
    normal_clips: Count
    """How many normal clips, held out, the limits stand on."""
    histogram: Histogram
    """Their scores."""
    sensitivity: list[Sensitivity]
    """From the least to the most sensitive."""


class Machines(Answer):
    """What the service knows and takes."""

    sample_rate: int
    """Of what the model hears, in Hz; recordings may have another."""
    seconds: float
    """Length of a window."""
    max_megabytes: float
    """The largest body that is taken."""
    max_seconds: float
    """The longest recording that is taken."""
    machines: list[Machine]
    """All of them."""


class Health(Answer):
    """That the service lives."""

    status: Literal["ok"]
    """No other one is answered."""
    version: str
    """Of asd."""
    uptime_seconds: float
    """Since the start."""
    waiting: Count
    """Recordings that wait or are scored."""
