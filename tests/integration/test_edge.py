"""The program in a bundle, without torch and asd: the scores of `asd score`, and the events of `asd watch`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import soundfile
import soxr
import torch

from asd.events.event import schema
from asd.inference import Detector
from asd.inference.export import export, verify

RATE = 16000
WITHOUT = ("torch", "asd", "asd_plugins", "lightning", "torchaudio", "scipy", "sklearn", "librosa")
_RUN = """
import runpy, sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def checkpoint(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As trained, but in float32 as a bundle is, and with so many false alarms that there are events."""
    content = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    content["asd"]["config"]["trainer"]["precision"] = "32-true"
    content["asd"]["config"]["model"]["threshold"] = {
        "class_path": "asd.scoring.GammaThreshold",
        "init_args": {"false_alarms": "20%"},
    }
    path: Path = tmp_path_factory.mktemp("single") / "float32.ckpt"
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def detector(checkpoint: Path) -> Detector:
    return Detector.load(checkpoint, false_alarms="20%")


@pytest.fixture(scope="module")
def bundle(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the fan; not to be changed."""
    return export(detector, tmp_path_factory.mktemp("bundle") / "fan", machine="fan").folder


@pytest.fixture(scope="module")
def recordings(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one window and of many, with silence and a fault, short, of other rates and of two channels."""
    folder: Path = tmp_path_factory.mktemp("recordings")
    clips = [soundfile.read(path)[0] for path in sorted((synthetic / "dev_data/raw/fan/test").glob("*.wav"))[:4]]
    day, fault = np.concatenate(clips), 0.3 * np.random.default_rng(0).standard_normal(3 * RATE)
    files = {
        "clip.wav": (clips[0], RATE),
        "short.flac": (clips[1][: RATE // 4], RATE),
        "44.1 kHz.wav": (soxr.resample(day, RATE, 44100), 44100),
        "slow.wav": (soxr.resample(day, RATE, 8000), 8000),
        "stereo.wav": (soxr.resample(np.stack([day, day[::-1]], 1), RATE, 48000), 48000),
        "fault.wav": (np.concatenate([day, fault, day, np.zeros(RATE), day[: RATE // 2]]), RATE),
    }
    for number, (name, (samples, rate)) in enumerate(files.items()):
        soundfile.write(folder / name, samples.clip(-1, 1), rate)
        os.utime(folder / name, (1000 + 100 * number,) * 2)
    return folder


def edge(
    bundle: Path, *arguments: object, without: tuple[str, ...] = WITHOUT, expect: int = 0
) -> tuple[list[dict[str, Any]], str]:
    """What it prints to both, where those packages cannot be imported."""
    command = [sys.executable, "-I", "-c", _RUN, ",".join(without), bundle / "edge.py", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.parametrize("without", [WITHOUT, (*WITHOUT, "soxr")], ids=["soxr", "numpy alone"])
def test_scores_are_those_of_the_detector(
    without: tuple[str, ...], bundle: Path, detector: Detector, recordings: Path
) -> None:
    with warnings.catch_warnings(action="ignore"):
        expected = {one.name: one for one in detector.score_files([recordings], "fan")}
    told, _ = edge(bundle, recordings, without=without, expect=1)
    assert [one["name"] for one in told] == list(expected)
    # Another filter rounds other samples up, of which the score of a faint window tells.
    near = {"rel": 1e-4} if "soxr" not in without else {"rel": 1e-4, "abs": 1e-4}
    for one in told:
        result = expected[one["name"]]
        assert one["score"] == pytest.approx(result.score, **near)
        assert one["decision"] == result.decision
        assert one["threshold"] == pytest.approx(result.threshold)
        assert [window["start"] for window in one["windows"]] == [window.start for window in result.windows]
        scores = [window.score for window in result.windows]
        assert [window["score"] for window in one["windows"]] == pytest.approx(scores, rel=1e-3)
        if "slow" not in one["name"] and "fault" not in one["name"]:
            assert one["remarks"] == list(result.remarks)


def test_events_are_those_of_watch(bundle: Path, checkpoint: Path, here, recordings: Path) -> None:
    options = ("--checkpoint", checkpoint, "--machine", "fan", "--once", "--quiet")
    expected = [json.loads(line) for line in here("watch", recordings, *options, expect=1).stdout.splitlines()]
    told, _ = edge(bundle, "--watch", recordings, "--once", expect=1)
    kinds = ("event_start", "event_end", "file", "unusable")
    ours, theirs = ([one for one in every if one["type"] in kinds] for every in (told, expected))
    assert [(one["type"], one["file"]) for one in ours] == [(one["type"], one["file"]) for one in theirs]
    assert {"event_start", "event_end", "unusable"} < {one["type"] for one in ours}
    for one, other in zip(ours, theirs, strict=True):
        jsonschema.validate(one, schema())
        # Of windows that score alike, but for rounding, either may be the peak.
        near, unknown = {"score", "peak", "peak_time", "threshold", "limits"}, {"p_value", "false_alarms_per_day"}
        shared = {key: other[key] for key in one if key not in near | unknown}
        assert {key: one[key] for key in shared} == shared
        for key in {"score", "peak", "threshold"} & one.keys():
            assert one[key] == pytest.approx(other[key], rel=1e-4)
        if "peak_time" in one:
            assert one["start"] <= one["peak_time"] <= one["end"]
        assert one.get("limits", {}) == pytest.approx(other.get("limits", {}), rel=1e-4)
    jsonschema.validate(told[-1], schema())
    assert told[-1]["events"] == expected[-1]["events"] > 0


def test_the_manifest_tells_what_the_scores_mean(bundle: Path, detector: Detector) -> None:
    manifest = verify(bundle)
    number = detector.section_index("fan")
    limits = detector.judging.usual[number].limits
    assert manifest["limits"] == {"hop": 1.0, "anomalous_above": [limits.alarm], "normal_up_to": [limits.abstain]}
    assert manifest["thresholds"] == [limits.alarm]
    assert manifest["watch"]["false_alarms"] == "20%"
    assert manifest["recorded"][0]["sample_rate"] == [RATE, RATE]
    made = {name: manifest["training"][name] for name in ("encoder", "scorer", "epochs", "precision")}
    assert made == {"encoder": "DualBranchCNN", "scorer": "KMeansScorer", "epochs": 2, "precision": "32-true"}
    assert manifest["training"]["normal_clips"] == [len(detector.model.sections.training_scores(number)[0])]
    page = (bundle / "README.md").read_text()
    assert "pip install onnxruntime numpy soundfile" in page
    assert "1 s at 16000 Hz, 16000 samples" in page


def test_bundles_that_were_changed_or_are_older_are_refused(bundle: Path, recordings: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "bundle")
    clip, manifest = recordings / "clip.wav", json.loads((bundle / "manifest.json").read_text())
    older = {key: value for key, value in manifest.items() if key not in ("limits", "watch", "aggregate", "recorded")}
    (tmp_path / "bundle/manifest.json").write_text(json.dumps(older))
    assert verify(tmp_path / "bundle") == older, "which is whole all the same"
    _, said = edge(tmp_path / "bundle", clip, expect=2)
    assert "is no bundle, or one of another asd; export it again (KeyError: 'watch')" in said
    (tmp_path / "bundle/manifest.json").unlink()
    _, said = edge(tmp_path / "bundle", clip, expect=2)
    assert "is no bundle, or one of another asd; export it again (FileNotFoundError" in said
    shutil.copy(bundle / "manifest.json", tmp_path / "bundle")
    with (tmp_path / "bundle/model.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff")
    _, said = edge(tmp_path / "bundle", clip, expect=2)
    assert said.startswith("edge.py: error: ")
    assert "its checksum differs; export it again" in said
    assert len(said.splitlines()) == 1
