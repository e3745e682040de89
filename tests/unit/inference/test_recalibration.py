"""Limits anew: by recordings of the place, by what is heard first, and by what people say."""

from __future__ import annotations

import dataclasses
import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from asd.data.clip import Sound
from asd.errors import Notice, UserError
from asd.inference import Detector, calibrate, feedback
from asd.inference.commission import Commission, seconds_of
from asd.inference.hearing import bank_of
from asd.inference.recalibration import recalibrated
from asd.inference.windows import windows_of
from asd.training import checkpoints
from tests.far_device import PretendedDevice
from tests.unit.conftest import SmallRun

RATE = 16000


@pytest.fixture
def checkpoint(small_run: SmallRun, tmp_path: Path) -> Path:
    """A copy of the checkpoint, beside which a log may be written."""
    return Path(shutil.copy(small_run.checkpoint, tmp_path / "own.ckpt"))


@pytest.fixture
def place(small_run: SmallRun, tmp_path: Path) -> Path:
    """The fan at another place: eight of its clips through a filter, with a hum."""
    folder = tmp_path / "place"
    folder.mkdir()
    hum = 0.2 * np.sin(2 * np.pi * 120 * np.arange(RATE) / RATE)
    for number, clip in enumerate(small_run.clips[:8]):
        samples, _ = soundfile.read(clip)
        soundfile.write(folder / f"{number}.wav", np.convolve(samples, [0.5, 0.5], "same") + hum, RATE)
    return folder


def limits(detector: Detector, machine: str = "fan") -> tuple[float, float]:
    return tuple(detector.model.sections.limits(detector.section_index(machine)))


def test_what_sounds_as_at_the_place_is_normal_from_now_on(checkpoint: Path, place: Path, tmp_path: Path) -> None:
    before = Detector.load(checkpoint)
    done = calibrate(checkpoint, place, "fan", tmp_path / "new.ckpt", "20%")
    after = Detector.load(done.path)
    assert (done.recordings, done.windows, done.added) == (8, 8, True)
    assert (done.before, done.after) == (limits(before), limits(after))
    assert limits(after, "valve") == limits(before, "valve"), "other machines stay as they are"
    clips = sorted(place.iterdir())
    scores = [[one.score(clip, machine="fan").score for clip in clips] for one in (before, after)]
    assert max(scores[1]) < min(scores[0]) / 10, "they are references"
    assert done.expected.clips == 8
    assert done.expected.rate <= 0.5


def test_the_limits_come_from_scores_of_scorers_that_do_not_hold_the_recording(checkpoint: Path, place: Path) -> None:
    detector = Detector.load(checkpoint)
    number = detector.section_index("fan")
    bank = bank_of(detector.embed, detector.cut, map(Sound, sorted(place.iterdir())))
    scorers, _ = recalibrated(detector.model, detector.model.sections, number, bank, 1.0, "10%")
    kept = scorers.normal_clips(number)
    assert len(kept.scores) == 8
    assert float(kept.scores.min()) > float(scorers(bank.embeddings, number).max()), "scored as if they were new"
    assert len(kept.bank().group) == len(detector.model.sections.normal_clips(number).bank().group) + 8


def test_without_adding_the_scores_stay_and_the_limits_follow(checkpoint: Path, place: Path, tmp_path: Path) -> None:
    done = calibrate(checkpoint, place, "fan", tmp_path / "new.ckpt", "20%", add=False)
    before, after = Detector.load(checkpoint), Detector.load(done.path)
    clips = sorted(place.iterdir())
    scores = [before.score(clip, machine="fan").score for clip in clips]
    assert not done.added
    assert [after.score(clip, machine="fan").score for clip in clips] == pytest.approx(scores)
    assert done.after.alarm == pytest.approx(float(np.quantile(scores, 0.8)), rel=0.2)
    assert done.was_expected.rate == np.mean([score > done.before.alarm for score in scores])


def test_every_calibration_is_in_the_history(checkpoint: Path, place: Path, tmp_path: Path) -> None:
    first = calibrate(checkpoint, place, "fan", tmp_path / "1.ckpt", "10%")
    second = calibrate(first.path, place, "fan", tmp_path / "2.ckpt", "1/day", add=False)
    told = checkpoints.history(checkpoints.load(second.path)["asd"])
    assert [one["false_alarms"] for one in told] == ["10%", "1/day"]
    assert [one["added"] for one in told] == [True, False]
    assert told[0]["after"] == told[1]["before"] == list(first.after)
    assert all(one["machine"] == "fan_section_00" and one["when"] and one["from"] == str(place) for one in told)
    assert checkpoints.history({"history": "torn"}) == []
    asked = Detector.load(second.path).model.sections.threshold.false_alarms
    assert asked == "1/day", "what sets limits again knows what was asked for"


def test_one_long_recording_is_enough(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 40 * RATE)
    soundfile.write(folder / "shift.wav", noise, RATE)
    done = calibrate(checkpoint, folder, "fan", tmp_path / "new.ckpt", "10%")
    assert (done.recordings, done.windows, done.expected.blocks, done.added) == (1, 40, 8, True)
    fine = Detector.load(checkpoint, hop=0.5)
    overlapping = bank_of(fine.embed, fine.cut, [Sound(folder / "shift.wav")])
    assert len(overlapping.group.unique()) == 10
    starts = [float(name.rpartition(" at ")[2].removesuffix(" s")) for name, _ in overlapping.facts]
    for group in overlapping.group.unique():
        own = [start for start, one in zip(starts, overlapping.group, strict=True) if one == group]
        others = [start for start, one in zip(starts, overlapping.group, strict=True) if one != group]
        assert all(abs(a - b) >= 1.0 for a in own for b in others), "two stretches share sound"


@pytest.mark.parametrize(
    ("machine", "folder", "budget", "said"),
    [("pump", "place", "1/day", "does not know 'pump'"), ("fan", "none", "1/day", "none"),
     ("fan", "place", "often", "false alarms are 'often'")],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_nothing_is_written(
    machine: str, folder: str, budget: str, said: str, checkpoint: Path, place: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        calibrate(checkpoint, tmp_path / folder, machine, tmp_path / "new.ckpt", budget)
    assert not (tmp_path / "new.ckpt").exists()


def test_limits_for_another_budget_follow_from_what_is_kept(checkpoint: Path) -> None:
    plain, strict = Detector.load(checkpoint), Detector.load(checkpoint, false_alarms="1%")
    assert limits(strict)[0] > limits(plain)[0]
    lax = Detector.load(checkpoint, false_alarms="60%")
    assert limits(lax)[0] < limits(plain)[0]
    with pytest.raises(UserError, match="such as 5%"):
        Detector.load(checkpoint, false_alarms="5")


# -- what people say


def say(checkpoint: Path, clip: Path, kind: Any, machine: str = "fan") -> feedback.Said:
    detector = Detector.load(checkpoint)
    name = detector.machines[detector.section_index(machine)]
    heard = bank_of(detector.embed, detector.cut, [Sound(clip)]).embeddings
    said = feedback.Said.of(kind, name, clip.name, heard, detector.model)
    return feedback.append(feedback.log_of(checkpoint), said)


def test_a_false_alarm_is_normal_from_now_on_until_it_is_taken_back(checkpoint: Path, place: Path) -> None:
    clip = place / "0.wav"
    first = Detector.load(checkpoint).score(clip, machine="fan")
    said = say(checkpoint, clip, "false_alarm")
    heard = Detector.load(checkpoint)
    assert heard.score(clip, machine="fan").score < first.score / 10
    assert not heard.score(clip, machine="fan").anomalous
    again = Detector.load(checkpoint)
    for name, tensor in heard.model.sections.state_dict().items():
        assert torch.equal(tensor, again.model.sections.state_dict()[name]), f"{name}: the same log, another detector"
    feedback.append(feedback.log_of(checkpoint), feedback.Said("undo", undoes=said.mark))
    assert Detector.load(checkpoint).score(clip, machine="fan") == first


@pytest.mark.parametrize("out", ["own.ckpt", "new.ckpt"])
def test_what_was_said_is_heeded_once_after_a_calibration_at_the_same_place_or_another(
    out: str, checkpoint: Path, place: Path, tmp_path: Path
) -> None:
    """The log beside the same checkpoint is read again; that beside a new one is empty."""
    plain = _references(checkpoint)
    say(checkpoint, place / "0.wav", "false_alarm")
    assert _references(checkpoint) == plain + 1
    done = calibrate(checkpoint, place, "fan", tmp_path / out, "20%")
    assert _references(tmp_path / out) == plain + 1 + 8
    assert limits(Detector.load(tmp_path / out)) == tuple(done.after)


def _references(checkpoint: Path) -> int:
    detector = Detector.load(checkpoint)
    return len(detector.model.sections.normal_clips(detector.section_index("fan")).bank().group)


def test_a_detector_is_calibrated_without_a_file(checkpoint: Path, place: Path, tmp_path: Path) -> None:
    detector = Detector.load(checkpoint)
    found = detector.calibrate([place], "fan", "20%")
    written = calibrate(checkpoint, place, "fan", tmp_path / "new.ckpt", "20%")
    assert dataclasses.replace(found, path=written.path) == written
    assert limits(detector) == limits(Detector.load(written.path)) == tuple(found.after)


def test_a_missed_fault_lowers_the_threshold_where_normal_clips_allow_it(checkpoint: Path, place: Path) -> None:
    detector = Detector.load(checkpoint)
    sections = detector.model.sections
    number = detector.section_index("fan")
    kept = sections.normal_clips(number)
    between = (float(kept.scores.max()) + 1.0) / 2
    sections.thresholds[number] = 2.0
    fault = _scoring(sections, number, between)
    said = dataclasses.replace(
        feedback.Said.of("missed", detector.machines[number], "fault.wav", fault, detector.model), mark="a"
    )
    scorers, told = feedback.applied(detector.model, sections, [said], 1.0)
    assert told == []
    assert scorers.limits(number).alarm < float(scorers(fault, number).mean())
    assert scorers.limits(number).alarm > float(kept.scores.max())


def test_a_missed_fault_that_sounds_normal_leaves_the_threshold_and_is_told(
    checkpoint: Path, small_run: SmallRun
) -> None:
    known = small_run.data.reference_clips[-1]
    before = limits(Detector.load(checkpoint))
    say(checkpoint, known.path, "missed", known.machine)
    with pytest.warns(Notice, match="the threshold stays at"):
        assert limits(Detector.load(checkpoint)) == before


def _scoring(sections: Any, number: int, wanted: float) -> Tensor:
    """An embedding ``(1, E)`` of about that score."""
    references = sections.scorers[number].references
    generator = torch.Generator().manual_seed(0)
    draws = torch.nn.functional.normalize(torch.randn(4000, references.shape[1], generator=generator))
    scores = sections(draws, number)
    return draws[(scores - wanted).abs().argmin()][None]


def test_what_was_said_of_other_weights_is_left_out(checkpoint: Path, place: Path) -> None:
    before = limits(Detector.load(checkpoint))
    said = say(checkpoint, place / "0.wav", "false_alarm")
    log = feedback.log_of(checkpoint)
    log.write_text(log.read_text().replace(said.weights, "0" * 64))
    with pytest.warns(Notice, match=r"0\.wav\) is of another checkpoint's weights"):
        assert limits(Detector.load(checkpoint)) == before


def test_half_a_line_says_nothing_and_swallows_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert feedback.read(log) == []
    first = feedback.append(log, feedback.Said("missed", "fan", "a.wav"))
    with log.open("a") as file:
        file.write('{"kind": "missed", "mach')
    assert feedback.read(log) == [first]
    second = feedback.append(log, feedback.Said("false_alarm", "fan", "b.wav"))
    assert feedback.read(log) == [first, second]
    before = log.read_bytes()
    feedback.append(log, feedback.Said("undo", undoes=first.mark))
    assert log.read_bytes().startswith(before), "what was said stays"
    assert feedback.read(log) == [second]


@pytest.mark.parametrize(
    "line", ['{"kind": "praise", "mark": "a"}', '{"other": 1}', "[1, 2]}", '{"kind": "missed", "mark": 3}']
)
def test_a_line_that_is_none_is_named(line: str, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(f"{line}\n" + json.dumps({"kind": "missed", "mark": "b"}) + "\n")
    with pytest.raises(UserError, match=r"log\.jsonl, line 1 cannot be understood"):
        feedback.read(log)


def test_embeddings_of_another_width_are_refused(checkpoint: Path) -> None:
    detector = Detector.load(checkpoint)
    said = feedback.Said.of("missed", "fan_section_00", "a.wav", torch.ones(1, 3), detector.model)
    with pytest.raises(UserError, match="take it back"):
        feedback.applied(detector.model, detector.model.sections, [dataclasses.replace(said, mark="a")], 1.0)


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write"):
        feedback.append(tmp_path / "none" / "log.jsonl", feedback.Said("missed"))


# -- what is heard first


@pytest.mark.parametrize(("text", "seconds"), [("24h", 86400), ("30 min", 1800), ("90s", 90), ("0.5d", 43200)])
def test_times_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "0s", "1 week"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no time; give one such as 30min"):
        seconds_of(text)


def test_what_is_heard_in_the_time_sets_the_limits(checkpoint: Path, tmp_path: Path) -> None:
    detector = Detector.load(checkpoint)
    number = detector.section_index("fan")
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 60 * RATE), RATE)
    commission = Commission(detector, number, 30.0, "10%")
    over = [commission.push(start, window) for start, window in windows_of(tmp_path / "a.wav", detector.cut)]
    assert over.index(True) == 30
    assert commission.windows == 30
    before = detector.model.sections.limits(number)
    found = commission.finished()
    assert found.expected.clips == found.windows == 30
    assert (found.before, found.after) == (before, detector.model.sections.limits(number))
    assert found.before != found.after


def test_it_keeps_a_bounded_number_of_windows_spread_over_the_time(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asd.inference.commission._MOST", 20)
    detector = Detector.load(checkpoint)
    monkeypatch.setattr(detector, "embed", lambda windows: torch.randn(1, detector.model.adapter.scored_dim))
    commission = Commission(detector, 0, 1000.0, "10%")
    for second in range(500):
        commission.push(float(second), torch.empty(0))
    kept = [at for at, _, _ in commission._kept]
    assert len(kept) <= 20
    assert kept[0] == 0
    assert len({b - a for a, b in pairwise(kept)}) == 1
    assert kept[-1] > 450


def test_too_little_sets_nothing(checkpoint: Path) -> None:
    detector = Detector.load(checkpoint)
    commission = Commission(detector, 0, 10.0, "10%")
    commission.push(0.0, torch.randn(RATE) / 10)
    with pytest.raises(UserError, match="1 windows were heard while it was commissioned, too few"):
        commission.finished()


def test_on_another_device_it_hears_and_learns_as_on_the_cpu(checkpoint: Path, place: Path) -> None:
    """False alarms join references that lie on a GPU, and so do the windows of a place."""
    say(checkpoint, sorted(place.iterdir())[0], "false_alarm")
    say(checkpoint, sorted(place.iterdir())[1], "missed")
    clip = sorted(place.iterdir())[2]

    def found(device: str, add: bool) -> list[float]:
        detector = Detector.load(checkpoint, device)
        before = detector.score(clip, machine="fan").score
        detector.calibrate([place], "fan", add=add)
        assert {one.device.type for one in detector.model.state_dict().values()} == {device}
        explained = detector.explain(clip, machine="fan")
        return [before, detector.score(clip, machine="fan").score, *limits(detector), explained.nearest[0].similarity]

    for add in (True, False):
        near = found("cpu", add)
        with PretendedDevice():
            assert found("cuda", add) == near
