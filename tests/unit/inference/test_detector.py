"""The detector for use: what it loads, which machine it means, what it says of files, samples and windows."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from asd.data.audio.decoding import AudioError
from asd.data.layouts.walk import recordings_in
from asd.errors import UserError
from asd.inference.detector import Detector
from asd.inference.passes import passes_in
from asd.scoring import KMeansScorer
from asd.scoring.reference_bank import Bank
from asd.scoring.sections import SectionScorers
from asd.scoring.threshold import QuantileThreshold
from tests.unit.conftest import SmallRun, small_model

RATE = 16000
SOUND = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).clip(-1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def detector(small_run: SmallRun) -> Detector:
    return Detector.load(small_run.checkpoint)


def of_sections(names: list[str]) -> Detector:
    """Fitted on noise for machines and sections of these names."""
    model = small_model()
    row = torch.arange(20 * len(names))
    rows = torch.randn(len(row), model.adapter.scored_dim, generator=torch.Generator().manual_seed(0))
    bank = Bank(rows, row % len(names), row < 0, row, row)
    model.sections = SectionScorers(KMeansScorer(2), QuantileThreshold(), names).fit(bank)
    return Detector(model, {"data": {"init_args": {"seconds": 1.0}}, "trainer": {}})


# -- loading


def test_a_file_its_path_as_text_and_its_runs_folder_are_one(small_run: SmallRun, detector: Detector) -> None:
    scores = [one.score(SOUND, RATE, "fan").score for one in (
        detector, Detector.load(str(small_run.checkpoint)), Detector.load(small_run.checkpoint.parents[1])
    )]  # fmt: skip
    assert scores[0] == scores[1] == scores[2]
    assert not detector.model.training
    assert detector.machines == ("fan_section_00", "valve_section_00")


def test_what_cannot_be_loaded_is_said(small_run: SmallRun, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no checkpoint .*absent\.ckpt; give the \.ckpt file"):
        Detector.load(tmp_path / "absent.ckpt")
    with pytest.raises(UserError, match="device 'nonsense' cannot be used"):
        Detector.load(small_run.checkpoint, device="nonsense")
    with pytest.raises(UserError, match="aggregate is 'median'; choose one of mean, max"):
        Detector.load(small_run.checkpoint, aggregate="median")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="holds no fitted scorers"):
        Detector(small_model(), small_run.config)


@pytest.mark.parametrize("hop", [0.0, -1.0, math.inf, math.nan])
def test_a_hop_that_is_no_time_is_refused(hop: float, small_run: SmallRun, detector: Detector) -> None:
    for make in (lambda: Detector.load(small_run.checkpoint, hop=hop), lambda: detector.with_hop(hop)):
        with pytest.raises(UserError, match=f"hop is {hop}; give seconds above 0"):
            make()


@pytest.mark.parametrize("place", ["encoder", "sections"])
def test_numbers_that_are_not_finite_are_refused(place: str, small_run: SmallRun) -> None:
    model = copy.deepcopy(small_run.model)
    next(one for one in getattr(model, place).state_dict().values() if one.is_floating_point())[...] = math.nan
    with pytest.raises(UserError, match=rf"not finite \(NaN or infinity\), in {place}\."):
        Detector(model, small_run.config)


# -- machines


def test_a_machine_is_meant_by_its_full_name_or_its_own(detector: Detector) -> None:
    assert [detector.section_index(name) for name in ("fan", "fan_section_00", "valve", "valve_section_00")] == [
        0,
        0,
        1,
        1,
    ]
    with pytest.raises(UserError, match="name the machine, one of fan, valve"):
        detector.section_index(None)
    with pytest.raises(UserError, match=r"does not know 'fna'\. Did you mean fan\? It knows fan, valve$"):
        detector.section_index("fna")
    with pytest.raises(UserError, match=r"does not know 'conveyor'\. It knows fan, valve$"):
        detector.section_index("conveyor")


def test_a_machine_of_several_sections_asks_for_one() -> None:
    several = of_sections(["fan_section_00", "fan_section_01", "pump_section_02"])
    assert several.section_index("fan_section_01") == 1
    assert several.section_index("pump") == 2
    with pytest.raises(UserError, match="fan has several sections: fan_section_00, fan_section_01; name one"):
        several.section_index("fan")


def test_the_only_machine_need_not_be_named() -> None:
    assert of_sections(["fan_section_00"]).section_index(None) == 0
    assert of_sections(["fan_section_00"]).score(SOUND, RATE).machine == "fan_section_00"


# -- scores


def test_a_clip_scores_as_in_the_test(small_run: SmallRun, detector: Detector) -> None:
    tested = {one.name: one for one in small_run.model.scores if one.machine == "fan"}
    for result in detector.score_files(small_run.clips, machine="fan"):
        one = tested[Path(result.name).name]
        assert result.score == pytest.approx(one.score, rel=1e-4, abs=1e-6)
        assert result.machine == "fan_section_00"
        decision = "anomalous" if one.decision else "uncertain" if one.abstain else "normal"
        assert result.decision == decision
        assert result.anomalous == (result.score > result.threshold)
        assert [window.start for window in result.windows] == [0.0]


def test_path_text_array_and_tensor_are_one_sound(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, SOUND, RATE, subtype="FLOAT")
    by_path, by_text = detector.score(path, machine="fan"), detector.score(str(path), machine="fan")
    by_array, by_tensor = (detector.score(one, RATE, "fan") for one in (SOUND, torch.from_numpy(SOUND)))
    assert by_path.name == by_text.name == str(path)
    assert by_array.name == by_tensor.name == ""
    assert by_array == by_tensor
    assert by_path == by_text
    assert by_array.score == pytest.approx(by_path.score, rel=1e-4)


def test_windows_follow_one_another_by_the_hop(detector: Detector) -> None:
    apart = detector.score(SOUND, RATE, "fan")
    assert [one.start for one in apart.windows] == [0.0, 1.0, 2.0]
    closer = detector.with_hop(0.5)
    assert [one.start for one in closer.score(SOUND, RATE, "fan").windows] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert detector.score(SOUND, RATE, "fan") == apart, "the other one is as it was"
    assert closer.model is detector.model


def test_the_score_of_a_recording_is_the_mean_or_the_highest(small_run: SmallRun, detector: Detector) -> None:
    mean = detector.score(SOUND, RATE, "fan")
    windows = [one.score for one in mean.windows]
    assert mean.score == pytest.approx(sum(windows) / 3)
    highest = Detector.load(small_run.checkpoint, hop=0.5, aggregate="max").score(SOUND, RATE, "fan")
    assert highest.score == max(one.score for one in highest.windows)
    assert highest.score >= max(windows) - 1e-6, "they are among these; other batches round otherwise"
    assert len(highest.windows) == 5


def test_the_percentile_counts_normal_clips_that_score_no_higher(detector: Detector) -> None:
    scores = detector.model.sections.training_scores(0)[0].double()
    for at in (float(scores.median()), float(scores.max()), -1.0):
        expected = 100 * float((scores <= at).double().mean())
        assert detector.result("", 0, [(0.0, at)]).percentile == pytest.approx(expected)


def test_samples_need_their_rate_and_recordings_a_sound(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the samples have no rate; give sample_rate in Hz"):
        detector.score(SOUND, machine="fan")
    with pytest.raises(AudioError):
        detector.score(np.zeros(RATE, dtype=np.float32), RATE, "fan")
    with pytest.raises(AudioError, match=r"absent\.wav"):
        detector.score(tmp_path / "absent.wav", machine="fan")


def test_a_score_that_is_not_finite_is_no_verdict(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AudioError, match=r"x\.wav: its score is not finite"):
        detector.result("x.wav", 0, [(0.0, 1.0), (1.0, math.nan)])
    monkeypatch.setattr(Detector, "score_windows", lambda self, windows, number: [math.nan for _ in windows])
    with pytest.raises(AudioError, match="the recording: its score is not finite"):
        detector.score(SOUND, RATE, "fan")


def test_folders_are_searched_and_files_taken_as_given(small_run: SmallRun, detector: Detector, tmp_path: Path) -> None:
    folder = small_run.clips[0].parent
    assert list(recordings_in([folder, str(small_run.clips[0])])) == [*small_run.clips, small_run.clips[0]]
    assert len(list(detector.score_files([str(folder)], "valve"))) == 8
    with pytest.raises(UserError, match="holds no recording"):
        list(detector.score_files([tmp_path], "fan"))
    with pytest.raises(UserError, match="does not know 'x'"):
        list(detector.score_files([folder], "x"))


# -- windows


def test_each_window_may_have_a_population_of_its_own(detector: Detector) -> None:
    windows = list(torch.from_numpy(SOUND).split(RATE))
    fan, valve = detector.score_windows(windows, 0), detector.score_windows(windows, 1)
    # One minus a cosine: what is left of it is as exact as the cosine was.
    assert detector.score_windows(windows, [0, 1, 0]) == pytest.approx([fan[0], valve[1], fan[2]], rel=1e-5, abs=1e-6)
    assert fan != valve
    assert detector.score_windows([], 0) == []


def test_embeddings_do_not_depend_on_the_batch(detector: Detector) -> None:
    windows = list(torch.from_numpy(SOUND).split(RATE))
    embeddings = detector.embed(windows)
    width = detector.model.adapter.scored_dim
    assert embeddings.shape == (3, width)
    torch.testing.assert_close(detector.embed(windows[1:2]), embeddings[1:2])
    assert detector.embed([]).shape == (0, width)
    many = detector.embed(windows[0] for _ in range(70))
    assert many.shape == (70, width)
    torch.testing.assert_close(many, embeddings[:1].expand(70, -1))


@pytest.mark.parametrize(
    ("precision", "kind"),
    [(None, None), ("32", None), ("bf16-mixed", torch.bfloat16), ("bf16", torch.bfloat16), ("16-mixed", torch.float16)],
)
def test_passes_have_the_precision_of_the_training(precision: str | None, kind: Any, small_run: SmallRun) -> None:
    one = Detector(small_run.model, {**small_run.config, "trainer": {"precision": precision}})
    with passes_in(one.precision, one.model.device):
        assert torch.is_autocast_enabled("cpu") == (kind is not None)
        assert kind is None or torch.get_autocast_dtype("cpu") == kind
    with one.weights_kept():
        assert not torch.is_autocast_enabled("cpu")


# -- why


def test_the_explanation_is_of_the_most_anomalous_window(detector: Detector, tmp_path: Path) -> None:
    result = detector.score(SOUND, RATE, "fan")
    why = detector.explain(SOUND, RATE, "fan")
    highest = max(result.windows, key=lambda one: one.score)
    assert (why.machine, why.name, why.start) == ("fan_section_00", "", highest.start)
    assert why.score == highest.score
    assert why.threshold == result.threshold
    assert len(why.by_band) == len(why.band_edges) - 1
    assert len(why.by_span) == len(why.span_edges) - 1
    assert why.span_edges[0] == why.start
    assert why.span_edges[-1] == pytest.approx(why.start + 1.0)
    assert why.nearest
    path = tmp_path / "short.wav"
    soundfile.write(path, SOUND[: RATE // 2], RATE)
    short = detector.explain(path, machine="fan")
    assert short.name == str(path)
    assert short.span_edges[-1] == pytest.approx(0.5), "the repeated end is not explained"


@pytest.mark.parametrize(
    ("data", "name"),
    [("asd.data.Recordings", "monday 3.wav"), ("asd.data.ToyADMOS2", "section_00_train_normal_0003_monday 3.wav")],
)
def test_own_recordings_are_called_as_their_files_are(data: str, name: str) -> None:
    model = small_model()
    row = torch.arange(20)
    rows = torch.randn(20, model.adapter.scored_dim, generator=torch.Generator().manual_seed(0))
    facts = tuple(("section_00_train_normal_0003_monday 3.wav", "") for _ in row)
    model.sections = SectionScorers(KMeansScorer(2), QuantileThreshold(), ["fan_section_00"])
    model.sections.fit(Bank(rows, row * 0, row < 0, row, row, facts))
    own = Detector(model, {"data": {"class_path": data, "init_args": {"seconds": 1.0}}, "trainer": {}})
    assert {one.name for one in own.explain(SOUND, RATE).nearest} == {name}


def test_machines_have_titles_for_people() -> None:
    assert of_sections(["fan_section_00", "fan_section_01", "pump_section_02"]).titles == (
        "fan_section_00", "fan_section_01", "pump",
    )  # fmt: skip
