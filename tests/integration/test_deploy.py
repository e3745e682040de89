"""A trained detector at work: the scores of `asd test`, without a trainer, and new machines without training."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx.checker
import pytest
import soundfile
import torch

from asd.data.audio.decoding import AudioError
from asd.errors import UserError
from asd.evaluation.clip_scores import ClipScore, measure, read_scores
from asd.evaluation.ground_truth import label_of
from asd.evaluation.metrics import official_score
from asd.inference import Detector, enroll
from asd.inference.export import Exported, export, opened, verify
from asd.inference.windows import Cut, windows_of
from asd.scoring import KMeansScorer
from asd.scoring.reference_bank import Bank
from asd.scoring.sections import SectionScorers

ROOT = Path(__file__).parents[2]
RATE = 16000
_INT8 = onnx.TensorProto.INT8


@pytest.fixture(scope="module")
def detector(trained: Path) -> Detector:
    return Detector.load(trained)


@pytest.fixture(scope="module")
def clips(synthetic: Path) -> list[Path]:
    return sorted((synthetic / "dev_data/raw/fan/test").glob("*.wav"))


@pytest.fixture
def pump(tmp_path: Path) -> Path:
    """Six normal recordings of a machine that was never trained on: a hum of 100 Hz in noise."""
    for day in range(6):
        path = tmp_path / "pump" / f"day {day}.flac"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, hum(day), RATE)
    return tmp_path / "pump"


def hum(seed: int, seconds: float = 4.0, fault: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    tone = 0.2 * np.sin(2 * np.pi * 100 * time) + fault * np.sin(2 * np.pi * 3100 * time)
    return tone + 0.02 * rng.standard_normal(len(time))


def test_scores_and_decisions_are_those_of_asd_test(trained: Path, detector: Detector, synthetic: Path) -> None:
    rows = read_scores(trained / "scores")
    assert {row.machine for row in rows} == {"fan", "bearing"}
    for row in rows:
        path = synthetic / "dev_data/raw" / row.machine / "test" / row.name
        result = detector.score(path, machine=row.machine)
        assert result.score == pytest.approx(row.score, rel=1e-3, abs=1e-5)
        assert len(result.windows) == 1
        if abs(result.score - result.threshold) > 1e-3:
            assert int(result.anomalous) == row.decision


def test_samples_score_as_the_file_they_come_from(detector: Detector, clips: list[Path]) -> None:
    expected = detector.score(clips[0], machine="fan").score
    samples = soundfile.read(clips[0], dtype="float32")[0]
    for given in (samples, torch.from_numpy(samples), np.stack([samples, samples], 1), samples.astype(np.float64)):
        assert detector.score(given, RATE, "fan_section_00").score == pytest.approx(expected, rel=1e-6)


def test_kept_weights_score_the_same_and_are_forgotten_afterwards(trained: Path, clips: list[Path]) -> None:
    one = Detector.load(trained)
    assert one.precision == "bf16-mixed"
    expected = [one.score(path, machine="fan").score for path in clips[:3]]
    with one.weights_kept():
        assert [one.score(path, machine="fan").score for path in clips[:3]] == expected
        assert [one.score(path, machine="fan").score for path in clips[:3]] == expected
    with torch.no_grad():
        for parameter in one.model.encoder.parameters():
            parameter.mul_(1.5)
    assert one.score(clips[0], machine="fan").score != expected[0]


def test_another_rate_scores_about_the_same(detector: Detector, clips: list[Path]) -> None:
    import soxr

    samples = soundfile.read(clips[0], dtype="float32")[0]
    again = detector.score(soxr.resample(samples, RATE, 44100), 44100, "fan").score
    assert again == pytest.approx(detector.score(clips[0], machine="fan").score, rel=0.3)


def test_long_recordings_are_scored_window_by_window(
    detector: Detector, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [soundfile.read(path, dtype="int16")[0][:RATE] for path in clips[:3]]
    path = tmp_path / "long.wav"
    soundfile.write(path, np.concatenate([*parts, parts[0][: RATE // 4]]), RATE)
    single = [detector.score(one, machine="fan").score for one in clips[:3]]
    result = detector.score(path, machine="fan")
    assert [window.start for window in result.windows] == [0.0, 1.0, 2.0], "a quarter of a window is no window"
    assert [window.score for window in result.windows] == pytest.approx(single, rel=1e-3)
    assert result.score == pytest.approx(np.mean(single), rel=1e-3)
    assert Detector(detector.model, _config(detector), aggregate="max").score(
        path, machine="fan"
    ).score == pytest.approx(max(single), rel=1e-3)
    assert len(detector.with_hop(0.5).score(path, machine="fan").windows) == 5
    monkeypatch.setattr("asd.inference.windows.LONGEST_AT_ONCE", 1.0)
    again = detector.score(path, machine="fan")
    assert [window.score for window in again.windows] == pytest.approx(single, rel=1e-3)


def _config(detector: Detector) -> dict[str, object]:
    config = detector.model.config
    assert config is not None
    return config


def test_the_percentile_is_that_among_held_out_normal_clips(detector: Detector, clips: list[Path]) -> None:
    result = detector.score(clips[0], machine="fan")
    normal = detector.model.sections.training_scores(detector.section_index("fan"))[0]
    assert result.percentile == pytest.approx(100 * float((normal <= result.score).float().mean()))


@pytest.mark.parametrize(
    ("length", "hop", "starts"),
    [
        (0.3, 1.0, [0.0]),
        (1.0, 1.0, [0.0]),
        (1.4, 1.0, [0.0]),
        (1.5, 1.0, [0.0, 0.5]),
        (2.75, 1.0, [0.0, 1.0, 1.75]),
        (3.0, 0.5, [0.0, 0.5, 1.0, 1.5, 2.0]),
        (5.0, 3.0, [0.0, 3.0, 4.0]),
    ],
)
def test_windows_cover_a_recording(length: float, hop: float, starts: list[float]) -> None:
    assert Cut(RATE, 1.0, hop).starts(length) == pytest.approx(starts)


@pytest.mark.parametrize(
    ("samples", "shown"),
    [
        (np.zeros(RATE), "silent"),
        (np.full(RATE, np.nan), "not finite"),
        (np.full(RATE, 30000.0), "full scale is 1"),
        (np.empty(0), "at least one sample"),
        (np.zeros((2, 2, 2)), r"give \(T,\) or \(T, C\)"),
    ],
)
def test_samples_that_cannot_be_used_are_named(samples: np.ndarray, shown: str, detector: Detector) -> None:
    with pytest.raises(AudioError, match=shown):
        detector.score(samples, RATE, "fan")


def test_a_tenth_of_a_second_is_scored(detector: Detector) -> None:
    assert np.isfinite(detector.score(hum(0, 0.1), RATE, "fan").score)


def test_machines_are_named(detector: Detector, clips: list[Path]) -> None:
    assert detector.machines == ("bearing_section_00", "fan_section_00")
    with pytest.raises(UserError, match=r"does not know 'fen'\. Did you mean fan\? It knows bearing, fan"):
        detector.score(clips[0], machine="fen")
    with pytest.raises(UserError, match="name the machine, one of bearing, fan"):
        detector.score(clips[0])
    with pytest.raises(UserError, match="give sample_rate"):
        detector.score(np.ones(10), machine="fan")


def test_wrong_options_are_named(trained: Path, detector: Detector, tmp_path: Path) -> None:
    for options, shown in (({"hop": 0.0}, "hop is 0"), ({"aggregate": "sum"}, "aggregate is 'sum'")):
        with pytest.raises(UserError, match=shown):
            Detector.load(trained, **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="device 'tpu' cannot be used"):
        Detector.load(trained, device="tpu")
    with pytest.raises(UserError, match="no checkpoint"):
        Detector.load(tmp_path)


def test_importing_asd_stays_light() -> None:
    code = "import asd, sys; assert 'torch' not in sys.modules; asd.Detector; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- the command


def test_score_prints_and_its_exit_code_tells(trained: Path, here, clips: list[Path], tmp_path: Path) -> None:
    lowered = _with_threshold(trained, tmp_path, 1e9)
    done = here("score", *clips[:2], "--checkpoint", lowered, "--machine", "fan")
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["decision", "normal", "normal"]
    raised = _with_threshold(trained, tmp_path, -1e9)
    done = here("score", clips[0].parent, "--checkpoint", raised, "--machine", "fan", "--csv", expect=1)
    lines = done.stdout.splitlines()
    assert lines[0] == "file,machine,score,threshold,percentile,decision,remarks,p_value"
    assert len(lines) == len(clips) + 1
    assert {tuple(line.split(",")[5:7]) for line in lines[1:]} == {("anomalous", "")}
    assert all(0 < float(line.rpartition(",")[2]) <= 1 for line in lines[1:])
    done = here("score", clips[0], "--checkpoint", raised, "--machine", "fan", "--json", expect=1)
    told = json.loads(done.stdout)
    assert told["decision"] == "anomalous"
    assert told["windows"] == [{"start": 0.0, "score": told["score"], "anomalous": True}]


def _with_threshold(trained: Path, folder: Path, value: float) -> Path:
    content = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    for name in ("thresholds", "abstain_above"):
        content["state_dict"][f"sections.{name}"].fill_(value)
    torch.save(content, folder / f"{value}.ckpt")
    return folder / f"{value}.ckpt"


def test_a_broken_file_does_not_stop_the_others(trained: Path, here, clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound\n")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    done = here(
        "score", tmp_path / "text.wav", tmp_path / "silent.wav", clips[0], "--checkpoint", trained, "--machine", "fan",
        "--csv", expect=2,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 2
    errors = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in errors] == ["error", "error"]
    assert "text.wav: cannot be read as audio" in errors[0]
    assert "silent.wav: silent" in errors[1]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--machine", "fen"], "Did you mean fan?"),
        ([], "name the machine"),
        (["--machine", "fan", "--hop", "-1"], "hop is -1"),
        (["--machine", "fan", "--json", "--csv"], "not allowed with"),
    ],
)
def test_what_score_refuses(arguments: list[str], shown: str, trained: Path, here, clips: list[Path]) -> None:
    done = here("score", clips[0], "--checkpoint", trained, *arguments, expect=2)
    assert shown in done.stderr
    assert not done.stdout


# -- enrolment


def test_a_new_machine_is_learned_without_training(
    trained: Path, detector: Detector, here, pump: Path, clips: list[Path], tmp_path: Path
) -> None:
    done = here("enroll", trained, pump, "--machine", "pump", "--out", "new/grown.ckpt")
    assert done.stdout.splitlines()[0] == "pump: 6 recordings, 42 windows"
    assert done.stdout.splitlines()[1].startswith("threshold ")
    assert "a day expected" in done.stdout
    assert not done.stderr
    apart = re.search(r"score above held-out ones of this in ([0-9.]+) % of the pairs", done.stdout)
    assert apart is not None
    assert float(apart[1]) > 75
    grown = Detector.load(tmp_path / "new/grown.ckpt")
    assert grown.machines == ("bearing_section_00", "fan_section_00", "pump_section_00")
    for machine in ("bearing", "fan"):
        before, after = (one.score(clips[0], machine=machine) for one in (detector, grown))
        assert before == after, "the others stay as they were"
    normal, faulty = (grown.score(hum(99, fault=fault), RATE, "pump") for fault in (0.0, 0.2))
    assert faulty.score > normal.score
    assert faulty.anomalous
    assert faulty.percentile == 100
    again = here("score", pump, "--checkpoint", "new/grown.ckpt", "--machine", "pump", "--csv")
    assert len(again.stdout.splitlines()) == 7


def test_a_machine_is_learned_anew_on_request_alone(trained: Path, pump: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="knows fan already"):
        enroll(trained, "fan", pump, tmp_path / "a.ckpt")
    done = enroll(trained, "fan", pump, tmp_path / "a.ckpt", replace=True)
    assert Detector.load(done.path).machines == ("bearing_section_00", "fan_section_00")


def test_few_recordings_are_warned_of(trained: Path, here, pump: Path) -> None:
    for path in sorted(pump.iterdir())[2:]:
        path.unlink()
    assert (
        "2 recordings, 10 windows: the threshold is rough" in here("enroll", trained, pump, "--machine", "pump").stderr
    )
    sorted(pump.iterdir())[0].unlink()
    assert "1 recording, 4 windows" in here("enroll", trained, pump, "--machine", "pump").stderr
    samples, rate = soundfile.read(next(pump.iterdir()))
    soundfile.write(next(pump.iterdir()), samples[:rate], rate)
    assert "nothing could be held out" in here("enroll", trained, pump, "--machine", "pump", "--hop", "1").stderr


def test_a_machine_that_the_detector_hardly_knows_is_warned_of(
    trained: Path, here, synthetic: Path, tmp_path: Path
) -> None:
    """Sound of a machine that it knows, by another name: clips of that one score as low as its own."""
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for path in sorted((synthetic / "dev_data/raw/fan/train").glob("*.wav"))[:12]:
        shutil.copy(path, recordings)
    done = here("enroll", trained, recordings, "--machine", "twin", "--out", "twin.ckpt")
    assert "hardly knows its sound; train on its recordings instead, in PLACE/twin/normal" in done.stderr


def test_what_enrolment_refuses(trained: Path, here, pump: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, machine, shown in (
        (tmp_path / "empty", "pump", "holds no recording"),
        (pump, "a/b", "cannot be a machine's name"),
        (pump, "pump_section_01", "cannot be a machine's name"),
    ):
        assert shown in here("enroll", trained, folder, "--machine", machine, "--out", "x.ckpt", expect=2).stderr
    (pump / "day 0.flac").write_text("no sound\n")
    assert "day 0.flac" in here("enroll", trained, pump, "--machine", "pump", "--out", "x.ckpt", expect=2).stderr
    assert not (tmp_path / "x.ckpt").exists()


# -- watching


def messages(done: subprocess.CompletedProcess[str]) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def grown(trained: Path, pump: Path, tmp_path: Path) -> Path:
    """A checkpoint that knows the pump."""
    return enroll(trained, "pump", pump, tmp_path / "grown.ckpt").path


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """Half a minute of the pump, with a fault from 10 to 18 s."""
    samples = np.concatenate([hum(50, 10), hum(51, 8, fault=0.2), hum(52, 12)])
    soundfile.write(tmp_path / "day.wav", samples, RATE)
    return tmp_path / "day.wav"


def test_a_fault_is_an_event(grown: Path, day: Path, here) -> None:
    done = here("watch", day, "--checkpoint", grown, "--machine", "pump", "--speed", "0", expect=1)
    told = messages(done)
    assert [m["type"] for m in told] == ["event_start", "event_end", "summary"]
    assert 9 <= told[0]["start"] <= 12
    assert 10 <= told[1]["peak_time"] <= 18
    assert 18 <= told[1]["end"] <= 22
    assert told[2]["windows"] == 59
    assert told[2]["lost_seconds"] == 0


def test_a_pipe_gives_what_the_file_gives(grown: Path, day: Path, here, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    options = ("--checkpoint", grown, "--machine", "pump", "--scores")
    by_file = [m for m in messages(here("watch", day, *options, "--speed", "0", expect=1)) if m["type"] == "score"]
    raw = soundfile.read(day, dtype="int16")[0].tobytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))
    by_pipe = [m for m in messages(here("watch", "-", *options, expect=1)) if m["type"] == "score"]
    assert [m["score"] for m in by_pipe] == pytest.approx([m["score"] for m in by_file], rel=1e-4)


def test_a_folder_is_scored_file_by_file(grown: Path, pump: Path, here) -> None:
    (pump / "broken.wav").write_text("no sound\n")
    done = here("watch", pump, "--checkpoint", grown, "--machine", "pump", "--once", "--scores", "--event", "5/5")
    told = messages(done)
    assert {m["file"] for m in told if m["type"] == "score"} == {f"day {n}.flac" for n in range(6)}
    assert [m["file"] for m in told if m["type"] == "unusable"] == ["broken.wav"]
    assert told[-1]["unusable_files"] == 1


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--event", "many"], "give so many of so many"),
        (["--event", "6/5"], "an event is 6 of 5"),
        (["--poll", "0"], "must be above 0"),
        (["--webhook", "host"], "begins with http"),
        (["--machine", "fen"], "Did you mean fan?"),
    ],
)
def test_what_watch_refuses(arguments: list[str], shown: str, trained: Path, here, day: Path) -> None:
    done = here("watch", day, "--checkpoint", trained, "--machine", "fan", *arguments, expect=2)
    assert shown in done.stderr


def test_a_source_that_is_not_there_is_named(trained: Path, here) -> None:
    done = here("watch", "absent.wav", "--checkpoint", trained, "--machine", "fan", expect=2)
    assert "absent.wav: no such file" in done.stderr


# -- export


@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_the_exported_file_scores_as_torch_does(
    form: str, trained: Path, here, clips: list[Path], tmp_path: Path
) -> None:
    done = here("export", trained, "bundle", "--format", form)
    assert done.stdout.splitlines()[0].startswith("bearing_section_00, fan_section_00: ")
    manifest = verify(tmp_path / "bundle")
    page, brings = (tmp_path / "bundle/README.md").read_text(), (tmp_path / "bundle/edge.py").exists()
    assert brings == ("edge.py" in page) == (form == "onnx")
    if form == "onnx":
        onnx.checker.check_model(str(tmp_path / "bundle" / manifest["file"]), full_check=True)
    assert manifest["machines"] == ["bearing_section_00", "fan_section_00"]
    assert [one["name"] for one in manifest["inputs"]] == ["waveform", "machine"]
    exact = Detector.load(trained)
    exact.precision = "32"
    windows = [next(iter(windows_of(path, exact.cut)))[1] for path in clips[:5]]
    batch = torch.stack(windows)
    machines = torch.tensor([1, 0, 1, 1, 0])
    scores, anomalous = opened(tmp_path / "bundle" / manifest["file"])((batch, machines))
    for row, machine in enumerate(machines.tolist()):
        (expected,) = exact.score_windows([windows[row]], machine)
        assert scores[row] == pytest.approx(expected, abs=1e-4)
        assert bool(anomalous[row]) == (scores[row] > manifest["thresholds"][machine])


@pytest.fixture(scope="module")
def single(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A bundle of one machine; not to be changed."""
    return export(Detector.load(trained), tmp_path_factory.mktemp("single") / "fan", machine="fan")


def test_one_machine_needs_no_number(single: Exported) -> None:
    assert single.machines == ("fan_section_00",)
    assert single.difference < 1e-4
    scores, _ = opened(single.folder / "model.onnx")((0.1 * torch.randn(3, RATE),))
    assert scores.shape == (3,)
    names = sorted(path.name for path in single.folder.iterdir())
    assert names == ["README.md", "edge.py", "manifest.json", "model.onnx"]


def test_a_tampered_bundle_is_refused(single: Exported, here, tmp_path: Path) -> None:
    shutil.copytree(single.folder, tmp_path / "bundle")
    assert "whole, of asd" in here("export", "--verify", "bundle").stdout
    path = tmp_path / "bundle/model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "its checksum differs" in here("export", "--verify", "bundle", expect=2).stderr
    (tmp_path / "bundle/manifest.json").write_text("{}")
    assert "is no bundle" in here("export", "--verify", "bundle", expect=2).stderr


def test_what_export_refuses(trained: Path, here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    assert "is there already" in here("export", trained, "there", expect=2).stderr
    assert "give a checkpoint and a folder" in here("export", trained, expect=2).stderr
    assert "Did you mean fan?" in here("export", trained, "new", "--machine", "fen", expect=2).stderr
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "install asd-zoo[export]" in here("export", trained, "new", expect=2).stderr
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".new*")), "nothing half-made stays"


def test_scores_that_differ_are_never_put_in_place(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asd.inference.export.opened", lambda path: lambda inputs: (np.full(len(inputs[0]), 9.0), None))
    with pytest.raises(UserError, match="differ from torch's by"):
        export(Detector.load(trained), tmp_path / "bundle", form="pt2")
    assert not (tmp_path / "bundle").exists()


class _Branching(KMeansScorer):
    """Decides by a value, which no graph can hold."""

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        scores = super().forward(embeddings)
        return -scores if bool(scores.sum() < 0) else scores


def test_a_scorer_that_cannot_be_exported_is_refused(trained: Path, tmp_path: Path) -> None:
    detector = Detector.load(trained)
    rows, groups = torch.randn(12, detector.model.adapter.scored_dim), torch.arange(12)
    zeros = torch.zeros(12, dtype=torch.int64)
    sections = SectionScorers(_Branching(k=2), detector.model.threshold, ["fan_section_00"])
    detector.model.sections = sections.fit(Bank(rows, zeros, zeros.bool(), groups, groups))
    with pytest.raises(UserError, match="with _Branching cannot be exported"):
        export(detector, tmp_path / "bundle")
    assert not list(tmp_path.glob("*bundle*"))


def test_eight_bits_cost_what_is_printed(trained: Path, here, synthetic: Path, tmp_path: Path) -> None:
    done = here("export", trained, "small", "--machine", "fan", "--int8", "--data", synthetic)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("8 bits")]
    onnx.checker.check_model(str(tmp_path / "small/model.onnx"), full_check=True)
    detector = Detector.load(trained)
    linear = [one for one in detector.model.encoder.modules() if isinstance(one, torch.nn.Linear)]
    held = [one for one in onnx.load(tmp_path / "small/model.onnx").graph.initializer if one.data_type == _INT8]
    matrices = sum(math.prod(one.dims) for one in held if len(one.dims) == 2)
    assert matrices == sum(one.weight.numel() for one in linear) > 0
    rows: list = []
    run = opened(tmp_path / "small/model.onnx")
    for path in sorted((synthetic / "dev_data/raw/fan/test").glob("*.wav")):
        window = next(windows_of(path, detector.cut))[1]
        score = float(run((window[None],))[0][0])
        said = label_of(path.name)
        rows.append(ClipScore(path.name, "fan", "00", score, None, said.domain, said.condition))
    assert f"official score {100 * official_score(measure(rows)):.2f} instead of" in line
    assert json.loads((tmp_path / "small/manifest.json").read_text())["linear_layers"] == "int8"
    assert "whole" in here("export", "--verify", "small").stdout


def test_what_eight_bits_need(trained: Path, here, tmp_path: Path) -> None:
    assert "no data folder" in here("export", trained, "small", "--int8", "--data", tmp_path / "none", expect=2).stderr
    assert "choose --format onnx" in here("export", trained, "small", "--int8", "--format", "pt2", expect=2).stderr
    assert not (tmp_path / "small").exists()


def test_a_checkpoint_whose_weights_do_not_fit_is_one_line(
    trained: Path, here, clips: list[Path], tmp_path: Path
) -> None:
    content = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    del content["state_dict"]["sections.thresholds"]
    torch.save(content, tmp_path / "broken.ckpt")
    done = here("score", clips[0], "--checkpoint", "broken.ckpt", "--machine", "fan", expect=2)
    assert "its weights do not fit its configuration" in done.stderr
