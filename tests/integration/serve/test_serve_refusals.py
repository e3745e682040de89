"""What the service refuses, in one line, and stays up."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from asd.inference import Detector
from asd.serve import limits
from asd.serve.limits import Limits
from asd.serve.service import Service
from tests.integration.serve.client import RATE, Started, form, running, sound, until


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
    "constant": (lambda: sound(np.full(RATE, 0.25)), 422, "constant, every sample is 0.25 of full scale"),
    "clipped": (lambda: sound(np.sign(np.sin(np.arange(RATE) + 0.5))), 422, "nothing but clipping"),
    "short": (lambda: sound(np.sin(np.arange(RATE // 20))), 422, "too short to judge, 0.05 s"),
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


@pytest.mark.parametrize(
    "samples", [0.25 + np.sin(np.arange(RATE)) / 100, np.sin(np.arange(RATE // 10) / 9) / 2], ids=["dc", "0.1 s"]
)
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
    assert "one of bearing, fan" in found["error"]
    assert "bool" in started.ask("/score?machine=fan&explain=perhaps", sent)[1]["error"]
    sent, headers = form(b"x", field="other")
    assert "no field `file`" in started.ask("/score?machine=fan", sent, headers)[1]["error"]
    assert started.ask("/manual.html")[0] == started.ask("/page.js/../../app.py")[0] == 404


def test_names_in_odd_charsets(started: Started, clips: list[Path]) -> None:
    body, headers = form(clips[0].read_bytes(), "\\ud800 a.wav")
    for charset, status, name in (
        ("unicode_escape", 200, "? a.wav"),
        ("undefined", 400, ""),
        ("none", 200, "\\ud800 a.wav"),
    ):
        kind = f"{headers['Content-Type']}; charset={charset}"
        found = started.ask("/score?machine=fan", body, {"Content-Type": kind})
        assert (found[0], found[1].get("name", "")) == (status, name)


def test_ten_gigabytes_are_refused_before_they_come(started: Started) -> None:
    before = started.most_memory()
    with started.begin(b"", said=10_000_000_000) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    with socket.create_connection(("127.0.0.1", started.port), timeout=30) as connection:
        connection.sendall(b"POST /score?machine=fan HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
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
                begin = f"POST /score?machine=fan HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {len(content)}"
                connection.sendall(f"{begin}\r\n\r\n".encode() + content[:5_400_000])
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
