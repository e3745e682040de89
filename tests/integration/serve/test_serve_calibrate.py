"""Limits set over HTTP by normal recordings of the place: heeded at once, written, and served after a start."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from asd.inference import Detector, calibrate
from asd.inference.feedback import log_of, read
from asd.serve.app import create_app
from asd.serve.hosts import Hosts
from asd.serve.limits import Limits
from asd.serve.service import Kept, Service
from asd.training import checkpoints

FAN = {"machine": "fan", "false_alarms": "20%"}


@pytest.fixture
def kept(trained: Path, tmp_path: Path) -> Kept:
    return Kept(Path(shutil.copy(trained / "checkpoints/last.ckpt", tmp_path / "own.ckpt")), tmp_path / "new.ckpt")


@pytest.fixture
def place(clips: list[Path], tmp_path: Path) -> Path:
    """Six clips of the fan with a hum."""
    folder = tmp_path / "place"
    folder.mkdir()
    for number, clip in enumerate(clips[:6]):
        samples, rate = soundfile.read(clip)
        hum = 0.05 * np.sin(2 * np.pi * 100 * np.arange(len(samples)) / rate)
        soundfile.write(folder / f"{number}.wav", samples / 2 + hum, rate)
    return folder


def client_of(kept: Kept | None, checkpoint: Path) -> TestClient:
    limits = Limits(2, 60, 4, None, Hosts.of("127.0.0.1", ["testserver"]), 16)
    return TestClient(create_app(Service(lambda: Detector.load(checkpoint), limits, kept=kept)))


@pytest.fixture
def client(kept: Kept) -> Iterator[TestClient]:
    with client_of(kept, kept.checkpoint) as one:
        yield one


def form(place: Path) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (path.name, path.read_bytes())) for path in sorted(place.iterdir())]


def test_it_is_as_calibrate_does_it_at_once_and_after_a_start(
    client: TestClient, kept: Kept, place: Path, tmp_path: Path
) -> None:
    told = client.post("/calibrate", params=FAN, files=form(place))
    assert told.status_code == 200, told.text
    by_command = calibrate(kept.checkpoint, place, "fan", tmp_path / "command.ckpt", "20%")
    found = told.json()
    assert (found["recordings"], found["windows"], found["added"]) == (6, 6, True)
    assert found["threshold"] == pytest.approx(by_command.after.alarm, rel=1e-4)
    assert found["threshold_before"] == pytest.approx(by_command.before.alarm)
    assert found["expected"].startswith("false alarms: ")
    clip = (place / "0.wav").read_bytes()
    now = client.post("/score", params={"machine": "fan"}, content=clip).json()
    assert now["threshold"] == found["threshold"]
    assert kept.calibrated is not None
    started = Detector.load(kept.calibrated).score(place / "0.wav", machine="fan")
    assert started.threshold == found["threshold"]
    assert started.score == pytest.approx(now["score"], rel=1e-3, abs=1e-6)
    (told_of,) = checkpoints.history(checkpoints.load(kept.calibrated)["asd"])
    assert (told_of["what"], told_of["from"], told_of["recordings"]) == ("calibrate", "service", 6)


def test_one_long_recording_as_the_body_is_enough_and_need_not_be_added(client: TestClient, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(0).normal(0, 0.1, 30 * 16000), 16000)
    query = {**FAN, "add": "false", "name": "long.wav"}
    found = client.post("/calibrate", params=query, content=(tmp_path / "long.wav").read_bytes()).json()
    assert (found["recordings"], found["added"]) == (1, False)
    assert found["windows"] > 10


def test_what_was_said_before_stays_and_is_not_said_twice(client: TestClient, kept: Kept, place: Path) -> None:
    clip = (place / "0.wav").read_bytes()
    client.post("/feedback", params={"machine": "fan", "kind": "false_alarm"}, content=clip)
    for times in (1, 2):
        assert client.post("/calibrate", params=FAN, files=form(place)).status_code == 200
        assert kept.calibrated is not None
        bank = Detector.load(kept.calibrated).model.sections.normal_clips(_fan(kept)).bank()
        before = Detector.load(kept.checkpoint).model.sections.normal_clips(_fan(kept)).bank()
        assert bank is not None
        assert before is not None
        assert len(bank.group) == len(before.group) + 6 * times
    client.post("/feedback", params={"machine": "fan", "kind": "false_alarm"}, content=clip)
    assert len(read(log_of(kept.checkpoint))) == len(read(log_of(kept.calibrated))) == 1


def _fan(kept: Kept) -> int:
    return Detector.load(kept.checkpoint).section_index("fan")


@pytest.mark.parametrize(
    ("query", "content", "status", "said"),
    [
        ({"machine": "pump"}, b"x", 404, "does not know 'pump'"),
        ({"machine": "fan", "false_alarms": "often"}, b"x", 422, "such as 1/day"),
        (FAN, b"", 422, "no recording was sent"), (FAN, b"no sound", 422, "the recording"),
        ({**FAN, "add": "perhaps"}, b"x", 422, "add"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_nothing_is_written(
    query: dict[str, str], content: bytes, status: int, said: str, client: TestClient, kept: Kept
) -> None:
    answer = client.post("/calibrate", params=query, content=content)
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert kept.calibrated is not None
    assert not kept.calibrated.exists()


def test_where_nothing_is_to_be_written_none_is_taken(kept: Kept, place: Path) -> None:
    with client_of(Kept(kept.checkpoint), kept.checkpoint) as client:
        answer = client.post("/calibrate", params=FAN, files=form(place))
    assert answer.status_code == 409
    assert "--calibrated FILE" in answer.json()["error"]


def test_a_checkpoint_that_cannot_be_written_leaves_the_service_as_it_was(kept: Kept, place: Path) -> None:
    with client_of(Kept(kept.checkpoint, kept.checkpoint / "new.ckpt"), kept.checkpoint) as client:
        before = client.get("/machines").json()
        answer = client.post("/calibrate", params=FAN, files=form(place))
        assert answer.status_code == 422
        assert "cannot" in answer.json()["error"]
        assert client.get("/machines").json() == before
