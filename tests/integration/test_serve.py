"""The service answers as `asd score` does, refuses what it must, and stays up."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pytest
import soundfile
import torch

from asd.deploy import Detector
from asd.serve.batching import Worker

RATE = 16000


class Client:
    """Talks to a running service.

    Args:
        process: The service, which has said its address.
        url: The address.
    """

    def __init__(self, process: subprocess.Popen[str], url: str, temporary: Path) -> None:
        self.process, self.url, self.temporary = process, url, temporary
        self.port = int(url.rpartition(":")[2])

    def ask(
        self, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, JSON and headers of an answer."""
        request = urllib.request.Request(self.url + path, data=body, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer), dict(answer.headers)
        except HTTPError as error:
            return error.code, json.load(error), dict(error.headers)

    def left_over(self) -> list[Path]:
        return list(self.temporary.glob("asd-serve-*"))

    def text(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return str(answer.read().decode())


def started(checkpoint: Path, temporary: Path, *options: object, **env: str) -> Client:
    command = [sys.executable, "-m", "asd", "serve", str(checkpoint), "--port", "0", *map(str, options)]
    environment = {**os.environ, "TMPDIR": str(temporary), **env}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line.startswith("http"):
        pytest.fail(process.communicate()[1])
    return Client(process, line, temporary)


def stopped(client: Client) -> tuple[int, str]:
    client.process.send_signal(signal.SIGTERM)
    _, errors = client.process.communicate(timeout=60)
    return client.process.returncode, errors


@pytest.fixture(scope="module")
def service(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = started(trained, tmp_path_factory.mktemp("tmp"), "--max-megabytes", 2, "--max-seconds", 60)
    yield client
    code, errors = stopped(client)
    assert code == 0
    assert errors == "", "nothing that was sent brought the service to a traceback"
    assert client.left_over() == [], "nothing that was sent stays"


@pytest.fixture(scope="module")
def clips(synthetic: Path) -> list[Path]:
    return [
        path for name in ("fan", "bearing") for path in sorted((synthetic / "dev_data/raw" / name / "test").glob("*"))
    ]


@pytest.fixture(scope="module")
def detector(trained: Path) -> Detector:
    return Detector.load(trained)


def machine_of(path: Path) -> str:
    return path.parents[1].name


def form(content: bytes, name: str = "a.wav", field: str = "file") -> tuple[bytes, dict[str, str]]:
    head = f'--edge\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n--edge--\r\n", {"Content-Type": "multipart/form-data; boundary=edge"}


def test_it_scores_as_the_program_does(service: Client, detector: Detector, clips: list[Path]) -> None:
    for path in (clips[0], clips[-1]):
        expected = detector.score(path, machine=machine_of(path))
        status, found, _ = service.ask(f"/score?machine={machine_of(path)}&name={path.name}", path.read_bytes())
        assert status == 200
        assert found["score"] == pytest.approx(expected.score, rel=1e-6)
        assert (found["decision"], found["machine"]) == (expected.decision, expected.machine)
        assert found["percentile"] == pytest.approx(expected.percentile)
        assert found["name"] == path.name
        assert len(found["windows"]) == 1
        sent, headers = form(path.read_bytes(), path.name)
        assert service.ask(f"/score?machine={machine_of(path)}", sent, headers)[1] == found


@pytest.mark.parametrize("form_of", ["FLAC", "OGG", "MP3"])
def test_the_content_tells_the_format(service: Client, clips: list[Path], form_of: str) -> None:
    samples = soundfile.read(clips[0])[0]
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format=form_of)
    assert service.ask("/score?machine=fan", buffer.getvalue())[0] == 200


def test_long_recordings_come_back_window_by_window(service: Client, detector: Detector, clips: list[Path]) -> None:
    samples = np.concatenate([soundfile.read(path, dtype="int16")[0][:RATE] for path in clips[:3]])
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format="WAV")
    found = service.ask("/score?machine=fan&explain=true", buffer.getvalue())[1]
    expected = [detector.score(path, machine="fan").score for path in clips[:3]]
    assert [one["score"] for one in found["windows"]] == pytest.approx(expected, rel=1e-3)
    worst = float(np.argmax(expected))
    assert found["explanation"]["start"] == worst
    assert found["explanation"]["span_edges_s"][0] == worst


def test_explanations_are_those_of_the_detector(service: Client, detector: Detector, clips: list[Path]) -> None:
    found = service.ask("/score?machine=fan&explain=true", clips[0].read_bytes())[1]["explanation"]
    expected = detector.explain(clips[0], machine="fan")
    assert found["by_band"] == pytest.approx(expected.by_band.tolist(), rel=1e-3, abs=1e-5)
    assert found["nearest"][0]["name"] == expected.nearest[0].name
    assert np.array(found["level_db"]).shape == expected.level.shape


def test_many_at_once_score_as_each_alone(service: Client, detector: Detector, clips: list[Path]) -> None:
    jobs = [clips[number % len(clips)] for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda path: service.ask(f"/score?machine={machine_of(path)}", path.read_bytes()), jobs)
        )
    assert [status for status, _, _ in answers] == [200] * len(jobs), "nothing is lost"
    for path, (_, found, _) in zip(jobs, answers, strict=True):
        assert found["machine"] == f"{machine_of(path)}_section_00"
        assert found["score"] == pytest.approx(detector.score(path, machine=machine_of(path)).score, rel=1e-3, abs=1e-5)


def silence() -> bytes:
    return _wav(np.zeros(RATE))


def _wav(samples: np.ndarray, subtype: str = "PCM_16", rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def bomb() -> bytes:
    """Two hours of silence in a few kilobytes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(2 * 3600 * 8000, np.int16), 8000, format="FLAC")
    return buffer.getvalue()


BAD: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "text": (lambda: b"not a recording at all", 422, "cannot be read as audio"),
    "zip": (lambda: b"PK\x03\x04" + bytes(1000), 422, "cannot be read as audio"),
    "nothing": (lambda: b"", 422, "no recording was sent"),
    "silence": (silence, 422, "silent, every sample is zero"),
    "nan": (lambda: _wav(np.full(RATE, np.nan), "FLOAT"), 422, "not finite"),
    "loud": (lambda: _wav(np.full(RATE, 1e6), "FLOAT"), 422, "full scale is 1"),
    "truncated": (lambda: _wav(np.random.default_rng(0).normal(0, 0.1, RATE))[:9000], 422, "cut short"),
    "bomb": (bomb, 413, "lasts 7200 s, and 60 s are taken"),
    "long": (lambda: _wav(np.ones(61 * 8000) / 2, rate=8000), 413, "lasts 61 s"),
    "rate": (lambda: _wav(np.ones(400) / 2, rate=100), 422, "give one of 1 to 400 kHz"),
    "large": (lambda: bytes(2_100_000), 413, "larger than 2 MB"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_scored_is_one_line(service: Client, clips: list[Path], kind: str) -> None:
    make, status, message = BAD[kind]
    sent = make()
    found = service.ask("/score?machine=fan&name=today.wav", sent)
    assert found[0] == status
    assert message in found[1]["error"]
    assert "\n" not in found[1]["error"]
    assert str(service.temporary) not in found[1]["error"], "the client knows the file by its own name"
    body, headers = form(sent)
    assert service.ask("/score?machine=fan", body, headers)[0] == status
    assert service.ask("/score?machine=fan", clips[0].read_bytes())[0] == 200, "and the service stays up"


@pytest.mark.parametrize(
    "make",
    [lambda: _wav(np.full(RATE, 0.25)), lambda: _wav(np.sin(np.arange(RATE // 10) / 9) / 2)],
    ids=["dc", "0.1 s"],
)
def test_odd_recordings_are_scored(service: Client, make: Callable[[], bytes]) -> None:
    status, found, _ = service.ask("/score?machine=fan&explain=true", make())
    assert status == 200
    assert np.isfinite(found["score"])


def test_machines_that_are_not_known_are_told(service: Client, clips: list[Path]) -> None:
    sent = clips[0].read_bytes()
    status, found, _ = service.ask("/score?machine=fen", sent)
    assert status == 404
    assert "Did you mean fan?" in found["error"]
    status, found, _ = service.ask("/score", sent)
    assert status == 422
    assert "bearing_section_00, fan_section_00" in found["error"]
    assert "bool" in service.ask("/score?machine=fan&explain=perhaps", sent)[1]["error"]
    sent, headers = form(b"x", field="other")
    assert "no field `file`" in service.ask("/score?machine=fan", sent, headers)[1]["error"]


def test_ten_gigabytes_are_refused_before_they_come(service: Client) -> None:
    for head in (b"Content-Length: 10000000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
            connection.sendall(b"POST /score?machine=fan HTTP/1.1\r\nHost: here\r\n" + head)
            sent = 0
            try:
                while b"chunked" in head and sent < 20_000_000:
                    connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                    sent += 0x10000
            except OSError:
                pass  # it hung up
            assert sent < 20_000_000
            if not sent:
                assert connection.recv(100).startswith(b"HTTP/1.1 413")
    assert service.ask("/health")[0] == 200


def test_a_client_that_goes_away_leaves_nothing(service: Client) -> None:
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        head = b"POST /score?machine=fan HTTP/1.1\r\nHost: here\r\nContent-Length: 32044\r\n\r\n"
        connection.sendall(head + silence()[:5000])
    deadline = time.monotonic() + 20
    while service.left_over() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert service.left_over() == []
    assert service.ask("/health")[1]["waiting"] == 0


def test_machines_health_and_metrics(service: Client, detector: Detector, clips: list[Path]) -> None:
    service.ask("/score?machine=fan", clips[0].read_bytes())
    status, found, headers = service.ask("/machines")
    assert status == 200
    assert [one["name"] for one in found["machines"]] == list(detector.machines)
    assert sum(found["machines"][0]["histogram"]["counts"]) == found["machines"][0]["normal_clips"] == 15
    assert found["seconds"] == 1
    assert headers["content-security-policy"].startswith("default-src 'self'")
    health = service.ask("/health")[1]
    assert (health["status"], health["waiting"]) == ("ok", 0)
    text = service.text("/metrics")
    assert 'asd_recordings_total{decision="' in text
    assert 'asd_requests_total{route="/score",status="200"}' in text
    assert "asd_score_seconds_bucket" in text
    assert "/score" in service.ask("/openapi.json")[1]["paths"]


def test_the_token_is_needed(trained: Path, clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("open sesame\n")
    client = started(trained, tmp_path, "--token-file", tmp_path / "token")
    try:
        sent = clips[0].read_bytes()
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "open sesame"}):
            assert client.ask("/score?machine=fan", sent, headers)[0] == 401
            assert client.ask("/machines", headers=headers)[0] == 401
        assert client.ask("/score?machine=fan", sent, {"Authorization": "Bearer open sesame"})[0] == 200
        assert client.ask("/health")[0] == 200
    finally:
        code, errors = stopped(client)
    assert (code, errors) == (0, "")


def test_beyond_the_queue_it_says_so_at_once(trained: Path, clips: list[Path], tmp_path: Path) -> None:
    client = started(trained, tmp_path, "--queue", 1, "--hop", "0.02")
    try:
        slow = _wav(np.random.default_rng(0).normal(0, 0.1, 20 * RATE))
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: client.ask("/score?machine=fan", slow), range(6)))
        refused = [headers for status, _, headers in answers if status == 503]
        assert refused
        assert all(headers["retry-after"] == "1" for headers in refused)
        assert [status for status, _, _ in answers].count(200) == 6 - len(refused) >= 1
        assert f"asd_rejected_total {len(refused)}.0" in client.text("/metrics")
    finally:
        assert stopped(client)[0] == 0


def test_what_waits_is_answered_before_the_end(trained: Path, tmp_path: Path) -> None:
    client = started(trained, tmp_path, "--hop", "0.02")
    slow = _wav(np.random.default_rng(0).normal(0, 0.1, 20 * RATE))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.ask, "/score?machine=fan", slow)
        deadline = time.monotonic() + 30
        while not client.ask("/health")[1]["waiting"] and time.monotonic() < deadline:
            time.sleep(0.01)
        client.process.send_signal(signal.SIGTERM)
        assert answer.result(60)[0] == 200
    assert client.process.wait(60) == 0


def test_a_full_disk_is_told(detector: Detector, clips: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    from asd.serve.app import Service, create_app
    from asd.serve.limits import Limits

    async def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with TestClient(create_app(Service(lambda: detector, Limits()))) as client:
        monkeypatch.setattr("asd.serve.limits._copy", full)
        answer = client.post("/score?machine=fan", content=clips[0].read_bytes())
        assert answer.status_code == 507
        assert "disk is full" in answer.json()["error"]
        monkeypatch.undo()
        assert client.post("/score?machine=fan", content=clips[0].read_bytes()).status_code == 200


def test_what_waits_is_scored_together(detector: Detector) -> None:
    sizes: list[int] = []
    worker = Worker(lambda: detector, sizes.append)
    gate = threading.Event()
    windows = torch.randn(6, detector.cut.samples) * 0.1
    held = worker.call(gate.wait)
    futures: list[Future[list[float]]] = [worker.score([window], number % 2) for number, window in enumerate(windows)]
    futures[2].cancel()
    gate.set()
    assert held.result(30)
    found = [future.result(30)[0] for number, future in enumerate(futures) if number != 2]
    worker.close()
    assert sizes == [5], "one forward pass, without whoever went away"
    expected = [detector.score_windows([windows[number]], number % 2)[0] for number in (0, 1, 3, 4, 5)]
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_a_failure_reaches_the_one_who_asked_and_no_other(detector: Detector) -> None:
    worker = Worker(lambda: detector)
    broken = worker.score([torch.zeros(3, 3, 3)], 0)
    with pytest.raises(Exception, match=r"."):
        broken.result(30)
    assert len(worker.score([torch.randn(detector.cut.samples)], 0).result(30)) == 1
    worker.close()


def test_what_the_command_refuses(trained: Path, here, tmp_path: Path) -> None:
    assert "no checkpoint" in here("serve", "none.ckpt", expect=2).stderr
    assert "above 0" in here("serve", trained, "--max-seconds", 0, expect=2).stderr
    assert "cannot be read" in here("serve", trained, "--token-file", "none", expect=2).stderr
    (tmp_path / "empty").touch()
    assert "is empty" in here("serve", trained, "--token-file", "empty", expect=2).stderr
    assert "choose another --host" in here("serve", trained, "--host", "nowhere.invalid", expect=2).stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = here("serve", trained, "--port", taken.getsockname()[1], expect=2)
    assert "choose another --host or --port" in done.stderr


def test_a_missing_package_is_one_line(trained: Path, here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asd.serve.app", None)
    assert "pip install 'asd-zoo[serve]'" in here("serve", trained, expect=2).stderr
