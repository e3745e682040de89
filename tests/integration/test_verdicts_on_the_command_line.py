"""Budgets, calibration, commissioning, feedback and false discovery rates, as a user asks for them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.inference import Detector
from tests.quick import QUICK

RATE = 16000


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run that may be written into."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def fan(synthetic: Path, tmp_path: Path) -> Path:
    """Eight clips of the fan, quieter and with a hum: another place."""
    folder = tmp_path / "place"
    folder.mkdir()
    for number, clip in enumerate(sorted((synthetic / "dev_data/raw/fan/test").iterdir())[:8]):
        samples, rate = soundfile.read(clip)
        hum = 0.05 * np.sin(2 * np.pi * 100 * np.arange(len(samples)) / rate)
        soundfile.write(folder / f"{number}.wav", samples / 2 + hum, rate)
    return folder


def threshold(checkpoint: Path) -> float:
    detector = Detector.load(checkpoint)
    return detector.model.sections.limits(detector.section_index("fan")).alarm


def test_calibrate_says_what_it_did_and_what_so_few_recordings_promise(
    here, run: Path, fan: Path, tmp_path: Path
) -> None:
    done = here("calibrate", run, fan, "--machine", "fan", "--false-alarms", "1/week", "--out", "new.ckpt")
    lines = done.stdout.splitlines()
    assert lines[0] == "fan: 8 recordings, 8 windows; references from now on"
    assert lines[1].startswith(f"threshold {threshold(run):.6g} before; false alarms: ")
    assert lines[2].startswith(f"threshold {threshold(tmp_path / 'new.ckpt'):.6g} now")
    assert "1/week was asked for: 8 independent blocks" in done.stdout
    assert lines[-1] == "new.ckpt"
    plain = here("calibrate", run, fan, "--machine", "fan", "--no-add", "--false-alarms", "50%")
    assert "limits alone follow from them" in plain.stdout
    assert plain.stdout.splitlines()[-1] == "fan.ckpt"


@pytest.mark.parametrize("budget", ["often", "0/day", "3"])
@pytest.mark.parametrize("command", ["calibrate", "enroll", "score", "watch", "serve"])
def test_a_budget_that_is_none_is_one_line(here, command: str, budget: str, run: Path, fan: Path) -> None:
    arguments = {
        "calibrate": [run, fan, "--machine", "fan"], "enroll": [run, fan, "--machine", "new"],
        "score": [fan, "--checkpoint", run, "--machine", "fan"], "serve": [run, "--port", "0"],
        "watch": [fan, "--checkpoint", run, "--machine", "fan", "--once"],
    }[command]  # fmt: skip
    errors = here(command, *arguments, "--false-alarms", budget, expect=2).stderr.splitlines()
    assert f"false alarms are '{budget}'; give how many in a time, such as 1/day" in errors[-1]


def test_a_lower_budget_is_a_higher_threshold(here, run: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", np.random.default_rng(0).normal(0, 0.1, RATE), RATE)
    found = []
    for budget in ("50%", "5%", "1/day"):
        asked = ["--machine", "fan", "--json", "--false-alarms", budget]
        one = Detector.load(run, false_alarms=budget).score(tmp_path / "one.wav", machine="fan")
        done = here("score", tmp_path / "one.wav", "--checkpoint", run, *asked, expect=int(one.anomalous))
        found.append(json.loads(done.stdout)["threshold"])
        assert found[-1] == one.threshold
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_a_folder_is_decided_by_a_false_discovery_rate(here, trained: Path, synthetic: Path) -> None:
    folder = synthetic / "dev_data/raw/fan/test"
    done = here("score", folder, "--checkpoint", trained, "--machine", "fan", "--csv", "--fdr", "0.01", expect=0)
    assert "normal recordings give no p-value below" in done.stderr
    assert "0.01 nothing can be found" in done.stderr
    rows = [line.split(",") for line in done.stdout.splitlines()]
    place = {name: number for number, name in enumerate(rows[0])}
    assert {row[place["decision"]] for row in rows[1:]} == {"normal"}
    code = here("score", folder, "--checkpoint", trained, "--machine", "fan", "--csv", "--fdr", "0.9", expect=1)
    rows = [line.split(",") for line in code.stdout.splitlines()[1:]]
    called = [float(row[place["p_value"]]) for row in rows if row[place["decision"]] == "anomalous"]
    others = [float(row[place["p_value"]]) for row in rows if row[place["decision"]] == "normal"]
    assert called
    assert max(called) <= 0.9 * len(called) / len(rows)
    assert not others or min(others) > max(called)
    assert (
        "false discovery rate is 2.0"
        in here("score", folder, "--checkpoint", trained, "--machine", "fan", "--fdr", "2", expect=2).stderr
    )


def test_feedback_is_kept_listed_and_taken_back(here, run: Path, fan: Path) -> None:
    before = threshold(run)
    said = here("feedback", run, fan / "0.wav", "--machine", "fan", "--false-alarm")
    assert "before: " in said.stdout
    assert "now: normal" in said.stdout
    listed = here("feedback", run, "--list").stdout.split()
    assert listed[2:] == ["fan_section_00", "false_alarm", "0.wav"]
    assert f"--undo {listed[0]}" in said.stdout
    assert here("feedback", run, "--undo", listed[0]).stdout == ""
    assert threshold(run) == before
    assert "holds nothing by the mark" in here("feedback", run, "--undo", "nothing", expect=2).stderr
    assert "--false-alarm or --missed" in here("feedback", run, fan / "0.wav", expect=2).stderr


def test_watch_raises_nothing_while_it_is_commissioned(here, run: Path, tmp_path: Path) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 60 * RATE)
    soundfile.write(tmp_path / "shift.wav", sound, RATE)
    listen = ["watch", tmp_path / "shift.wav", "--checkpoint", run, "--machine", "fan", "--speed", "0", "--scores"]
    told = [json.loads(line) for line in here(*listen, "--commission", "30s", "--out", "new.ckpt").stdout.splitlines()]
    kinds = [one["type"] for one in told if one["type"] != "remark"]
    assert kinds[0] == "commissioned"
    assert "event_start" not in kinds, "what goes on as it was is normal"
    assert told[-1]["windows"] < 119
    found = next(one for one in told if one["type"] == "commissioned")
    assert found["time"] == 30.0
    assert found["threshold"] == pytest.approx(threshold(tmp_path / "new.ckpt"))
    short = here(*listen, "--commission", "24h", expect=2).stderr
    assert "before the 86400 s were over in which it is commissioned" in short
    assert "is no time" in here(*listen, "--commission", "soon", expect=2).stderr
    assert "--out goes with --commission" in here(*listen, "--out", "new.ckpt", expect=2).stderr


def test_fit_ends_with_a_threshold_what_to_expect_of_it_and_the_next_command(here, tmp_path: Path) -> None:
    """Of three minutes in one file, which is all that there is."""
    normal = tmp_path / "plant/pump/normal"
    normal.mkdir(parents=True)
    soundfile.write(normal / "shift.wav", np.random.default_rng(0).normal(0, 0.1, 180 * RATE), RATE)
    done = here(
        "fit", "--config", "my_machine", "--data.root", "plant", "--trainer.max_epochs", "1", "--false-alarms", "2/day",
        "--trainer.check_val_every_n_epoch", "1", *QUICK,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    told = next(line for line in lines if line.startswith("pump: threshold "))
    assert "false alarms: " in told
    assert "a day expected" in told
    assert any("2/day was asked for" in line for line in lines)
    assert any(line.startswith("next: asd score RECORDING --checkpoint ") for line in lines)


def test_what_fit_says_of_own_recordings_needs_no_knowledge_of_the_challenge(here, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for place in ("normal", "test/normal", "test/anomaly"):
        folder = tmp_path / "plant/pump" / place
        folder.mkdir(parents=True)
        for number in range(6):
            sound = draw.normal(0, 0.1, 2 * RATE) + 0.3 * (place == "test/anomaly") * draw.normal(0, 1, 2 * RATE)
            soundfile.write(folder / f"{number}.wav", sound, RATE)
    done = here(
        "fit", "--config", "my_machine", "--data.root", "plant", "--data.seconds", "1", "--model.encoder.seconds", "1",
        "--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1", *QUICK,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert any(line.split()[:3] == ["machine", "AUC", "pAUC"] for line in lines)
    assert any(line.startswith("ranking score") for line in lines)
    said = [line for line in lines if any(word in line for word in ("official", "source", "target", "_section_"))]
    assert not said
