"""Every writer killed while it writes: nothing half is there under its name, and running it again works."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asd.cli import main
from asd.utils import files

if not hasattr(os, "fork"):
    pytest.skip("needs os.fork", allow_module_level=True)

Words = dict[str, str]
# What runs, and what it writes.
WRITERS: dict[str, tuple[list[str], str]] = {
    "fit": (
        [
            "fit",
            "--config",
            "QUICK",
            "--data",
            "ToyADMOS2",
            "--data.root",
            "DATA",
            "--data.machines=[fan]",
            "--data.seconds=1",
            "--model.encoder.seconds=1",
            "--trainer.max_epochs=1",
            "--outputs.pictures=false",
        ],
        "last.ckpt",
    ),
    "predict": (["predict", "--ckpt_path", "CKPT", "--out", "store"], "*.safetensors"),
    "test": (["test", "--ckpt_path", "CKPT", "--out", "tested"], "anomaly_score_*.csv"),
    "synthesize": (["data", "synthesize", "made", "--machines", "fan", "--seconds", "0.2", "--test", "1"], "fan"),
    "shard": (["data", "shard", "DATA", "shards"], "*.tar"),
    "mix": (["data", "mix", "CLIPS", "NOISE", "mixed", "--machine", "fan", "--snr", "6"], "*.wav"),
    "enroll": (["enroll", "CKPT", "CLIPS", "--machine", "pump", "--out", "pump.ckpt"], "pump.ckpt"),
    "export": (["export", "CKPT", "bundle", "--machine", "fan", "--format", "pt2"], "bundle"),
    "explain": (["explain", "CLIP", "--checkpoint", "CKPT", "--machine", "fan", "--out", "why"], "*.png"),
    "report": (["report", "RUN", "--out", "report.html", "--no-audio"], "report.html"),
    "evaluate": (["evaluate", "RUN", "--pictures", "drawn"], "*.png"),
    "submit": (
        ["submit", "write", "RUN", "--label", "A_B_task2_1", "--facts", "FACTS", "--out", "submission"],
        "meta.yaml",
    ),
}


@pytest.fixture
def command(trained: Path, synthetic: Path, tmp_path: Path) -> Callable[[str], list[str]]:
    fan = synthetic / "dev_data/raw/fan"
    (tmp_path / "facts.yaml").write_text("{name: x, abbreviation: y, authors: [z]}")
    words = {
        "CKPT": trained / "checkpoints/last.ckpt", "RUN": trained, "DATA": synthetic, "CLIPS": fan / "train",
        "NOISE": fan / "supplemental", "CLIP": sorted((fan / "train").iterdir())[0], "FACTS": tmp_path / "facts.yaml",
        "QUICK": Path(__file__).parents[2] / "configs/quickstart.yaml",
    }  # fmt: skip
    return lambda name: [str(words.get(one, one)) for one in WRITERS[name][0]]


def in_a_process_of_its_own(arguments: list[str], folder: Path, prepare: Callable[[], None]) -> int:
    """Run the program in a copy of this process; returns its exit code, negative where a signal ended it."""
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            prepare()
            os._exit(main(arguments))
        finally:
            os._exit(99)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"{arguments} did not end")


def die_as_it_appears() -> None:
    usual = files.aside

    @contextlib.contextmanager
    def aside(path: Path, clear: bool = True) -> Iterator[Path]:
        with usual(path, clear) as place:
            threading.Thread(target=die_with, args=[place], daemon=True).start()
            yield place

    def die_with(place: Path) -> None:
        while not os.path.lexists(place):
            time.sleep(0.0002)
        os.kill(os.getpid(), signal.SIGKILL)

    files.aside = aside
    files.put = lambda place, path: time.sleep(60)


def die_when_it_is_whole() -> None:
    files.put = lambda place, path: os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_that_is_killed_leaves_nothing_half(
    name: str, command: Callable[[str], list[str]], here: Any, tmp_path: Path
) -> None:
    written = WRITERS[name][1]

    def there() -> list[Path]:
        return [path for path in tmp_path.rglob(written) if ".part" not in str(path)]

    for prepare in (die_as_it_appears, die_when_it_is_whole):
        assert in_a_process_of_its_own(command(name), tmp_path, prepare) == -signal.SIGKILL
        assert not there()
    here(*command(name))
    assert there()
    assert not [path for path in tmp_path.rglob("*.part") if "version_" not in str(path)]


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    living = os.getppid()
    host = files._HOST
    for owner in (f"{host}.{dead.pid}", f"{host}.{living}", f"elsewhere.{dead.pid}"):
        (tmp_path / f".a.json.{owner}.part").write_text("half")
    (tmp_path / f".folder.{host}.{dead.pid}.old.part").mkdir()
    (tmp_path / f".b.json.{host}.{dead.pid}.part").write_text("another's")
    files.replace_text(tmp_path / "a.json", "{}")
    assert {one.name for one in tmp_path.iterdir()} == {
        "a.json", f".a.json.{host}.{living}.part", f".a.json.elsewhere.{dead.pid}.part",
        f".folder.{host}.{dead.pid}.old.part", f".b.json.{host}.{dead.pid}.part",
    }  # fmt: skip
    files.clear_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    place = tmp_path / "set"
    for content in ("first", "second"):
        with files.written(place) as way:
            way.mkdir()
            (way / "file").write_text(content)
    assert (place / "file").read_text() == "second"
    assert [one.name for one in tmp_path.iterdir()] == ["set"]
    with pytest.raises(ZeroDivisionError), files.written(place) as way:
        (way / str(1 // 0)).mkdir()
    assert (place / "file").read_text() == "second"
    assert [one.name for one in tmp_path.iterdir()] == ["set"]
