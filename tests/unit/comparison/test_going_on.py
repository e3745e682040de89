"""A comparison goes on where it was, alone or with others, and survives an encoder that fails."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile
from filelock import FileLock

from tests.forked import Forked
from tests.unit.comparison.conftest import CNN, NET, SMALL, rows, stores, values


def test_what_is_there_is_not_made_again(again, copy: Path, place: Path) -> None:
    done = again(CNN, NET)
    assert done.embedded == []
    assert "scoring" not in done.err
    assert "2 embedded already" in done.out
    table = (place / "said.txt").read_text().splitlines()[1:]
    assert done.out.splitlines()[1:] == table
    shutil.rmtree(stores(copy, "MobileNet")[0].parent)
    done = again(CNN, NET)
    assert done.embedded == ["MobileNet"]
    assert "scoring DualBranchCNN" not in done.err, "the same stores give the same scores"


def test_another_encoder_is_added(again, copy: Path) -> None:
    done = again(CNN, NET, "DualBranchCNN:seconds=1,width=2,branch_dim=8,spectrum_points=200")
    assert done.embedded == ["DualBranchCNN"]
    assert done.err.count("scoring") == 3, "which clips are held out follows from all vectors"
    assert len({row["encoder"] for row in rows(copy)}) == 3


@pytest.mark.parametrize("harm", ["cut short", "one of two", "no facts", "other facts"])
def test_half_a_store_is_made_again(harm: str, again, copy: Path) -> None:
    (store,) = stores(copy, "DualBranchCNN")
    if harm == "cut short":
        os.truncate(store / "query.safetensors", 200)
    elif harm == "one of two":
        (store / "reference.safetensors").unlink()
    else:
        (store.parent / "pass.json").write_text("" if harm == "no facts" else "{}")
    before = values(copy)
    done = again(CNN, NET)
    assert done.embedded == ["DualBranchCNN"]
    assert values(copy) == before


def test_other_settings_are_other_stores(again, copy: Path, synthetic: Path, tmp_path: Path) -> None:
    done = again(CNN, "--what", "tokens")
    assert done.embedded == ["DualBranchCNN"]
    assert len(stores(copy, "DualBranchCNN")) == 2
    assert again(CNN).embedded == [], "the first is still there"
    assert again(CNN, "--set", "pad=zeros").embedded == ["DualBranchCNN"]
    # What lies where counts, not where that is.
    data = tmp_path / "moved"
    shutil.copytree(synthetic, data)
    assert again(CNN, data=data).embedded == []
    path = next(data.rglob("test/*.wav"))
    sound, rate = soundfile.read(path)
    soundfile.write(path, 0.5 * sound, rate)
    os.utime(path, (1e9, 1e9))
    assert again(CNN, data=data).embedded == ["DualBranchCNN"]


def test_other_weights_in_the_same_file_are_other_stores(again, copy: Path) -> None:
    assert again(NET).embedded == []
    os.utime(copy / "published/net.pt", (1e9, 1e9))
    assert again(NET).embedded == ["MobileNet"]


def test_an_interrupted_comparison_goes_on_where_it_was(place: Path, synthetic: Path, here, tmp_path: Path) -> None:
    """Killed once the first encoder is done: the second alone is left, and nobody works on behind its back."""
    shutil.copytree(place / "published", tmp_path / "published")
    arguments = ("compare", CNN, NET, "--data", synthetic, *SMALL)
    program = Forked(*arguments, cwd=tmp_path)
    until(lambda: next(tmp_path.glob("runs/compare/DualBranchCNN-*/pass.json"), None), program)
    program.send(signal.SIGKILL)
    program.ended(-signal.SIGKILL)
    for lock in tmp_path.glob("runs/compare/*/lock"):
        with FileLock(lock, timeout=30):
            pass
    time.sleep(1)  # the process that was begun ends with the program
    there = len(list(tmp_path.glob("runs/compare/*/pass.json")))
    done = here(*arguments)
    assert f"{there} embedded already" in done.stdout
    assert done.stderr.count("embedding") == 2 - there
    assert [row["official score"] for row in rows(tmp_path)] == [row["official score"] for row in rows(place)]


def until(ready: Any, program: Forked, seconds: float = 200) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end and program.running:
        if found := ready():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come so far")


# -- sharing


def test_two_processes_find_the_same(again, copy: Path, place: Path) -> None:
    shutil.rmtree(copy / "runs")
    done = again(CNN, NET, "--processes", "2")
    assert sorted(done.embedded) == ["DualBranchCNN", "MobileNet"]
    assert "while up to 2 encoders shared the machine" in done.out
    assert values(copy) == values(place)


def test_two_commands_share_the_work(place: Path, synthetic: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "published", tmp_path / "published")
    both = [Forked("compare", CNN, NET, "--data", synthetic, *SMALL, cwd=tmp_path) for _ in range(2)]
    done = [one.ended() for one in both]
    begun = [line for one in done for line in one.stderr.splitlines() if "another program" not in line]
    for work in ("embedding", "scoring"):
        assert sorted(line.split(":")[0] for line in begun if line.startswith(work)) == [
            f"{work} DualBranchCNN", f"{work} MobileNet",
        ]  # fmt: skip
    assert done[0].stdout.splitlines()[1:] == done[1].stdout.splitlines()[1:]


# -- failures


def test_an_encoder_that_fails_says_so_and_the_others_go_on(again, copy: Path) -> None:
    failing = "DualBranchCNN:seconds=1,window=1"
    done = again(failing, "MobileNet:weights=published/none.pt", NET, "--processes", "2", expect=2)
    assert done.err.splitlines()[-1] == (
        "asd: error: 2 of 3 encoders failed: DualBranchCNN:seconds=1,window=1, MobileNet:weights=none.pt"
    )
    lines = done.out.splitlines()
    assert lines[3].startswith("MobileNet:weights=net.pt")
    assert [line.split()[1:3] for line in lines[4:6]] == [["failed", "-"]] * 2
    reason = "DualBranchCNN:seconds=1,window=1 failed: encoder DualBranchCNN: a window of 1 samples every 512"
    assert any(line.startswith(reason) for line in lines)
    assert "published/none.pt: no such file" in done.out
    told = {row["encoder"]: row["failed"] for row in rows(copy) if row["failed"]}
    assert told.keys() == {failing, "MobileNet:weights=none.pt"}
    assert "Traceback" not in done.out + done.err
    page = (copy / "runs/compare/comparison.html").read_text()
    assert "a window of 1 samples" in page
    assert again(failing, NET, expect=2).embedded == ["DualBranchCNN"], "it is tried again"


def test_an_encoder_whose_embeddings_cannot_be_scored_fails_alone(again, copy: Path) -> None:
    """Of a plug-in of one's own, named by its module."""
    (copy / "brokenplugin.py").write_text(
        "from asd_plugins.dual_branch import DualBranchCNN\n\n\nclass Broken(DualBranchCNN):\n"
        "    def encode(self, spectrogram):\n        return super().encode(spectrogram) * float('nan')\n"
    )
    broken = "brokenplugin.Broken:seconds=1,width=2,branch_dim=8,spectrum_points=200"
    done = again(broken, NET, "--plugin", "brokenplugin", expect=2)
    assert done.embedded == ["brokenplugin.Broken"]
    told = {row["encoder"].partition(":")[0]: row["failed"] for row in rows(copy)}
    assert "are not finite" in told["brokenplugin.Broken"]
    assert told["MobileNet"] == ""


def test_nothing_but_failures_is_a_table_still(again, copy: Path) -> None:
    done = again("MobileNet:weights=published/none.pt", expect=2)
    assert "failed" in done.out.splitlines()[3]
    assert done.out.splitlines()[-1] == "runs/compare/comparison.html"
