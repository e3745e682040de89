"""The detector for use: recordings in, scores and decisions out."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from asd.data.audio.recorded import Meter
from asd.data.audio.usual_recording import UsualRecording, usual_recording
from asd.data.clip import Sound
from asd.data.layouts.own_names import own_name, trains_on_own
from asd.data.layouts.walk import recordings_in
from asd.errors import UserError
from asd.inference import explain, feedback
from asd.inference.explanation import Explanation
from asd.inference.finite import check_scores, check_stored
from asd.inference.hearing import bank_of
from asd.inference.judging import Judging
from asd.inference.passes import passes_in
from asd.inference.recalibration import USUAL_BUDGET, Calibrated
from asd.inference.recordings import KnownRecordings, RecordedOtherwise
from asd.inference.result import Result
from asd.inference.sources import Source, length_of, name_of, windows_in
from asd.inference.together import OnError, scored_together, told_to
from asd.inference.windows import BATCH, cut_as_trained
from asd.machine import titles
from asd.run_folder import checkpoint_at
from asd.scoring.reference_bank import Bank
from asd.training.network import Network
from asd.training.restore import restore
from asd.utils.batches import batched
from asd.utils.devices import usable

Aggregate = Literal["mean", "max"]


class Detector:
    """A trained detector, ready to score.

    ``Detector.load("last.ckpt").score("pump.wav", machine="pump").anomalous``

    A recording is cut into windows of the length trained on; where half a window or more is left at its end, a last one
    ends with it. One of that length, or less than half as long again, is a single window unless `hop` is shorter, and
    scores as in `asd test`. One shorter than a tenth of it is too short to judge, and windows in which nothing can be
    heard (silent, constant, nothing but clipping) are left out.

    Args:
        model: The detector, with fitted scorers.
        config: The configuration it was trained with, whose ``data`` and precision hold here, too.
        hop: Seconds from one window to the next; ``None``: the length of a window.
        aggregate: What the score of a recording is of those of its windows.
        recorded_otherwise: What follows where one was recorded otherwise than the normal sound, see
            `asd.inference.recordings`: a remark, an error, or nothing.
    """

    def __init__(
        self,
        model: Network,
        config: dict[str, Any],
        hop: float | None = None,
        aggregate: Aggregate = "mean",
        recorded_otherwise: RecordedOtherwise = "remark",
    ) -> None:
        if not model.fitted:
            raise UserError(
                "the checkpoint holds no fitted scorers; train to a validation epoch, or run `asd fit` again"
            )
        if aggregate not in get_args(Aggregate):
            raise UserError(f"aggregate is {aggregate!r}; choose one of {', '.join(get_args(Aggregate))}")
        check_stored(model)
        self.model = model.eval()
        self.aggregate = aggregate
        cut = cut_as_trained(config["data"].get("init_args") or {}, model.encoder.sample_rate)
        self.cut = cut if hop is None else cut.with_hop(hop)
        self.recordings = KnownRecordings(model.sections, cut, recorded_otherwise)
        self.precision = str(config["trainer"].get("precision") or "32")
        self._clip_name: Callable[[str], str] = own_name if trains_on_own(config) else str
        self.judging = Judging(self.model)

    @classmethod
    def load(
        cls,
        checkpoint: Path | str,
        device: str = "cpu",
        hop: float | None = None,
        aggregate: Aggregate = "mean",
        false_alarms: str | float | None = None,
        recorded_otherwise: RecordedOtherwise = "remark",
    ) -> Self:
        """The detector of a checkpoint, or of the folder of a run; `false_alarms` as for `allow`, ``None``: as kept.

        Raises:
            UserError: No such file, none that `asd fit` wrote, or one without fitted scorers.
        """
        place = usable(device)
        model, config = restore(checkpoint)
        detector = cls(model.to(place), config, hop, aggregate, recorded_otherwise)
        detector.hear(feedback.read(feedback.log_of(checkpoint_at(checkpoint))))
        if false_alarms is not None:
            detector.allow(false_alarms)
        return detector

    @property
    def machines(self) -> tuple[str, ...]:
        """Names of the machines and sections that it knows."""
        return self.model.sections.names

    @property
    def titles(self) -> tuple[str, ...]:
        """What people call them: by the machine alone, where that has one section."""
        sections = self.model.sections.sections
        return tuple(titles(sections)[section] for section in sections)

    def section_index(self, machine: str | None) -> int:
        """Number of a machine and section, by its full name or, where it has one section, by the machine's.

        Raises:
            UserError: None given where there are several, or one that it does not know; the known ones are listed.
        """
        return self.model.sections.index(machine)

    def score(self, source: Source, sample_rate: int | None = None, machine: str | None = None) -> Result:
        """Score a file, or samples ``(T,)`` or ``(T, C)`` in [-1, 1] at `sample_rate` Hz.

        Raises:
            AudioError: The recording cannot be used, or its score is not finite.
            UserError: An unknown machine, or samples without their rate.
        """
        number = self.section_index(machine)
        meter = Meter()
        scored = [(start, score) for start, _, score in self._scored(source, sample_rate, number, meter)]
        return self.result(name_of(source), number, scored, meter)

    def score_files(
        self, sources: Iterable[Path | str], machine: str | None = None, on_error: OnError | None = None
    ) -> Iterator[Result]:
        """Score files in their order, windows of several at once; folders are searched for recordings.

        Raises:
            AudioError: A recording cannot be used; where `on_error` is given, it is told instead.
            UserError: An unknown machine, or a folder without recordings.
        """
        number = self.section_index(machine)
        for heard in scored_together(
            recordings_in(sources), self.cut, lambda some: self.score_windows(some, number), self.model.device
        ):
            with told_to(on_error):
                yield self.result(name_of(heard.path), number, heard.scores(), heard.meter)

    @torch.inference_mode()
    def explain(self, source: Source, sample_rate: int | None = None, machine: str | None = None) -> Explanation:
        """Why the most anomalous window of a recording scores as it does; arguments and errors as of `score`."""
        number = self.section_index(machine)
        length = length_of(source, sample_rate, self.cut)
        start, window, score = max(self._scored(source, sample_rate, number), key=lambda one: one[2])
        seconds = min(length - start, self.cut.seconds)
        return self.explain_window(window, number, start, seconds, score, name_of(source))

    @torch.inference_mode()
    def explain_window(
        self, window: Tensor, section: int, start: float, seconds: float, score: float, name: str = ""
    ) -> Explanation:
        """The same of a window ``(T,)`` that begins at `start`, holds `seconds` of sound and has that score.

        Raises:
            AudioError: The score of the window, or of it with a part changed, is not finite.
        """
        rate, clips = self.cut.sample_rate, self.model.sections.normal_clips(section)
        by_band, by_span = explain.occlude(
            window, lambda some: torch.tensor(self.score_windows(some, section)), rate, clips.spectrum.cpu(), seconds
        )
        check_scores([score, *by_band.tolist(), *by_span.tolist()], name)
        nearest, resembles = explain.likeness(self.embed([window])[0].to(clips.embeddings.device), clips)
        return Explanation(
            name=name,
            machine=self.machines[section],
            title=self.titles[section],
            start=start,
            score=score,
            threshold=self.judging.usual[section].limits.alarm,
            band_edges=explain.band_edges(rate),
            span_edges=start + explain.span_edges(seconds),
            by_band=by_band,
            by_span=by_span,
            **explain.drawn(window, rate, seconds, clips.spectrum)._asdict(),
            nearest=tuple(replace(one, name=self._clip_name(one.name)) for one in nearest),
            resembles=resembles,
        )

    @torch.inference_mode()
    def embed(self, windows: Iterable[Tensor]) -> Tensor:
        """Windows ``(T,)`` to embeddings ``(N, E)`` on the CPU, a batch at a time."""
        parts = []
        for some in batched(windows, BATCH):
            batch = torch.stack(some) if len(some) > 1 else some[0][None]  # a single one is not copied
            with passes_in(self.precision, self.model.device):
                parts.append(self.model.embed(batch.to(self.model.device)).cpu())
        return torch.cat(parts) if parts else torch.empty(0, self.model.adapter.scored_dim)

    def weights_kept(self) -> contextlib.AbstractContextManager[object]:
        """Within it, this thread casts the weights to the precision of the passes once, not in each one anew.

        Nothing may be trained there: a weight that changes would not be seen.
        """
        # The outermost autocast of a thread throws the cast weights away at its end.
        return torch.autocast(self.model.device.type, enabled=False)

    def score_windows(self, windows: Iterable[Tensor], section: int | Sequence[int]) -> list[float]:
        """Scores of windows ``(T,)`` against the section of that number, or each against its own."""
        return self.judging.score(self.embed(windows), section)

    def _scored(
        self, source: Source, sample_rate: int | None, number: int, meter: Meter | None = None
    ) -> Iterator[tuple[float, Tensor, float]]:
        """Start, samples ``(T,)`` and score, which is finite, of each window."""
        for some in batched(windows_in(source, sample_rate, self.cut, meter), BATCH):
            scores = self.score_windows((part for _, part in some), number)
            check_scores(scores, name_of(source))
            yield from ((start, part, score) for (start, part), score in zip(some, scores, strict=True))

    def result(
        self, name: str, number: int, windows: Sequence[tuple[float, float]], meter: Meter | None = None
    ) -> Result:
        """What the starts and scores of a recording's windows say, and what `meter` heard of how it was recorded.

        Raises:
            AudioError: A score is not finite, or the recording is refused.
        """
        scores = [score for _, score in windows]
        check_scores(scores, name)
        score = max(scores) if self.aggregate == "max" else sum(scores) / len(scores)
        result = self.judging.usual[number].result(name, score, windows)
        return replace(result, remarks=self.recordings.remarks(number, meter, name))

    def allow(self, false_alarms: str | float) -> None:
        """Set the limits of every machine anew, to allow so many false alarms: ``1/day``, ``5%``.

        They follow from the kept scores of normal clips, with a decision every `cut.hop` seconds.

        Raises:
            UserError: See `asd.scoring.budget.Budget`; or a machine of which no such scores are kept.
        """
        self.judging.allow(false_alarms, self.cut.hop)

    def calibrate(
        self,
        recordings: Iterable[Path | str],
        machine: str | None = None,
        false_alarms: str | float = USUAL_BUDGET,
        add: bool = True,
    ) -> Calibrated:
        """Set the limits of a machine by normal recordings of the place where it works, files or folders, from now on.

        `asd.inference.calibrate` writes a checkpoint with them; arguments and errors are the same.
        """
        number = self.section_index(machine)
        sounds = [Sound(path) for path in recordings_in(recordings)]
        bank = bank_of(self.embed, self.cut, sounds)
        usual = usual_recording(sounds, self.cut.channel)
        return replace(self.calibrate_by(number, bank, false_alarms, add, usual), recordings=len(sounds))

    def calibrate_by(
        self, number: int, bank: Bank, false_alarms: str | float, add: bool, usual: UsualRecording | None = None
    ) -> Calibrated:
        """The same by windows, for the section of that number; `usual` tells how they were recorded."""
        recorded = "" if usual is None else usual.to_json()
        found = self.judging.calibrate(number, bank, self.cut.hop, false_alarms, add, recorded)
        self.recordings.usual[number] = usual or self.recordings.usual[number]
        return found

    @contextlib.contextmanager
    def as_before_on_error(self) -> Iterator[None]:
        """Where what is done within it fails, recordings are judged as they were before it."""
        judging, sections, usual = copy.copy(self.judging), self.model.sections, list(self.recordings.usual)
        try:
            yield
        except BaseException:
            self.judging, self.model.sections, self.recordings.usual = judging, sections, usual
            raise

    def hear(self, said: Sequence[feedback.Said]) -> None:
        """Take all that people said of its verdicts; a `Notice` tells what could not be heeded."""
        self.judging.hear(said, self.cut.hop)

    def with_hop(self, hop: float) -> Detector:
        """The same detector with windows at another distance, in seconds."""
        other = copy.copy(self)
        other.cut = self.cut.with_hop(hop)
        return other
