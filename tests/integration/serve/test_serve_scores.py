"""Scores over HTTP are those of `asd score`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.inference import Detector
from asd.serve.limits import Limits
from asd.serve.service import Service
from tests.integration.serve.client import RATE, Started, form, machine_of, running, sound


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
