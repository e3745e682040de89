"""`asd watch --config`: several sources and machines in one process, which come and go by themselves."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import jsonschema
import numpy as np
import pytest
import soundfile
import yaml

from asd.events.event import schema
from tests.ffmpeg import needs_ffmpeg
from tests.integration.broker import until
from tests.integration.pump import RATE, hum, knowing


def pcm(sound: np.ndarray) -> bytes:
    return (sound * 32767).astype("<i2").tobytes()


@pytest.fixture(scope="module")
def detector(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that knows a pump beside its fan."""
    return knowing(trained, tmp_path_factory.mktemp("pump"))


def plant(folder: Path, detector: Path, sources: dict[str, dict[str, Any]], **more: Any) -> Path:
    path = folder / "plant.yaml"
    path.write_text(yaml.safe_dump({"checkpoint": str(detector), "sources": sources, **more}))
    return path


def valid(text: str) -> list[dict[str, Any]]:
    told = [json.loads(line) for line in text.splitlines()]
    validator = jsonschema.Draft202012Validator(schema())
    for event in told:
        validator.validate(event)
    assert len({one["id"] for one in told}) == len(told)
    return told


def writing(path: Path) -> IO[bytes]:
    """A named pipe, once somebody reads it."""
    found: list[int] = []

    def opened() -> list[int]:
        with contextlib.suppress(OSError):
            found.append(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        return found

    until(opened, "the pipe is read")
    os.set_blocking(found[0], True)
    return os.fdopen(found[0], "wb")


class Watch:
    """The program in a process of its own, until it is told to end."""

    def __init__(self, config: Path) -> None:
        self._out = config.with_suffix(".out")
        with self._out.open("w") as out:
            command = [sys.executable, "-m", "asd", "watch", "--config", str(config), "--scores"]
            # Tests that run in the background of a shell are deaf to SIGINT, and so would the program be.
            usual = signal.signal(signal.SIGINT, signal.default_int_handler)
            self._process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True)
            signal.signal(signal.SIGINT, usual)

    def told(self, **wanted: Any) -> list[dict[str, Any]]:
        """What it told so far, of that kind; a line that is not whole yet is left."""
        lines = self._out.read_text().splitlines(keepends=True)
        told = [json.loads(line) for line in lines if line.endswith("\n")]
        return [one for one in told if wanted.items() <= one.items()]

    def end(self, by: signal.Signals) -> tuple[int, str]:
        """Exit code, and what it said to people."""
        self._process.send_signal(by)
        error = self._process.communicate(timeout=60)[1]
        return self._process.returncode, error


@pytest.fixture
def watching() -> Iterator[list[Watch]]:
    started: list[Watch] = []
    yield started
    for one in started:
        one._process.kill()
        one._process.wait()


def test_sources_of_two_machines_are_judged_by_one_model(detector: Path, synthetic: Path, tmp_path: Path, here) -> None:
    (tmp_path / "pumps").mkdir()
    for name, fault in {"a": 0.0, "b": 0.2}.items():
        soundfile.write(tmp_path / f"pumps/{name}.wav", hum(50, 4, fault), RATE)
    shutil.copytree(synthetic / "dev_data/raw/fan/train", tmp_path / "fans")
    soundfile.write(tmp_path / "shift.wav", np.concatenate([hum(51, 6), hum(52, 6, 0.2), hum(53, 6)]), RATE)
    sources = {
        "pump_1": {"folder": "pumps", "machine": "pump"},
        "fan_1": {"folder": "fans", "machine": "fan"},
        "pump_2": {"file": "shift.wav", "machine": "pump", "speed": 0},
    }
    config = plant(tmp_path, detector, sources, clips="clips")
    done = here("watch", "--config", config, "--once", "--quiet", expect=1)
    told = valid(done.stdout)
    assert {one["source"]: one["machine"] for one in told} == {
        "pump_1": "pump_section_00", "fan_1": "fan_section_00", "pump_2": "pump_section_00",
    }  # fmt: skip
    files = [one for one in told if one["type"] == "file"]
    assert {one["file"]: one["decision"] for one in files if one["source"] == "pump_1"} == {
        "a.wav": "normal", "b.wav": "anomalous",
    }  # fmt: skip
    assert sum(one["source"] == "fan_1" for one in files) == len(list((tmp_path / "fans").iterdir()))
    (end,) = [one for one in told if one["type"] == "event_end" and one["source"] == "pump_2"]
    assert Path(end["clip"]).parent == tmp_path / "clips"
    assert (tmp_path / "plant.state/watch.sqlite").is_file()

    again = valid(here("watch", "--config", config, "--once", "--quiet", expect=1).stdout)
    assert not [one for one in again if one["type"] == "file"], "none is judged again after a restart"


@needs_ffmpeg
def test_sources_come_back_by_themselves_and_the_end_is_told(
    detector: Path, tmp_path: Path, watching: list[Watch]
) -> None:
    os.mkfifo(tmp_path / "line")
    sources = {
        "line": {"pipe": "line", "machine": "pump", "stall": 2},
        "camera": {"url": str(tmp_path / "camera.wav"), "machine": "pump"},
        "recorder": {"folder": "live", "machine": "pump", "poll": 0.2},
    }
    watching.append(watch := Watch(plant(tmp_path, detector, sources)))
    until(lambda: len(watch.told(state="away")) == 2, "what is not there is told")
    (tmp_path / "live").mkdir()
    soundfile.write(tmp_path / "live/a.wav", hum(50, 4), RATE)
    soundfile.write(tmp_path / "camera.wav", hum(51, 4), RATE)
    with writing(tmp_path / "line") as pipe:
        pipe.write(pcm(hum(52, 4)))
        pipe.flush()
        until(lambda: watch.told(state="stalled", source="line"), "nobody writes any more")
        pipe.write(pcm(hum(53, 3)))
        pipe.flush()
        until(lambda: watch.told(state="heard", source="line"), "and then again")
    until(lambda: watch.told(state="away", source="line"), "the writer has gone")
    until(lambda: watch.told(type="file", source="recorder"), "the folder has come")
    until(lambda: watch.told(type="score", source="camera"), "so has the camera")
    assert watch.told(state="heard", source="recorder")
    shutil.rmtree(tmp_path / "live")
    until(lambda: len(watch.told(state="away", source="recorder")) == 2, "the folder has gone")
    code, said = watch.end(signal.SIGTERM)
    assert code == 0, said
    assert "Traceback" not in said
    assert {one["source"] for one in watch.told(type="summary")} == set(sources)
    valid("".join(json.dumps(one) + "\n" for one in watch.told()))
    assert any("line: is stalled: no sound for 2 s" in line for line in said.splitlines())


def test_what_is_killed_goes_on_where_it_was(detector: Path, tmp_path: Path, watching: list[Watch]) -> None:
    (tmp_path / "live").mkdir()
    config = plant(tmp_path, detector, {"recorder": {"folder": "live", "machine": "pump", "poll": 0.2}})
    files = []
    for start in range(2):
        watching.append(watch := Watch(config))
        for number in range(2):
            soundfile.write(tmp_path / f"live/{start}{number}.wav", hum(number, 4), RATE)
        until(lambda told=watch.told: len(told(type="file")) == 2, "both are judged")
        until(lambda: not list(tmp_path.glob("plant.state/*-journal")), "and that is kept")
        files += [one["file"] for one in watch.told(type="file")]
        code, _ = watch.end(signal.SIGINT if start else signal.SIGTERM)
        assert code == (130 if start else 0)
    assert files == ["00.wav", "01.wav", "10.wav", "11.wav"]


def test_a_source_that_fails_beyond_mending_ends_the_program(
    detector: Path, tmp_path: Path, here, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asd.inference import Detector

    def broken(*_: object) -> list[float]:
        raise MemoryError("no more")

    monkeypatch.setattr(Detector, "score_windows", broken)
    soundfile.write(tmp_path / "a.wav", hum(50, 4), RATE)
    config = plant(tmp_path, detector, {"a": {"file": "a.wav", "machine": "pump", "speed": 0}})
    assert "out of memory (no more)" in here("watch", "--config", config, expect=2).stderr
    assert not [one for one in threading.enumerate() if one.name == "a"]


@pytest.mark.parametrize(
    ("sources", "arguments", "said"),
    [
        ({"a": {"file": "a.wav", "machine": "pomp"}}, [], "Did you mean pump?"),
        ({"a": {"fil": "a.wav"}}, [], "plant.yaml: sources: a: no option 'fil'. Did you mean file?"),
        ({"a": {"pipe": "-", "machine": "pump"}}, [], "name a pipe"),
        ({"a": {"file": "a.wav"}}, ["--machine", "pump"], "--config has sources of its own; leave out machine"),
        ({"a": {"file": "a.wav", "machine": "pump"}}, ["--event", "many"], "give so many of so many"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    sources: dict[str, dict[str, Any]], arguments: list[str], said: str, detector: Path, tmp_path: Path, here
) -> None:
    done = here("watch", "--config", plant(tmp_path, detector, sources), *arguments, expect=2)
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_file_that_is_not_there_is_said_and_the_others_go_on(detector: Path, tmp_path: Path, here) -> None:
    soundfile.write(tmp_path / "b.wav", hum(50, 4), RATE)
    both = {name: {"file": f"{name}.wav", "machine": "pump", "speed": 0} for name in "ab"}
    done = here("watch", "--config", plant(tmp_path, detector, both), "--quiet")
    (line,) = done.stderr.splitlines()
    assert line.startswith("asd: warning: a: ") and "no such file" in line
    assert [one["source"] for one in valid(done.stdout)] == ["b"]
