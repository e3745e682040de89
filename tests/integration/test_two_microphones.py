"""A near and a far microphone, from data to verdicts: every command hears what the detector was trained on."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asd.cli import main
from asd.data.clip import Sound
from asd.evaluation.clip_scores import read_scores
from asd.inference import Detector
from asd.inference.windows import windows_of
from asd.serve.recording import Recording
from tests.quick import QUICK

ROOT = Path(__file__).parents[2]
RATE = 16000
MISSING = "near_minus_far takes a near and a far channel, "
SMALL = [
    "--data.batch_size=8", "--model.encoder.seconds=1", "--model.encoder.width=4", "--trainer.max_epochs=1",
    "--trainer.check_val_every_n_epoch=1", *QUICK,
]  # fmt: skip
Here = Callable[..., Any]


@pytest.fixture(scope="module")
def stereo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two machines as of 2026, made by the program; not to be changed."""
    out = tmp_path_factory.mktemp("stereo") / "data"
    sizes = ["--seconds", "1", "--train-source", "12", "--train-target", "3", "--test", "3"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["data", "synthesize", str(out), "--year", "2026", "--machines", "fan", "bearing", *sizes]) == 0
    return out


def fit(root: Path, folder: Path, *options: str) -> Path:
    arguments = ["fit", "--config", ROOT / "configs/recipe/dual_branch.yaml", "--data.root", root, "--data.seconds=1"]
    folder.mkdir()
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as said:
        assert main([*map(str, arguments), *SMALL, *options]) == 0
    return folder / said.getvalue().strip().splitlines()[-1]


@pytest.fixture(scope="module")
def run(stereo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return fit(stereo, folder, "--data.channels=near_minus_far", "--data.far_noise=0.2", "--data.channel=null")


@pytest.fixture(scope="module")
def clip(stereo: Path) -> Path:
    return next((stereo / "dev_data/raw/fan/test").glob("*anomaly*"))


@pytest.fixture
def mono(clip: Path, tmp_path: Path) -> Path:
    path = tmp_path / "rec/mono.wav"
    path.parent.mkdir()
    soundfile.write(path, soundfile.read(clip)[0][:, 0], RATE)
    return path


def test_scores_are_those_of_the_test_and_of_the_subtracted_sound(run: Path, stereo: Path) -> None:
    detector = Detector.load(run)
    assert detector.cut.channel == "near_minus_far"
    assert {"fan/noise", "bearing/noise"} <= set(detector.model.classes)
    near = Detector.load(run)
    near.cut = replace(near.cut, channel=0)
    apart = 0.0
    for row in read_scores(run / "scores"):
        path = stereo / "dev_data/raw" / row.machine / "test" / row.name
        assert detector.score(path, machine=row.machine).score == pytest.approx(row.score, rel=1e-3, abs=1e-5)
        samples, rate = soundfile.read(path, dtype="float32")
        assert detector.score(samples, rate, machine=row.machine).score == pytest.approx(row.score, rel=1e-2)
        apart = max(apart, abs(near.score(path, machine=row.machine).score / row.score - 1))
    assert apart > 0.02, "what is subtracted is not there any more"


def test_the_service_hears_the_same(run: Path, clip: Path) -> None:
    cut = Detector.load(run).cut
    ((_, window),) = Recording(Sound(Path("sent.wav"), content=clip.read_bytes()), cut, 60.0).take()
    assert np.allclose(window, next(windows_of(clip, cut))[1])


def test_a_stream_and_a_folder_are_watched(run: Path, stereo: Path, here: Here, tmp_path: Path) -> None:
    clips = sorted((stereo / "dev_data/raw/fan/test").glob("*normal*"))
    samples = np.concatenate([soundfile.read(path)[0] for path in clips])
    (tmp_path / "day").mkdir()
    soundfile.write(tmp_path / "day/long.wav", samples, RATE)
    options = ["--checkpoint", run, "--machine", "fan", "--scores", "--false-alarms", "50%", "--quiet"]
    told = []
    for source in (["day/long.wav", "--speed", "0"], ["day", "--once"]):
        # Whether so short a sound is an event is chance: of interest are the scores.
        try:
            lines = here("watch", *source, *options).stdout
        except AssertionError as error:
            lines = str(error).split("\n", 1)[1] if "exit code 1" in str(error) else pytest.fail(str(error))
        messages = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
        told.append([one["score"] for one in messages if one["type"] == "score"])
    assert len(told[0]) > 8
    assert told[0] == pytest.approx(told[1][: len(told[0])], rel=1e-3)


def test_new_machines_limits_and_explanations(run: Path, stereo: Path, clip: Path, here: Here, tmp_path: Path) -> None:
    normal = stereo / "dev_data/raw/fan/train"
    here("enroll", run, normal, "--machine", "pump", "--out", "grown.ckpt")
    assert Detector.load(tmp_path / "grown.ckpt").cut.channel == "near_minus_far"
    here("calibrate", run, normal, "--machine", "fan", "--false-alarms", "50%", "--out", "new.ckpt")
    assert clip.name in here("explain", clip, "--checkpoint", run, "--machine", "fan", "--out", "shown").stdout
    assert list((tmp_path / "shown").glob("*.png"))
    here("report", run, "--out", tmp_path / "report.html", "--clips", "1")
    assert "data:audio/ogg" in (tmp_path / "report.html").read_text(), "clips are heard and explained"


def test_a_bundle_says_what_it_cannot(run: Path, here: Here, tmp_path: Path) -> None:
    said = here("export", run, "bundle", "--machine", "fan").stdout
    assert "subtracts the far channel from the near one first" in said
    assert json.loads(next((tmp_path / "bundle").glob("*.json")).read_text())["channels"] == "near_minus_far"


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(list(map(str, arguments))) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def test_one_channel_is_refused_in_one_line(run: Path, mono: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = [
        refused(capsys, "score", mono, "--checkpoint", run, "--machine", "fan"),
        refused(capsys, "explain", mono, "--checkpoint", run, "--machine", "fan"),
        refused(capsys, "watch", mono, "--checkpoint", run, "--machine", "fan", "--speed", "0"),
        refused(capsys, "enroll", run, mono.parent, "--machine", "pump"),
        refused(capsys, "calibrate", run, mono.parent, "--machine", "fan"),
    ]
    assert all(f"mono.wav: {MISSING}the file has 1" in one for one in told), told


def test_training_refuses_it_too(
    stereo: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("train", "test"):
        (tmp_path / "data/dev_data/raw/fan" / folder).mkdir(parents=True)
        for path in (stereo / "dev_data/raw/fan" / folder).iterdir():
            (tmp_path / "data/dev_data/raw/fan" / folder / path.name).write_bytes(path.read_bytes())
    config = ROOT / "configs/recipe/dual_branch.yaml"
    options = ["fit", "--config", config, "--data.root", "data", "--data.channels=near_minus_far", *SMALL]
    path = next((tmp_path / "data/dev_data/raw/fan/train").iterdir())
    path.write_bytes(mono.read_bytes())
    assert f"{path.name}: {MISSING}" in refused(capsys, *options, "--data.subsets=[dev_data]")
    assert "data.channel, its earlier name" in refused(capsys, *options, "--data.channel=near")
