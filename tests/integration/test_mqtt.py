"""Events by MQTT, through a broker that comes, goes, and asks for a password or trusts nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import soundfile

from asd.events.event import schema
from tests.integration.broker import Broker, Subscriber, needs_broker, until
from tests.integration.pump import RATE, hum, knowing

pytestmark = needs_broker


@pytest.fixture(scope="module")
def detector(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that knows a pump."""
    return knowing(trained, tmp_path_factory.mktemp("pump"))


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """Quiet, a fault, quiet."""
    soundfile.write(tmp_path / "day.wav", np.concatenate([hum(50, 6), hum(51, 8, 0.2), hum(52, 8)]), RATE)
    return tmp_path / "day.wav"


@pytest.fixture
def quiet(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "quiet.wav", hum(53, 6), RATE)
    return tmp_path / "quiet.wav"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "broker").mkdir()
    return tmp_path / "broker"


@pytest.fixture
def broker(folder: Path) -> Iterator[Broker]:
    broker = Broker(folder)
    broker.start()
    yield broker
    broker.stop()


def watch(source: Path, detector: Path, port: int, *more: object, secure: str = "", user: str = "") -> list[object]:
    url = f"mqtt{secure}://{user}127.0.0.1:{port}/plant/hall"
    options = ["--checkpoint", detector, "--machine", "pump", "--speed", "0", "--name", "pump_7", "--mqtt", url]
    return ["watch", source, *options, *more]


def test_events_states_and_sensors_are_published(broker: Broker, detector: Path, day: Path, here) -> None:
    listening = Subscriber(broker.port)
    done = here(*watch(day, detector, broker.port, "--explain"), expect=1)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    until(lambda: listening.under("hall/status")[-1:] == ["offline"], "the end is told")
    assert listening.under("/pump_7/event") == told
    assert [one["type"] for one in told] == ["event_start", "event_end", "summary"]
    for event in told:
        jsonschema.validate(event, schema())
    assert told[1]["explanation"]["band_hz"][0] < told[1]["explanation"]["band_hz"][1]
    assert [one["sound"] for one in listening.under("/pump_7/state")] == ["normal", "anomalous", "normal"]
    assert len(listening.under("/config")) == 2
    listening.close()
    late = Subscriber(broker.port, "late")
    until(lambda: len(late.messages) >= 4, "what is retained comes to whoever asks later")
    assert late.under("/pump_7/state")[0]["id"] == told[1]["id"]
    assert late.under("hall/status") == ["offline"]
    assert not late.under("/event")
    late.close()


def test_what_a_broker_that_is_away_misses_comes_after_a_restart(
    folder: Path, detector: Path, day: Path, quiet: Path, tmp_path: Path, here
) -> None:
    broker = Broker(folder)
    kept = ("--state", tmp_path / "state", "--quiet")
    done = here(*watch(day, detector, broker.port, *kept), expect=1)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("not delivered (Connection refused); it is tried again")
    assert lines[1].endswith("3 events not delivered, kept for the next start")
    broker.start()
    try:
        listening = Subscriber(broker.port)
        told += [json.loads(line) for line in here(*watch(quiet, detector, broker.port, *kept)).stdout.splitlines()]
        until(lambda: len(listening.under("/event")) >= 4, "all comes")
        assert listening.under("/event") == told
        assert len({one["id"] for one in told}) == 4
        listening.close()
    finally:
        broker.stop()


def test_a_wrong_password_is_said_and_listening_goes_on(
    folder: Path, detector: Path, day: Path, tmp_path: Path, here, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = folder / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "asd", "right"], check=True, capture_output=True)
    users.chmod(0o600)
    broker = Broker(folder, f"allow_anonymous false\npassword_file {users}")
    broker.start()
    try:
        kept = ("--state", tmp_path / "state", "--quiet")
        monkeypatch.setenv("ASD_MQTT_PASSWORD", "wrong")
        wrong = here(*watch(day, detector, broker.port, *kept, user="asd@"), expect=1)
        assert "not delivered (Not authorized; check user and password); it is tried again" in wrong.stderr
        assert len(wrong.stdout.splitlines()) == 3
        (tmp_path / "password").write_text("right\n")
        more = (*kept, "--mqtt-password-file", tmp_path / "password")
        right = here(*watch(day, detector, broker.port, *more, user="asd@"), expect=1)
        assert right.stderr == ""
    finally:
        broker.stop()


def test_a_broker_that_nobody_vouches_for_is_not_trusted(
    folder: Path, detector: Path, day: Path, tmp_path: Path, here
) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/own.pem"]
    subprocess.run(made, check=True, capture_output=True)
    broker = Broker(folder, f"allow_anonymous true\ncertfile {folder}/own.pem\nkeyfile {folder}/key.pem")
    broker.start()
    try:
        kept = ("--state", tmp_path / "state", "--quiet")
        wrong = here(*watch(day, detector, broker.port, *kept, secure="s"), expect=1)
        assert "certificate verify failed" in wrong.stderr
        assert "3 events not delivered, kept for the next start" in wrong.stderr
        right = here(*watch(day, detector, broker.port, *kept, "--mqtt-ca", folder / "own.pem", secure="s"), expect=1)
        assert right.stderr == ""
    finally:
        broker.stop()


def test_the_broker_tells_of_a_watch_that_is_killed(broker: Broker, detector: Path, tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    listening = Subscriber(broker.port)
    arguments = watch(tmp_path / "live", detector, broker.port, "--quiet")
    process = subprocess.Popen([sys.executable, "-m", "asd", *map(str, arguments)], stdout=subprocess.DEVNULL)
    until(lambda: listening.under("hall/status") == ["online"], "it is there")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: listening.under("hall/status") == ["online", "offline"], "its last will")
    listening.close()
