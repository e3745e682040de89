"""`edge.py` beside a model that scores by loudness: machines, limits, events, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
import torch
from onnx import TensorProto, helper

from asd.inference.bundle import edge, readme
from asd.inference.edge import Bundle, Monitor, Unusable, Watcher, new_files, recordings, score
from asd.inference.monitor import Monitor as TorchMonitor
from asd.inference.monitor import Rules

RATE = 8000
MACHINES = ["fan_section_00", "pump_section_00", "pump_section_01"]


def write(folder: Path, machines: int = 3, **more: Any) -> Path:
    """A bundle whose score is the mean magnitude, plus the machine's number."""
    folder.mkdir()
    values = [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", RATE])]
    nodes = [
        helper.make_node("Abs", ["waveform"], ["magnitude"]),
        helper.make_node("ReduceMean", ["magnitude"], ["loudness" if machines > 1 else "score"], axes=[1], keepdims=0),
    ]
    if machines > 1:
        values.append(helper.make_tensor_value_info("machine", TensorProto.INT64, ["batch"]))
        nodes.append(helper.make_node("Cast", ["machine"], ["number"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Add", ["loudness", "number"], ["score"]))
    out = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"])
    model = helper.make_model(
        helper.make_graph(nodes, "loudness", values, [out]), opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    onnx.save(model, folder / "model.onnx")
    limits = {"anomalous_above": [0.2 + n for n in range(machines)], "normal_up_to": [0.1 + n for n in range(machines)]}
    manifest = {
        "file": "model.onnx",
        "sha256": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest(),
        "sample_rate": RATE, "seconds": 1.0, "pad": "repeat", "channels": "mean", "nothing_above_hz": None,
        "machines": MACHINES[:machines], "limits": {"hop": 1.0, **limits}, "aggregate": "mean",
        "watch": {"hop": 0.5, **limits, "smooth": 1, "needed": 2, "among": 3},
        "recorded": [None] * machines,
        **more,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "edge.py").write_text(edge())
    return folder


def noise(level: float, seconds: float = 1.0) -> np.ndarray:
    return level * np.sign(np.random.default_rng(0).standard_normal(round(RATE * seconds)))


def record(path: Path, *parts: np.ndarray, at: float | None = None) -> Path:
    soundfile.write(path, np.concatenate(parts), RATE, subtype="FLOAT")
    if at is not None:
        os.utime(path, (at, at))
    return path


def run(bundle: Path, *arguments: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(bundle / "edge.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def test_limits_and_scores_are_those_of_the_machine(tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle")
    for level, decision in ((0.05, "normal"), (0.15, "uncertain"), (0.25, "anomalous")):
        path = record(tmp_path / "a.wav", noise(level))
        for number, machine in enumerate(("fan", "pump_section_00", "pump_section_01")):
            told = score(path, Bundle(bundle, machine))
            assert told["score"] == pytest.approx(level + number, abs=1e-3)
            assert told["decision"] == decision
            assert (told["threshold"], told["machine"]) == (0.2 + number, MACHINES[number])
    for machine in ("pump", None, "fen"):
        with pytest.raises(Unusable, match=r"name one machine \(--machine\) of fan_section_00, pump_section_00"):
            Bundle(bundle, machine)


def test_a_recording_is_scored_by_its_windows(tmp_path: Path) -> None:
    path = record(tmp_path / "a.wav", noise(0.1), noise(0), noise(0.3))
    for aggregate, expected in (("mean", 0.2), ("max", 0.3)):
        told = score(path, Bundle(write(tmp_path / aggregate, 1, aggregate=aggregate), None))
        assert told["score"] == pytest.approx(expected, abs=1e-3)
        assert [(one["start"], one["anomalous"]) for one in told["windows"]] == [(0.0, False), (2.0, True)]
        assert told["remarks"] == [
            "1 of 3 windows are unusable and left out, the first at 1 s: silent, every sample is zero"
        ]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"sha256": "0"}, "its checksum differs; export it again"),
        ({"file": "other.onnx"}, "is no bundle, or one of another asd"),
        ({"channels": "near_minus_far"}, "knows no channels 'near_minus_far'"),
        ({"limits": {"hop": 1.0, "anomalous_above": [float("nan")], "normal_up_to": [0.1]}}, "a limit is not finite"),
        ({"watch": None}, "the bundle has no limits for watching"),
        ({"recorded": []}, "is no bundle, or one of another asd"),
    ],
)
def test_what_bundles_are_refused(change: dict[str, Any], why: str, tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle", 1, **change)
    with pytest.raises(Unusable, match=why):
        Bundle(bundle, None, watch="watch" in change)


def test_the_program_says_all_in_lines_and_by_its_exit_code(tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle", 1)
    (tmp_path / "recordings/.hidden").mkdir(parents=True)
    record(tmp_path / "recordings/a.wav", noise(0.05))
    record(tmp_path / "recordings/.hidden/b.wav", noise(0.05))
    told = json.loads(run(bundle, tmp_path / "recordings").stdout)
    assert (Path(told["name"]).name, told["decision"]) == ("a.wav", "normal")
    loud = record(tmp_path / "recordings/c.wav", noise(0.5))
    assert len(run(bundle, tmp_path / "recordings", expect=1).stdout.splitlines()) == 2
    record(tmp_path / "recordings/b\x1b\n.wav", noise(0))
    done = run(bundle, tmp_path / "recordings", loud, expect=2)
    assert len(done.stdout.splitlines()) == 3, "the others are judged all the same"
    assert done.stderr.endswith("b\\x1b .wav: silent, every sample is zero; check the sensor\n")
    assert len(done.stderr.splitlines()) == 1
    for arguments in ((), (loud, "--watch", tmp_path), ("--watch", tmp_path / "absent"), (loud, "--machine", "fen")):
        done = run(bundle, *arguments, expect=2)
        assert not [line for line in done.stdout.splitlines() if json.loads(line)["type"] != "summary"]
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("edge.py: error: ")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle", 1)
    code = "import runpy, sys; sys.modules['onnxruntime'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code, bundle / "edge.py"], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.endswith("; pip install onnxruntime numpy soundfile\n")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("seed", range(5))
def test_events_are_those_of_the_monitor(seed: int) -> None:
    rules = Rules(smooth=3, needed=2, among=4)
    told: list[dict[str, Any]] = []
    ours = Monitor(0.5, {"smooth": 3, "needed": 2, "among": 4}, told.append)
    other = TorchMonitor(0.5, torch.empty(0), 1.0, rules)
    expected: list[dict[str, Any]] = []
    rng = np.random.default_rng(seed)
    # Files overlap: those that were copied together have the same time.
    for at, value in enumerate(np.cumsum(rng.standard_normal(200)) * 0.3 + 0.5):
        moment = float(at % 40 + at // 40)
        if at % 40 == 0:
            ours.gap(moment + 30)
            expected += other.gap(moment + 30)
        ours.push(moment, value)
        expected += other.push(moment, value)
    assert told == expected
    assert len(told) > 3


def test_files_of_a_folder_become_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, folder = write(tmp_path / "bundle", 1), tmp_path / "folder"
    folder.mkdir()
    record(folder / "b.wav", noise(0.05), noise(0.5, 2), noise(0.05, 2), at=1010)
    record(folder / "a.wav", noise(0.05), at=1020)
    record(folder / "c.wav", noise(0.25), at=1030)
    (folder / "d.wav").write_text("no sound\n")
    assert Watcher(Bundle(bundle, None, watch=True), folder).run(follow=False) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one.get("file"), one["type"]) for one in told] == [
        ("b.wav", "event_start"), ("b.wav", "event_end"), ("b.wav", "file"), ("a.wav", "file"),
        ("c.wav", "event_start"), ("c.wav", "event_end"), ("c.wav", "file"), ("d.wav", "unusable"), (None, "summary"),
    ]  # fmt: skip
    assert [one["decision"] for one in told if one["type"] == "file"] == ["anomalous", "normal", "anomalous"]
    assert [told[1][key] for key in ("start", "end", "peak_time")] == [1005.5, 1009.0, 1006.0]
    assert (told[4]["start"], told[5]["end"], told[5]["peak"]) == (1029.0, 1030.0, pytest.approx(0.25, abs=1e-3))
    assert told[-1]["events"] == 2
    for path in folder.glob("[abc].wav"):
        path.unlink()
    with pytest.raises(Unusable, match="none of 1 files could be judged"):
        Watcher(Bundle(bundle, None, watch=True), folder).run(follow=False)


def test_an_event_ends_with_a_file_that_breaks_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, folder = Bundle(write(tmp_path / "bundle", 1), None, watch=True), tmp_path / "folder"
    folder.mkdir()
    record(folder / "a.wav", noise(0.5, 3))
    scores = iter([0.5, 0.5, 0.5])

    def scored(_: np.ndarray) -> float:
        for one in scores:
            return one
        raise Unusable("cut short")

    monkeypatch.setattr(bundle, "score", scored)
    assert Watcher(bundle, folder).run(follow=False) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["type"] for one in told] == ["event_start", "unusable", "event_end", "summary"]


def test_a_file_that_goes_while_it_is_listed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = record(tmp_path / "a.wav", noise(0.1))
    lists = iter([[tmp_path / "gone.wav", path], [path]])
    monkeypatch.setattr("asd.inference.edge.recordings", lambda _: next(lists))
    assert list(new_files(tmp_path, follow=False)) == [path]


def test_files_are_followed_once_they_have_stopped_growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = record(tmp_path / "a.wav", noise(0.1), at=1000), tmp_path / "b.wav", tmp_path / "c.wav"

    def at_the_same_time() -> None:
        moment = second.stat().st_mtime_ns
        record(third, noise(0.1))
        os.utime(third, ns=(moment, moment))

    grows = [lambda: second.write_bytes(b"RIFF"), lambda: second.write_bytes(b"RIFF....")]
    steps = iter([*grows, lambda: None, at_the_same_time, lambda: None])
    monkeypatch.setattr("asd.inference.edge.time.sleep", lambda _: next(steps)())
    files = new_files(tmp_path, follow=True)
    assert [next(files) for _ in range(3)] == [first, second, third]
    with pytest.raises((StopIteration, RuntimeError)):
        next(files)
    assert recordings(tmp_path) == [first, second, third]


def test_the_bundle_gets_one_file_that_imports_nothing_of_asd() -> None:
    text = edge()
    assert "from asd" not in text
    assert "import asd" not in text
    compile(text, "edge.py", "exec")


def test_the_page_names_the_machine_as_a_shell_takes_it(tmp_path: Path) -> None:
    for machines, said in ((["my fan", "pump"], "recording.wav --machine 'my fan'\n"), (["my fan"], "recording.wav\n")):
        manifest = json.loads((write(tmp_path / str(len(machines)), 1) / "manifest.json").read_text())
        assert said in readme({**manifest, "version": "1", "machines": machines})
