"""What people say of verdicts, over HTTP: kept in the log, and heeded at once and after a start."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from asd.inference import Detector
from asd.inference.feedback import log_of, read
from asd.serve.app import create_app
from asd.serve.hosts import Hosts
from asd.serve.limits import Limits
from asd.serve.service import Kept, Service


@pytest.fixture
def checkpoint(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(trained / "checkpoints/last.ckpt", tmp_path / "own.ckpt"))


def client_of(checkpoint: Path, kept: Kept | None) -> TestClient:
    limits = Limits(2, 60, 4, None, Hosts.of("127.0.0.1", ["testserver"]), 16)
    return TestClient(create_app(Service(lambda: Detector.load(checkpoint), limits, kept=kept)))


@pytest.fixture
def client(checkpoint: Path) -> Iterator[TestClient]:
    with client_of(checkpoint, Kept(checkpoint)) as one:
        yield one


def test_a_false_alarm_is_heeded_at_once_and_after_a_start(
    client: TestClient, checkpoint: Path, clips: list[Path]
) -> None:
    sound, query = clips[0].read_bytes(), {"machine": "fan", "name": "today.wav"}
    before = client.post("/score", params=query, content=sound).json()
    said = client.post("/feedback", params={**query, "kind": "false_alarm"}, content=sound)
    assert said.status_code == 200
    assert said.json()["score"] < before["score"] / 2
    after = client.post("/score", params=query, content=sound).json()
    assert after["score"] == pytest.approx(said.json()["score"], rel=1e-3, abs=1e-6)
    kept = read(log_of(checkpoint))
    assert [(one.mark, one.kind, one.clip) for one in kept] == [(said.json()["mark"], "false_alarm", "today.wav")]
    again = Detector.load(checkpoint).score(clips[0], machine="fan")
    assert again.score == pytest.approx(after["score"], rel=1e-3, abs=1e-6)


def test_said_twice_it_counts_as_said_to_a_detector_that_starts(
    client: TestClient, checkpoint: Path, clips: list[Path]
) -> None:
    for clip in clips[:2]:
        client.post("/feedback", params={"machine": "fan", "kind": "false_alarm"}, content=clip.read_bytes())
    now = next(one for one in client.get("/machines").json()["machines"] if one["name"] == "fan_section_00")
    started = Detector.load(checkpoint)
    assert now["threshold"] == started.model.sections.limits(started.section_index("fan")).alarm


@pytest.mark.parametrize(
    ("query", "content", "status"),
    [
        ({"kind": "praise"}, b"", 422), ({}, b"", 422), ({"kind": "missed", "machine": "pump"}, b"", 404),
        ({"kind": "missed", "machine": "fan"}, b"no sound", 422),
    ],
)  # fmt: skip
def test_what_cannot_be_said_leaves_the_log_alone(
    query: dict[str, str], content: bytes, status: int, client: TestClient, checkpoint: Path
) -> None:
    answer = client.post("/feedback", params=query, content=content)
    assert answer.status_code == status
    assert "\n" not in answer.json()["error"]
    assert read(log_of(checkpoint)) == []


def test_a_service_without_a_log_takes_none(checkpoint: Path, clips: list[Path]) -> None:
    with client_of(checkpoint, None) as client:
        query = {"machine": "fan", "kind": "missed"}
        assert client.post("/feedback", params=query, content=clips[0].read_bytes()).status_code == 409
