"""Whatever `asd watch` writes has the form that the schema tells, and is known again after a restart."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import soundfile

from asd.events.event import NOT_DELIVERED, VERSION, schema
from tests.integration.pump import RATE, hum, knowing

Watched = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def detector(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that knows a pump."""
    return knowing(trained, tmp_path_factory.mktemp("pump"))


@pytest.fixture
def watched(detector: Path, here) -> Watched:
    """What is written about a source; every line of it is valid."""
    validator = jsonschema.Draft202012Validator(schema(), format_checker=jsonschema.FormatChecker())

    def run(source: object, *more: object, expect: int = 1) -> list[dict[str, Any]]:
        options = ["--checkpoint", detector, "--machine", "pump", "--quiet", *more]
        told = [json.loads(line) for line in here("watch", source, *options, expect=expect).stdout.splitlines()]
        for event in told:
            validator.validate(event)
        assert len({one["id"] for one in told}) == len(told)
        return told

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two normal files, one with a fault, and one that is none."""
    place = tmp_path / "live"
    place.mkdir()
    for name, sound in {"a": hum(50, 4), "b": hum(51, 4, 0.2), "c": hum(52, 4)}.items():
        soundfile.write(place / f"{name}.wav", sound, RATE)
    (place / "broken.wav").write_text("no sound")
    return place


def test_the_schema_is_one_and_every_type_has_its_part() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    kinds = schema()["properties"]["type"]["enum"]
    assert [part["if"]["properties"]["type"]["const"] for part in schema()["allOf"]] == kinds
    assert set(kinds) >= NOT_DELIVERED
    assert schema()["properties"]["version"]["const"] == VERSION
    assert schema()["$id"] == f"urn:asd:event:{VERSION}"


def test_a_stream_with_a_fault_and_a_dead_stretch(watched: Watched, tmp_path: Path) -> None:
    parts = [hum(50, 6), hum(51, 8, 0.2), hum(52, 6), np.zeros(4 * RATE), hum(53, 4)]
    soundfile.write(tmp_path / "day.wav", np.concatenate(parts), RATE)
    told = watched(tmp_path / "day.wav", "--speed", "0", "--scores", "--explain", "--clips", tmp_path / "clips")
    kinds = {one["type"] for one in told}
    assert kinds == {"score", "event_start", "event_end", "source", "unusable", "summary"}
    assert [(one["state"], bool(one["reason"])) for one in told if one["type"] == "source"] == [
        ("silent", True), ("heard", False),
    ]  # fmt: skip
    start, end = (next(one for one in told if one["type"] == kind) for kind in ("event_start", "event_end"))
    assert start["score"] > start["limits"]["alarm"] == start["threshold"]
    assert end["peak"] >= end["score"] == start["score"]
    assert 0 < end["p_value"] <= 1
    low, high = end["explanation"]["band_hz"]
    assert low < 3100 * 1.2 and high > 3100 / 1.2
    assert 6 <= end["explanation"]["span_s"][0] < 15
    # The clip holds the event and what was before it, and nothing else.
    clip, rate = soundfile.read(end["clip"])
    assert rate == RATE
    assert len(clip) / RATE == pytest.approx(end["end"] - start["start"] + 5, abs=1.6)
    whole = soundfile.read(tmp_path / "day.wav")[0]
    begin = round((start["start"] - 5) * RATE)
    assert np.abs(clip - whole[begin : begin + len(clip)]).max() < 2 / 32768


def test_files_of_a_folder_are_judged_once_also_after_a_restart(watched: Watched, folder: Path, tmp_path: Path) -> None:
    first = watched(folder, "--once", "--state", tmp_path / "state")
    assert {one["type"] for one in first} >= {"file", "event_start", "event_end", "unusable", "summary"}
    (end,) = [one for one in first if one["type"] == "event_end"]
    assert Path(end["clip"]) == folder / "b.wav"
    assert [one["type"] for one in watched(folder, "--once", "--state", tmp_path / "state", expect=0)] == ["summary"]
    soundfile.write(folder / "d.wav", hum(54, 4), RATE)
    again = watched(folder, "--once", "--state", tmp_path / "state", expect=0)
    assert [one["file"] for one in again if one["type"] == "file"] == ["d.wav"]


def test_a_file_that_is_judged_again_gives_events_of_the_same_ids(watched: Watched, folder: Path) -> None:
    def ids(told: list[dict[str, Any]]) -> dict[str, str]:
        return {f"{one['type']} {one['file']}": one["id"] for one in told if "file" in one}

    first = ids(watched(folder, "--once"))
    (folder / "a.wav").unlink()
    second = ids(watched(folder, "--once"))
    assert len(second) == len(first) - 1
    assert second.items() <= first.items()


def test_a_stream_that_is_heard_again_is_another(watched: Watched, folder: Path) -> None:
    one, other = (watched(folder / "b.wav", "--speed", "0", "--event", "1/1") for _ in range(2))
    assert not {event["id"] for event in one} & {event["id"] for event in other}


def test_drift_commissioning_and_remarks_have_their_form(watched: Watched, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "slow.wav", hum(60, 90, 0.2), RATE)
    told = watched(tmp_path / "slow.wav", "--speed", "0", "--event", "170/170")
    assert "drift" in {one["type"] for one in told}
    soundfile.write(tmp_path / "loud.wav", np.clip(4 * hum(61, 60), -1, 1), RATE)
    told = watched(tmp_path / "loud.wav", "--speed", "0", "--commission", "40s", "--event", "35/35", expect=0)
    assert [one["type"] for one in told] == ["remark", "commissioned", "summary"], "a remark once for a stream"


def test_figures_are_served_while_it_listens(detector: Path, folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    from asd.cli import main

    before = set(threading.enumerate())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    read = list[str]()
    from asd.inference import stream

    usual = stream.from_file

    def last_of(*given: Any) -> Any:
        yield from usual(*given)
        with urllib.request.urlopen(f"http://{address}/metrics") as answer:
            read.extend(answer.read().decode().splitlines())

    monkeypatch.setattr(stream, "from_file", last_of)
    options = ["--checkpoint", str(detector), "--machine", "pump", "--speed", "0", "--metrics", address]
    assert main(["watch", str(folder / "b.wav"), *options]) == 1
    assert 'asd_watch_anomalous{machine="pump_section_00",source="b"} 1.0' in read
    assert [line for line in read if line.startswith("asd_watch_windows_total{")]
    assert not [thread for thread in set(threading.enumerate()) - before if "model" in thread.name]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is no source and no checkpoint; give SOURCE and --checkpoint, or --config"),
        (["CLIP"], "there is no checkpoint"),
        (["CLIP", "--checkpoint", "CKPT", "--machine", "pump", "--name", "a/b"], "use letters, digits, - and _"),
        (["CLIP", "--checkpoint", "CKPT", "--machine", "pump", "--mqtt", "mqtt://a:secret@b/c"], "holds a password"),
        (["CLIP", "--checkpoint", "CKPT", "--machine", "pump", "--metrics", "9108"], "give host and port"),
        (["CLIP", "--checkpoint", "CKPT", "--machine", "pump", "--clips-mb", "0"], "must be above 0"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(arguments: list[str], said: str, detector: Path, folder: Path, here) -> None:
    places = {"CLIP": folder / "a.wav", "CKPT": detector}
    done = here("watch", *(places.get(one, one) for one in arguments), expect=2)
    assert said in done.stderr and len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr


def test_two_on_one_state_are_told_in_a_line(detector: Path, folder: Path, tmp_path: Path, here) -> None:
    from asd.events.state import State

    first = State(tmp_path / "state")
    options = ["--checkpoint", detector, "--machine", "pump", "--once", "--state", tmp_path / "state"]
    done = here("watch", folder, *options, expect=2)
    assert "is in use by another `asd watch`" in done.stderr and len(done.stderr.splitlines()) == 1
    first.close()
