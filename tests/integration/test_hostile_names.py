"""A file name that is no text, or that steers a terminal, stops no command and is never shown as it is."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.cli import LISTINGS, SMALL_COMMANDS, TRAINER_COMMANDS
from asd.evaluation.clip_scores import read_scores
from tests.quick import QUIET

ROOT = Path(__file__).parents[2]
RATE = 16000
NAMES = [
    b"ger\xe4usch.wav", b"new\nline.wav", b"cr\rhere.wav", b'quo"te, comma; semi.wav',
    "emoji 😀 \u202eevaw.wav".encode(), b"<script>alert(1).wav", b"esc\x1b[31m.wav", b"do$llar$_^{.wav",
    b"a" * 251 + b".wav", b"back\\slash.wav",
]  # fmt: skip
MACHINE = b"p\xe4mp \x1b[31m $x_{$ <b>"
pytestmark = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="this file system takes text alone")


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine whose name and recordings' names are hostile."""
    root = tmp_path_factory.mktemp("plant")
    for part, folder in enumerate((b"normal", b"test/normal", b"test/anomaly")):
        place = os.path.join(os.fsencode(root), MACHINE, folder)  # noqa: PTH118 - of bytes
        os.makedirs(place)  # noqa: PTH103
        for number, name in enumerate(NAMES):
            noise = np.random.default_rng(100 * part + number).standard_normal(RATE)
            with open(os.path.join(place, name), "wb") as file:  # noqa: PTH118, PTH123
                soundfile.write(file, 0.1 * noise, RATE, format="WAV")
    return root


@pytest.fixture(scope="module")
def run(plant: Path, tmp_path_factory: pytest.TempPathFactory, asd) -> Path:
    """The folder of a run on it; the console knows ASCII alone."""
    folder = tmp_path_factory.mktemp("run")
    done = asd(
        "fit", "--config", ROOT / "configs/recipe/dual_branch.yaml", "--data", "Recordings", "--data.root", plant,
        "--data.seconds=1", "--data.batch_size=4", "--model.encoder.seconds=1", "--model.encoder.width=4",
        "--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1", *QUIET,
        "--trainer.precision=32", cwd=folder, PYTHONIOENCODING="ascii",
    )  # fmt: skip
    assert "\x1b" not in done.stdout + done.stderr
    return folder / done.stdout.strip().splitlines()[-1]


def machine(plant: Path) -> Path:
    return next(plant.iterdir())


COMMANDS: dict[str, list[str]] = {
    "calibrate": ["{run}", "{normal}", "--out", "new.ckpt"],
    "compare": [
        "DualBranchCNN:seconds=1,width=4", "--data", "{plant}", "--set", "seconds=1", "--set", "batch_size=4",
        "--out", "{cwd}/compared",
    ],
    "data": ["check", "{plant}", "--html", "page.html"],
    "enroll": ["{run}", "{normal}", "--machine", "n\udce4u", "--out", "new.ckpt"],
    "evaluate": ["{run}/scores"],
    "explain": ["{normal}", "--checkpoint", "{run}", "--out", "why"],
    "export": ["{run}", "{cwd}/bundle"],
    "feedback": ["{run}", "{clip}", "--false-alarm"],
    "predict": ["--ckpt_path", "{run}/checkpoints/last.ckpt", "--out", "{cwd}/store"],
    "report": ["{run}"],
    "score": ["{normal}", "--checkpoint", "{run}"],
    "test": ["--ckpt_path", "{run}/checkpoints/last.ckpt", "--out", "{cwd}/tested"],
    "validate": ["--ckpt_path", "{run}/checkpoints/last.ckpt"],
    "watch": ["{normal}", "--once", "--checkpoint", "{run}", "--scores"],
}  # fmt: skip
NEVER_SEE_A_NAME = {*LISTINGS, "configs", "weights", "submit", "serve", "ensemble", "rescore", "fit"}
"""`fit` is the fixture; `ensemble`, `rescore`, `submit` read what others write; uploads to `serve` have other tests."""


def test_every_command_is_tried() -> None:
    assert set(COMMANDS) | NEVER_SEE_A_NAME == set(SMALL_COMMANDS) | set(TRAINER_COMMANDS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("command", COMMANDS)
def test_no_name_stops_a_command(command: str, plant: Path, run: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    from asd.cli import main

    normal = machine(plant) / "normal"
    places = {"plant": plant, "run": run, "normal": normal, "clip": min(normal.iterdir()), "cwd": tmp_path}
    monkeypatch.chdir(tmp_path)
    code = main([command, *(one.format(**places) for one in COMMANDS[command])])
    shown = capsys.readouterr()
    assert code in (0, 1), shown.err[-2000:]
    assert "\x1b" not in shown.out + shown.err
    assert not any("\ud800" <= one <= "\udfff" for one in shown.out + shown.err)
    for page in [*tmp_path.rglob("*.html"), *(run.rglob("*.html") if command == "report" else [])]:
        assert "<script>alert" not in page.read_text(encoding="utf-8")
    for path in tmp_path.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    if command == "watch":
        assert {json.loads(line)["type"] for line in shown.out.splitlines()} >= {"score", "summary"}


@pytest.mark.filterwarnings("ignore")
def test_recordings_of_such_names_are_mixed_into_such_a_folder(plant: Path, here, tmp_path: Path) -> None:
    out, sounds = tmp_path / "mix\udce4", machine(plant) / "normal"
    here("data", "mix", sounds, sounds, out, "--machine", "pump", "--snr", "0")
    assert len(list(out.rglob("*.wav"))) == len(NAMES)


def test_what_score_gives_can_be_read(plant: Path, run: Path, capsys) -> None:
    from asd.cli import main

    arguments = ["score", str(machine(plant) / "normal"), "--checkpoint", str(run)]
    main([*arguments, "--json"])
    names = [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]
    main([*arguments, "--csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert len(names) == len(rows) == len(NAMES)
    assert any(name.endswith(r"ger\xe4usch.wav") for name in names)


def test_score_files_are_read_back(run: Path) -> None:
    rows = read_scores(run / "scores")
    assert len(rows) == 2 * len(NAMES)
    assert {row.condition for row in rows} == {"normal", "anomaly"}


def test_one_bad_file_ends_no_batch(plant: Path, run: Path, capsys, tmp_path: Path) -> None:
    from asd.cli import main

    folder = tmp_path / "batch"
    shutil.copytree(machine(plant) / "normal", folder)
    with open(os.path.join(os.fsencode(folder), b"bad\xe4\x1b.wav"), "wb") as file:  # noqa: PTH118, PTH123
        file.write(b"no sound")
    (folder / "gone.wav").symlink_to("/nowhere")
    assert main(["score", str(folder), "--checkpoint", str(run)]) == 2
    done = capsys.readouterr()
    assert len(done.out.splitlines()) == 1 + len(NAMES)
    assert r"bad\xe4\x1b.wav: cannot be read as audio" in done.err
    assert "gone.wav: no such file" in done.err
    main(["watch", str(folder), "--once", "--checkpoint", str(run)])
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(one["file"] for one in told if one["type"] == "unusable") == ["bad\\xe4\x1b.wav", "gone.wav"]
