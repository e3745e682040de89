"""A search trains with what it draws, chooses without labels, and loses nothing that is done."""

from __future__ import annotations

import csv
import re
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.forked import Forked
from tests.quick import QUICK

SPACES = sorted((Path(__file__).parents[2] / "configs/search").glob("*.yaml"))
SMALL = [
    "--config", "recipe/dual_branch", "--data.seconds=1", "--data.batch_size=8", "--model.encoder.seconds=1",
    "--model.encoder.width=4", "--trainer.max_epochs=1", *QUICK,
]  # fmt: skip


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("space", SPACES, ids=lambda path: path.stem)
def test_two_processes_search_and_a_later_one_goes_on(
    space: Path, synthetic: Path, tmp_path: Path, here: Any, parse: Callable[[list[str]], Any]
) -> None:
    search = ["fit", *SMALL, "--data.root", synthetic, "--search", space]
    folder = tmp_path / "runs/search" / space.stem
    both = [Forked(*search, "--search.trials", 2, cwd=tmp_path) for _ in range(2)]
    for one in both:
        one.ended()
    done = rows(folder)
    assert [row["state"] for row in done] == ["complete", "complete"]

    running = Forked(*search, "--search.trials", 50, cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not (folder / "trial_002.log").is_file() and running.running and time.monotonic() < deadline:
        time.sleep(0.1)
    running.send(signal.SIGINT)
    assert "the same command goes on" in running.ended(expect=130).stderr

    last = here(*search, "--search.trials", 3).stdout.splitlines()
    *kept, interrupted, again = rows(folder)
    assert kept == done
    assert (interrupted["state"], again["state"]) == ("interrupted", "complete")
    drawn = list(done[0])[list(done[0]).index("machine") + 1 :]
    assert [interrupted[name] for name in drawn] == [again[name] for name in drawn], "what was drawn is not lost"

    best = max([*done, again], key=lambda row: float(row["pseudo-AUC"]))
    run = folder / f"trial_{int(best['trial']):03d}"
    assert last[-1] == str(run.relative_to(tmp_path))
    (following,) = [shlex.split(line)[2:] for line in last if line.startswith("next: asd fit ")]
    assert parse(following).model is not None
    scorer = "{class_path: KMeansScorer, init_args: {k: 16, metric: cosine, target: own_centres}}"
    said = here("rescore", run, "--scorer", scorer, "--choose", "pseudo", "--no-pictures").stdout
    chosen = re.search(r"^\* .*?  +([\d.]+)", said, re.M)
    assert chosen
    assert float(chosen[1]) == pytest.approx(100 * float(best["pseudo-AUC"]), abs=0.006)


def test_a_trial_that_fails_is_told_and_the_search_goes_on(synthetic: Path, tmp_path: Path, here: Any) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("data.machines: [[nowhere]]\n")
    search = ["fit", *SMALL, "--data.root", synthetic, "--search", space, "--search.folder", "found"]
    said = here(*search, "--search.trials", 1, expect=2).stderr.splitlines()
    assert [line.partition(":")[0] for line in said] == ["trial 0 failed", "asd"]
    assert "nowhere" in said[0] and "found/trial_000.log" in said[0]
    assert [row["state"] for row in rows(tmp_path / "found")] == ["fail"]
    other = here(*search, "--search.trials", 2, "--seed_everything", 2, expect=2).stderr
    assert "give the same arguments, or another --search.folder" in other
