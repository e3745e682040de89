"""Parts of work under locks: each is done once, in a process of its own, whatever becomes of the others."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from asd.comparison.sharing import Part, Telling, share


def work(given: tuple[str, Path], place: int) -> None:
    what, folder = given
    print(f"{what} at {place}", flush=True)
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "ended":
        os._exit(3)
    if what == "raises":
        raise ValueError("no")
    begun = time.monotonic()
    (folder / "begun").touch()
    while len(list(folder.parent.glob("*/begun"))) < int(os.environ["TOGETHER"]):
        time.sleep(0.01)
    (folder / "done").write_text(f"{begun} {time.monotonic()} {os.environ['SAID']}")


def explain(error: BaseException) -> str:
    return f"explained: {error}"


def parts(folder: Path, *names: str) -> list[Part]:
    places = {name: folder / name for name in names}
    return [
        Part(name, f"doing {name}", at, partial(Path.is_file, at / "done"), work, (name.split("-")[0], at))
        for name, at in places.items()
    ]


@pytest.fixture(autouse=True)
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("SAID", "here")
    monkeypatch.setenv("TOGETHER", "1")
    return []


def test_what_ends_before_its_time_says_how_and_the_others_go_on(tmp_path: Path, said: list[str]) -> None:
    failed = share(parts(tmp_path, "killed", "raises", "ended", "fine"), 2, Telling(said.append, explain))
    assert failed == {
        "killed": "its process was ended by SIGKILL, as systems do where memory is used up: lower the batch size",
        "raises": "explained: no",
        "ended": "its process ended with code 3",
    }
    assert (tmp_path / "fine/done").read_text().endswith(" here"), "in the environment of the program"
    assert "doing killed failed: its process was ended by SIGKILL" in "\n".join(said)
    assert (tmp_path / "raises/log.txt").read_text().startswith("raises at ")


@pytest.mark.parametrize("processes", [1, 2])
def test_so_many_are_done_at_a_time(
    processes: int, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER", str(processes))
    names = ("fine-1", "fine-2", "fine-3")
    assert share(parts(tmp_path, *names), processes, Telling(said.append, explain)) == {}
    spans = [tuple(map(float, (tmp_path / name / "done").read_text().split()[:2])) for name in names]
    together = [sum(begin <= start < end for begin, end in spans) for start, _ in spans]
    assert max(together) == processes
    places = {(tmp_path / name / "log.txt").read_text().split()[-1] for name in names}
    assert places == set(map(str, range(processes)))


def test_what_is_done_is_left_alone(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "raises").mkdir()
    (tmp_path / "raises/done").touch()
    assert share(parts(tmp_path, "raises"), 1, Telling(said.append, explain)) == {}
    assert said == []


@pytest.mark.parametrize("does_it", [True, False])
def test_what_another_program_is_at_is_waited_for(does_it: bool, tmp_path: Path, said: list[str]) -> None:
    folder = tmp_path / "fine-1"
    folder.mkdir()
    other = FileLock(folder / "lock", thread_local=False)
    other.acquire()

    def end() -> None:
        if does_it:
            (folder / "done").touch()
        other.release()

    timer = threading.Timer(2, end)
    timer.start()
    assert share(parts(tmp_path, "fine-1", "fine-2"), 1, Telling(said.append, explain)) == {}
    timer.join()
    begun = ["doing fine-2", *([] if does_it else ["doing fine-1"])]
    assert said == ["doing fine-1: another program is at it", *begun]
    assert (folder / "done").is_file()
