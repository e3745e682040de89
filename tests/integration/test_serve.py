"""The service answers as `asd score` does, refuses what it must, and stays up."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pytest
import soundfile
import torch

from asd.deploy import Detector
from asd.serve import limits
from asd.serve.batching import Worker
from asd.serve.limits import Limits
from asd.serve.service import Service

RATE = 16000
Answer = tuple[int, dict[str, Any], dict[str, str]]


def _headers(answer: Any) -> dict[str, str]:
    return {name.casefold(): value for name, value in answer.headers.items()}


class Client:
    """Talks to a running service."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.port = int(url.rpartition(":")[2])

    def ask(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Status, JSON and headers of an answer."""
        request = urllib.request.Request(self.url + path, data=body, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer), _headers(answer)
        except HTTPError as error:
            return error.code, json.load(error), _headers(error)

    def text(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return str(answer.read().decode())

    def begin(self, content: bytes, said: int | None = None) -> socket.socket:
        """A connection on which a recording was sent, or a part of it where its length is said to be larger."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        head = f"POST /score?machine=fan HTTP/1.1\r\nHost: here\r\nContent-Length: {said or len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content)
        return connection


class Started(Client):
    """A service in a process of its own, as a user starts it."""

    def __init__(self, checkpoint: Path, temporary: Path, *options: object, **env: str) -> None:
        command = [sys.executable, "-m", "asd", "serve", str(checkpoint), "--port", "0", *map(str, options)]
        environment = {**os.environ, "TMPDIR": str(temporary), **env}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.temporary = temporary
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line.startswith("http"):
            pytest.fail(self.process.communicate()[1])
        super().__init__(line)

    def left_over(self) -> list[Path]:
        return list(self.temporary.glob("asd-serve-*"))

    def most_memory(self) -> float:
        """Megabytes that the process ever held."""
        (line,) = [
            one for one in Path(f"/proc/{self.process.pid}/status").read_text().splitlines() if one.startswith("VmHWM")
        ]
        return int(line.split()[1]) / 1000

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@contextmanager
def running(service: Service) -> Iterator[Client]:
    """A service in a thread, whose inside the test can reach."""
    import uvicorn

    from asd.serve.app import create_app
    from asd.serve.server import listen

    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(service), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Client(f"http://127.0.0.1:{listening.getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()


@contextmanager
def held(service: Service) -> Iterator[None]:
    """The model busy, until the end."""
    gate, busy = threading.Event(), threading.Event()
    service.worker.call(lambda: (busy.set(), gate.wait(60)))
    assert busy.wait(30)
    try:
        yield
    finally:
        gate.set()


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def started(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    client = Started(trained, tmp_path_factory.mktemp("tmp"), "--max-megabytes", 2, "--max-seconds", 60)
    yield client
    code, errors = client.stop()
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
    """In full precision, which does not depend on what a clip is batched with."""
    one = Detector.load(trained)
    one.precision = "32"
    return one


def machine_of(path: Path) -> str:
    return path.parents[1].name


def form(content: bytes, name: str = "a.wav", field: str = "file") -> tuple[bytes, dict[str, str]]:
    head = f'--edge\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n--edge--\r\n", {"Content-Type": "multipart/form-data; boundary=edge"}


def sound(samples: np.ndarray, subtype: str = "PCM_16", rate: int = RATE, form_of: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form_of, subtype=subtype)
    return buffer.getvalue()


# -- scores


def test_it_scores_as_the_program_does(started: Started, trained: Path, clips: list[Path]) -> None:
    detector = Detector.load(trained)
    for path in (clips[0], clips[-1]):
        expected = detector.score(path, machine=machine_of(path))
        status, found, _ = started.ask(f"/score?machine={machine_of(path)}&name={path.name}", path.read_bytes())
        assert status == 200
        assert found["score"] == pytest.approx(expected.score, rel=1e-6)
        assert (found["decision"], found["machine"]) == (expected.decision, expected.machine)
        assert (found["percentile"], found["threshold"]) == pytest.approx((expected.percentile, expected.threshold))
        assert found["name"] == path.name
        assert found["windows"] == [{"start": 0.0, "score": found["score"], "anomalous": expected.anomalous}]
        sent, headers = form(path.read_bytes(), path.name)
        assert started.ask(f"/score?machine={machine_of(path)}", sent, headers)[1] == found


@pytest.mark.parametrize(("form_of", "subtype"), [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_the_content_tells_the_format(started: Started, clips: list[Path], form_of: str, subtype: str) -> None:
    sent = sound(soundfile.read(clips[0])[0], subtype, form_of=form_of)
    assert started.ask("/score?machine=fan&name=misnamed.txt", sent)[0] == 200


def m4a(seconds: float, out: Path) -> Path:
    if not shutil.which("ffmpeg"):
        pytest.skip("needs ffmpeg")
    source = f"sine=f=440:r={RATE}:d={seconds}"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-b:a", "8k", str(out)], check=True)
    return out


def test_a_telephone_s_format_scores_the_same_and_is_bounded(started: Started, trained: Path, tmp_path: Path) -> None:
    path = m4a(2, tmp_path / "note.m4a")
    expected = Detector.load(trained).score(path, machine="fan")
    assert started.ask("/score?machine=fan", path.read_bytes())[1]["score"] == pytest.approx(expected.score, rel=1e-6)
    long = m4a(90, tmp_path / "long.m4a").read_bytes()
    assert len(long) < 2_000_000
    status, found, _ = started.ask("/score?machine=fan&name=long.m4a", long)
    assert status == 413
    assert found["error"] == "long.m4a: goes on, and 60 s are taken; cut it"
    status, found, _ = started.ask("/score?machine=fan&name=broken.m4a", path.read_bytes()[:1000])
    assert status == 422
    assert found["error"].startswith("broken.m4a: cannot be read")


def test_long_recordings_come_back_window_by_window(detector: Detector, clips: list[Path]) -> None:
    samples = np.tile(soundfile.read(clips[0], dtype="int16")[0][:RATE], 40)
    samples[20 * RATE : 21 * RATE] = soundfile.read(clips[-1], dtype="int16")[0][:RATE]
    service = Service(lambda: detector, Limits())
    with running(service) as client:
        found = client.ask("/score?machine=fan&explain=true", sound(samples))[1]
    expected = detector.score(samples / 32768, RATE, "fan")
    assert [one["score"] for one in found["windows"]] == pytest.approx([one.score for one in expected.windows], 1e-4)
    assert found["score"] == pytest.approx(expected.score, rel=1e-4)
    worst = max(expected.windows, key=lambda one: one.score).start
    assert found["explanation"]["start"] == found["explanation"]["span_edges_s"][0] == worst


def test_explanations_are_those_of_the_detector(detector: Detector, clips: list[Path]) -> None:
    with running(Service(lambda: detector, Limits())) as client:
        found = client.ask("/score?machine=fan&explain=true", clips[0].read_bytes())[1]["explanation"]
    expected = detector.explain(clips[0], machine="fan")
    assert found["by_band"] == pytest.approx(expected.by_band.tolist(), rel=1e-3, abs=1e-5)
    assert found["nearest"][0]["name"] == expected.nearest[0].name
    assert found["resembles"] == pytest.approx(expected.resembles)
    assert (found["start"], found["seconds"]) == (0, 1)
    assert np.array(found["level"]) == pytest.approx(expected.level, abs=0.51)
    assert found["level_edges_hz"] == pytest.approx(expected.level_edges.tolist())


# -- many at once


def test_many_at_once_score_as_each_alone(detector: Detector, clips: list[Path]) -> None:
    sizes: list[int] = []
    service = Service(lambda: detector, Limits())
    service.worker._observe = sizes.append
    half = len(clips) // 2
    mixed = [path for pair in zip(clips[:half], clips[half:], strict=True) for path in pair]
    jobs = (mixed * 3)[:24]
    assert {machine_of(path) for path in jobs[:2]} == {"fan", "bearing"}
    with running(service) as client, ThreadPoolExecutor(24) as pool:
        with held(service):
            asked = [
                pool.submit(client.ask, f"/score?machine={machine_of(path)}&name={number}", path.read_bytes())
                for number, path in enumerate(jobs)
            ]
            until(lambda: service.waiting == len(jobs) and len(service.worker._jobs) == len(jobs))
        answers = [one.result(60) for one in asked]
    assert sizes == [16, 8], "in as few passes as can be"
    for number, (path, (status, found, _)) in enumerate(zip(jobs, answers, strict=True)):
        assert status == 200
        assert (found["name"], found["machine"]) == (str(number), f"{machine_of(path)}_section_00")
        alone = detector.score(path, machine=machine_of(path)).score
        assert found["score"] == pytest.approx(alone, rel=1e-4, abs=1e-6)


def test_beyond_the_queue_it_says_so_at_once_and_stays_awake(detector: Detector, clips: list[Path]) -> None:
    service = Service(lambda: detector, Limits(waiting=2))
    sent = clips[0].read_bytes()
    with running(service) as client, ThreadPoolExecutor(2) as pool:
        with held(service):
            asked = [pool.submit(client.ask, "/score?machine=fan", sent) for _ in range(2)]
            until(lambda: service.waiting == 2)
            status, found, headers = client.ask("/score?machine=fan", sent)
            assert (status, headers["retry-after"]) == (503, "1")
            assert "too many recordings wait" in found["error"]
            health = client.ask("/health")[1]
            assert (health["status"], health["waiting"]) == ("ok", 2)
            assert "asd_waiting 2.0" in client.text("/metrics")
        assert [one.result(60)[0] for one in asked] == [200, 200]
        assert client.ask("/score?machine=fan", sent)[0] == 200
        assert "asd_rejected_total 1.0" in client.text("/metrics")


def test_nothing_is_computed_for_a_client_that_went_away(detector: Detector, clips: list[Path]) -> None:
    sizes: list[int] = []
    service = Service(lambda: detector, Limits())
    service.worker._observe = sizes.append
    with running(service) as client:
        with held(service):
            connection = client.begin(clips[0].read_bytes())
            until(lambda: len(service.worker._jobs) == 1)
            connection.close()
            until(lambda: service.waiting == 0)
        assert client.ask("/score?machine=fan", clips[0].read_bytes())[0] == 200
        assert 'status="499"' in client.text("/metrics")
    assert sizes == [1], "only for the one who stayed"


def test_what_waits_is_scored_together(detector: Detector) -> None:
    sizes: list[int] = []
    worker = Worker(lambda: detector, observe=sizes.append)
    gate = threading.Event()
    windows = torch.randn(40, detector.cut.samples) * 0.1
    busy = worker.call(gate.wait)
    futures: list[Future[list[float]]] = [worker.score([window], number % 2) for number, window in enumerate(windows)]
    futures[2].cancel()
    gate.set()
    assert busy.result(30)
    found = [future.result(30)[0] for number, future in enumerate(futures) if number != 2]
    worker.close()
    assert sizes == [15, 16, 8], "without whoever went away"
    expected = [detector.score_windows([window], n % 2)[0] for n, window in enumerate(windows) if n != 2]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_waiting_for_others_fills_a_batch(detector: Detector) -> None:
    sizes: list[int] = []
    worker = Worker(lambda: detector, wait=60, observe=sizes.append)
    futures = [worker.score([window], 0) for window in torch.randn(16, detector.cut.samples)]
    assert all(future.result(30) for future in futures), "a full batch waits no longer"
    assert sizes == [16]
    last = worker.score([torch.randn(detector.cut.samples)], 0)
    worker.close()
    assert last.result(0), "at the end it waits no longer, either"


def test_a_failure_reaches_the_one_who_asked_and_no_other(detector: Detector) -> None:
    worker = Worker(lambda: detector)
    gate = threading.Event()
    worker.call(gate.wait)
    good, broken = worker.score([torch.randn(detector.cut.samples)], 0), worker.score([torch.zeros(3, 3, 3)], 0)
    gate.set()
    with pytest.raises(Exception, match=r"."):
        broken.result(30)
    assert len(good.result(30)) == 1
    worker.close()


# -- what is refused


def bomb(seconds: int = 7200) -> bytes:
    """Hours of silence in a few kilobytes."""
    return sound(np.zeros(seconds * 8000, np.int16), rate=8000, form_of="FLAC")


def lying_flac(samples: int, frames: int) -> bytes:
    """Frames of noise, and a header that says another number of samples."""
    content = bytearray(sound(np.random.default_rng(0).normal(0, 0.1, frames), rate=8000, form_of="FLAC"))
    packed = int.from_bytes(content[18:26], "big")
    content[18:26] = (packed >> 36 << 36 | samples).to_bytes(8, "big")
    return bytes(content)


NOISE = 0.1 * np.random.default_rng(0).standard_normal(RATE)
BAD: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "text": (lambda: b"not a recording at all", 422, "cannot be read as audio"),
    "playlist": (lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 422, "cannot be read as audio"),
    "zip": (lambda: b"PK\x03\x04" + bytes(1000), 422, "cannot be read as audio"),
    "nothing": (lambda: b"", 422, "no recording was sent"),
    "no samples": (lambda: sound(np.zeros(0)), 422, "holds no samples"),
    "silence": (lambda: sound(np.zeros(RATE)), 422, "silent, every sample is zero"),
    "nan": (lambda: sound(np.full(RATE, np.nan), "FLOAT"), 422, "not finite"),
    "loud": (lambda: sound(np.full(RATE, 1e6), "FLOAT"), 422, "full scale is 1"),
    "truncated": (lambda: sound(NOISE)[:9000], 422, "cut short"),
    "bomb": (bomb, 413, "lasts 7200 s, and 60 s are taken"),
    "said too long": (lambda: lying_flac(2**36 - 1, 8000), 413, "and 60 s are taken"),
    "long": (lambda: sound(np.ones(61 * 8000) / 2, rate=8000), 413, "lasts 61 s"),
    "rate": (lambda: sound(np.ones(400) / 2, rate=100), 422, "of 1 to 400 kHz"),
    "large": (lambda: bytes(2_100_000), 413, "larger than 2 MB"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_scored_is_one_line(started: Started, clips: list[Path], kind: str) -> None:
    make, status, message = BAD[kind]
    sent = make()
    found = started.ask("/score?machine=fan&name=today.wav", sent)
    assert found[0] == status
    assert message in found[1]["error"]
    assert "\n" not in found[1]["error"]
    assert "asd-serve-" not in found[1]["error"], "the client knows the file by its own name"
    body, headers = form(sent)
    assert started.ask("/score?machine=fan", body, headers)[0] == status
    assert started.ask("/score?machine=fan", clips[0].read_bytes())[0] == 200, "and the service stays up"


def test_a_header_that_says_too_little_costs_no_memory(started: Started) -> None:
    before = started.most_memory()
    random = np.random.default_rng(0)
    content = sound(random.integers(-1, 2, 3600 * 400, dtype=np.int16), rate=1000, form_of="FLAC")
    assert len(content) < 2_000_000
    assert started.ask("/score?machine=fan", content)[0] == 413
    assert started.ask("/score?machine=fan", lying_flac(8000, 8000 * 50))[0] in (200, 422)
    assert started.most_memory() < before + 100


@pytest.mark.parametrize("samples", [np.full(RATE, 0.25), np.sin(np.arange(RATE // 10) / 9) / 2], ids=["dc", "0.1 s"])
def test_odd_recordings_are_scored(started: Started, samples: np.ndarray) -> None:
    status, found, _ = started.ask("/score?machine=fan&explain=true", sound(samples))
    assert status == 200
    assert np.isfinite(found["score"])
    assert found["explanation"]["seconds"] == pytest.approx(len(samples) / RATE)


def test_machines_that_are_not_known_are_told(started: Started, clips: list[Path]) -> None:
    sent = clips[0].read_bytes()
    status, found, _ = started.ask("/score?machine=fen", sent)
    assert status == 404
    assert "Did you mean fan? It knows bearing, fan" in found["error"]
    status, found, _ = started.ask("/score", sent)
    assert status == 422
    assert "bearing_section_00, fan_section_00" in found["error"]
    assert "bool" in started.ask("/score?machine=fan&explain=perhaps", sent)[1]["error"]
    sent, headers = form(b"x", field="other")
    assert "no field `file`" in started.ask("/score?machine=fan", sent, headers)[1]["error"]
    assert started.ask("/docs")[0] == started.ask("/page.js/../../app.py")[0] == 404


def test_ten_gigabytes_are_refused_before_they_come(started: Started) -> None:
    before = started.most_memory()
    with started.begin(b"", said=10_000_000_000) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    with socket.create_connection(("127.0.0.1", started.port), timeout=30) as connection:
        connection.sendall(b"POST /score?machine=fan HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent, stored = 0, 0
        try:
            while sent < 200_000_000:
                connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                sent += 0x10000
                stored = max(stored, sum(one.stat().st_size for one in started.temporary.rglob("*") if one.is_file()))
        except OSError:
            pass  # it hung up
        assert sent < 200_000_000
        assert stored <= 2_000_000
    until(lambda: not started.left_over())
    assert started.most_memory() < before + 50


def test_the_answer_reaches_a_client_that_is_still_sending(started: Started) -> None:
    status, found, headers = started.ask("/score?machine=fan", bytes(12_000_000))
    assert (status, headers["connection"]) == (413, "close")
    assert "larger than 2 MB" in found["error"]


def test_a_client_that_goes_away_leaves_nothing(
    detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    content, headers = form(bytes(5_500_000))
    service = Service(lambda: detector, Limits())
    with running(service) as client:
        for head in ("", f"Content-Type: {headers['Content-Type']}\r\n"):
            with socket.create_connection(("127.0.0.1", client.port)) as connection:
                line = f"POST /score?machine=fan HTTP/1.1\r\nHost: here\r\n{head}Content-Length: {len(content)}\r\n\r\n"
                connection.sendall(line.encode() + content[:5_400_000])
                until(lambda: service.receiving == 1)
                if not head:
                    until(lambda: list(tmp_path.iterdir()))
            until(lambda: service.receiving == 0)
            until(lambda: not list(tmp_path.iterdir()))
        assert client.ask("/health")[1]["waiting"] == 0


def test_a_body_that_stops_arriving_is_given_up(
    detector: Detector, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_IDLE_SECONDS", 0.1)
    monkeypatch.setattr(limits, "_LINGER_SECONDS", 0.1)
    service = Service(lambda: detector, Limits(waiting=1))
    with running(service) as client:
        with client.begin(clips[0].read_bytes()[:999], said=2000) as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 408")
        until(lambda: service.receiving == 0)
        assert client.ask("/score?machine=fan", clips[0].read_bytes())[0] == 200


def test_recordings_that_arrive_are_bounded_too(detector: Detector, clips: list[Path]) -> None:
    service = Service(lambda: detector, Limits(waiting=1))
    with running(service) as client:
        with client.begin(b"RIFF", said=2000):
            until(lambda: service.receiving == 1)
            assert client.ask("/score?machine=fan", clips[0].read_bytes())[0] == 503
        until(lambda: service.receiving == 0)
        assert client.ask("/score?machine=fan", clips[0].read_bytes())[0] == 200


@pytest.mark.parametrize("place", ["tempfile.mkdtemp", "pathlib.Path.open"])
def test_a_full_disk_is_told(
    place: str, detector: Detector, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    small = clips[0].read_bytes()
    large = small + bytes(4_000_000)  # a player stops at the end of the sound
    with running(Service(lambda: detector, Limits())) as client:
        with monkeypatch.context() as patch:
            patch.setattr(place, full)
            status, found, _ = client.ask("/score?machine=fan", large)
            assert client.ask("/score?machine=fan", small)[0] == 200, "held in memory"
        assert status == 507
        assert "disk is full" in found["error"]
        assert (
            client.ask("/score?machine=fan", large)[1]["score"] == client.ask("/score?machine=fan", small)[1]["score"]
        )


def test_a_failure_of_the_service_is_one_line(
    detector: Detector, clips: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(lambda: detector, Limits())
    with running(service) as client:
        with monkeypatch.context() as patch:
            patch.setattr(detector, "score_windows", lambda *_: 1 / 0)
            status, found, headers = client.ask("/score?machine=fan", clips[0].read_bytes())
        assert (status, set(found)) == (500, {"error"})
        assert "content-security-policy" in headers
        assert "ZeroDivisionError" in caplog.text, "its log says why"
        assert client.ask("/score?machine=fan", clips[0].read_bytes())[0] == 200


# -- the rest


def test_machines_health_and_metrics(started: Started, detector: Detector, clips: list[Path]) -> None:
    started.ask("/score?machine=fan", clips[0].read_bytes())
    status, found, headers = started.ask("/machines")
    assert status == 200
    assert [one["name"] for one in found["machines"]] == list(detector.machines)
    assert sum(found["machines"][0]["histogram"]["counts"]) == found["machines"][0]["normal_clips"] == 15
    assert (found["seconds"], found["sample_rate"], found["max_megabytes"], found["max_seconds"]) == (1, RATE, 2, 60)
    assert headers["content-security-policy"].startswith("default-src 'self'")
    health = started.ask("/health")[1]
    assert (health["status"], health["waiting"]) == ("ok", 0)
    assert health["uptime_seconds"] > 0
    text = started.text("/metrics")
    for line in (
        'asd_recordings_total{decision="',
        'asd_requests_total{route="/score",status="200"}',
        "asd_score_seconds_bucket",
        "asd_batch_windows_bucket",
        "asd_audio_seconds_total",
        "asd_waiting 0.0",
        "asd_rejected_total 0.0",
    ):
        assert line in text
    assert "/score" in started.ask("/openapi.json")[1]["paths"]


def test_the_token_is_needed_and_what_waits_is_answered_before_the_end(
    trained: Path, clips: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("open sesame\n")
    client = Started(trained, tmp_path, "--token-file", tmp_path / "token", "--hop", "0.02", "--host", "0.0.0.0")
    right = {"Authorization": "Bearer open sesame"}
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "open sesame"}):
        for path in ("/score?machine=fan", "/machines", "/metrics", "/openapi.json", "/nothing"):
            status, found, more = client.ask(path, clips[0].read_bytes() if "score" in path else None, headers)
            assert (status, more["www-authenticate"]) == (401, "Bearer")
            assert "Bearer" in found["error"]
    assert client.ask("/health")[0] == 200
    assert "<html" in client.text("/")
    slow = sound(0.1 * np.random.default_rng(0).standard_normal(6 * RATE))
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(client.ask, "/score?machine=fan", slow, right) for _ in range(3)]
        until(lambda: client.ask("/health")[1]["waiting"] == 3)
        code, errors = client.stop()
        assert [answer.result(60)[0] for answer in answers] == [200] * 3
    assert (code, errors) == (0, ""), "no warning where a token is needed, and the token is nowhere"
    assert client.left_over() == []


def test_a_service_open_to_all_is_warned_of(trained: Path, here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asd.serve.server.serve", lambda app, listening: listening.close())
    threads = torch.get_num_threads()
    done = here("serve", trained, "--host", "0.0.0.0", "--port", 0, "--threads", threads, "--batch-wait-ms", 1)
    assert done.stderr.splitlines()[-1].startswith("asd: warning: anyone who reaches 0.0.0.0:")
    assert "warning" not in here("serve", trained, "--port", 0).stderr
    monkeypatch.setenv("ASD_TOKEN", "open sesame")
    assert "warning" not in here("serve", trained, "--host", "0.0.0.0", "--port", 0).stderr


def test_what_the_command_refuses(trained: Path, here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no checkpoint" in here("serve", "none.ckpt", expect=2).stderr
    assert "above 0" in here("serve", trained, "--max-seconds", 0, expect=2).stderr
    assert "--threads 1 or more" in here("serve", trained, "--threads", 0, expect=2).stderr
    assert "cannot be read" in here("serve", trained, "--token-file", "none", expect=2).stderr
    for content, shown in (("\n", "is empty"), ("a\nb", "one line of ASCII"), ("é", "one line of ASCII")):
        (tmp_path / "token").write_text(content, encoding="utf-8")
        assert shown in here("serve", trained, "--token-file", "token", expect=2).stderr
    monkeypatch.setenv("ASD_TOKEN", "é")
    assert "ASD_TOKEN holds" in here("serve", trained, expect=2).stderr
    monkeypatch.delenv("ASD_TOKEN")
    assert "choose another --host" in here("serve", trained, "--host", "nowhere.invalid", expect=2).stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = here("serve", trained, "--port", taken.getsockname()[1], expect=2)
    assert "choose another --host or --port" in done.stderr


def test_a_missing_package_is_one_line(trained: Path, here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asd.serve.app", None)
    assert "pip install 'asd-zoo[serve]'" in here("serve", trained, expect=2).stderr
