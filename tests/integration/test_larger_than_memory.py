"""Stores that are larger than the memory which a process may have: written, read and scored all the same."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest
import torch

from asd.cli import main
from asd.evaluation import back_ends, embedding_store
from asd.evaluation.embedding_store import Store, Stored, StoredClip
from asd.scoring import KMeansScorer, QuantileThreshold, SectionScorers, in_parts
from asd.scoring.reference_bank import Bank
from asd.training.collect import Rows
from asd.utils.pairs import read_pairs
from tests.forked import in_its_own_process

WIDTH, EACH, MACHINES = 2048, 4200, ("bearing", "fan", "gearbox", "pump", "slider", "valve")
MEGABYTES = 4e-6 * WIDTH * EACH * len(MACHINES)
"""Of the reference clips, whose machines are each just large enough to be taken in parts."""
BOUND = 0.6 * MEGABYTES
"""Of which one machine takes a sixth; parts of it, and copies of them, are in memory while their clips are held out."""

_THRESHOLD = -3
"""Of glibc's `mallopt`: bytes from which on memory is asked of the system and given back by itself."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited otherwise")


def clips(kind: str, each: int) -> tuple[StoredClip, ...]:
    """Of each machine, cut from two recordings."""
    known = [
        (machine, row, "anomaly" if kind == "q" and row % 2 else "normal")
        for machine in MACHINES
        for row in range(each)
    ]
    return tuple(
        StoredClip(f"{kind}{row}.wav", machine, "00", "source", condition, "", f"{machine}{kind}{row * 2 // each}")
        for machine, row, condition in known
    )


def stored(each: int, width: int) -> Store:
    """Two operating states, in turn, the same of each machine; every second query is of none."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(2, width, generator=generator)
    rows, asked = (
        torch.rand(count, width, generator=generator).add_(means.repeat(count // 2, 1)) for count in (each, 20)
    )
    asked[1::2] += 2
    known = ((rows, clips("t", each)), (asked, clips("q", 20)))
    return Store(*(Stored(some.repeat(len(MACHINES), 1), own, "a", 10.0) for some, own in known))


def write(store: Store, folder: Path) -> Path:
    for name in embedding_store.SUBSETS:
        embedding_store.write(folder / f"{name}.safetensors", getattr(store, name))
    return folder


def allow(megabytes: float) -> None:
    """So much more memory is given to this process from here on, beyond which it is refused."""
    import resource

    ctypes.CDLL(None).mallopt(_THRESHOLD, 2**20)  # what is freed is given back, or holes among the rest would count
    status = Path("/proc/self/status").read_text().splitlines()
    used = next(line.split()[1] for line in status if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * int(used) + int(1e6 * megabytes), resource.RLIM_INFINITY))


def rescore(small: Path, large: Path, out: Path) -> None:
    """As `asd rescore`, in a process that did so before, with less memory than the store takes."""
    command = ["rescore", "--scorer", "KMeansScorer", "--set", "k=2", "--set", "mini_batch_above=1000"]
    command += ["--set", "restarts=1", "--no-pictures"]
    assert main([*command, str(small), "--out", str(out / "small")]) == 0
    files = sum(path.stat().st_size for path in large.iterdir()) / 1e6
    allow(BOUND + files)  # a file that is mapped counts, though it takes no memory
    rows = embedding_store.read(large).reference.embeddings
    with pytest.raises(RuntimeError, match="allocate memory"):
        rows.clone()
    del rows
    assert main([*command, str(large), "--out", str(out / "large")]) == 0


def test_a_store_is_rescored_in_less_memory_than_it_takes(tmp_path: Path) -> None:
    large = stored(EACH, WIDTH)
    folders = write(stored(40, 8), tmp_path / "few"), write(large, tmp_path / "many")
    assert large.reference.embeddings[:EACH].numel() > in_parts.MANY
    in_its_own_process(rescore, *folders, tmp_path, log=tmp_path / "said.txt")
    first = ((large.reference, EACH), (large.query, 20))
    bearing = Store(*(Stored(part.embeddings[:count], part.clips[:count], "a", 10.0) for part, count in first))
    exact = {row.name: row.score for row in back_ends.score(bearing, KMeansScorer(2)).rows}
    found = read_pairs(tmp_path / "large" / "scores" / "anomaly_score_valve_section_00_test.csv", float)
    assert found == pytest.approx(exact, rel=1e-4)


def fit_one() -> None:
    """One machine of four recordings, in a process that fitted a small one before."""
    for each, rows in ((64, torch.rand(64, 8)), (4 * EACH, stored(EACH, WIDTH).reference.embeddings[: 4 * EACH])):
        row = torch.arange(each)
        facts = tuple((f"t{number}.wav", "") for number in range(each))
        bank = Bank(rows, 0 * row, row < 0, row * 4 // each, row, facts)
        if each > 64:
            allow(0.6 * 4e-6 * rows.numel())
            with pytest.raises(RuntimeError, match="allocate memory"):
                rows[each // 4 :].clone()
        scorer = KMeansScorer(2, restarts=1, mini_batch_above=min(each, 1000) // 2)
        scorers = SectionScorers(scorer, QuantileThreshold(), ["fan_section_00"]).fit(bank)
        below = (scorers.training_scores(0)[0] <= scorers.thresholds[0]).float().mean()
        assert float(below) == pytest.approx(0.9, abs=0.02)


def test_a_machine_that_is_larger_than_memory_is_fitted(tmp_path: Path) -> None:
    in_its_own_process(fit_one, log=tmp_path / "said.txt")


def predict(folder: Path) -> None:
    """Rows come and are written, as a prediction does it, with less memory than they take."""
    few = Rows(8, (4, 1), folder, most=0)
    few.add("reference", torch.arange(4), torch.ones(4, 8))
    embedding_store.write(
        folder / "few.safetensors", Stored(few.gathered("reference")[1], clips("t", 2)[:4], "a", 10.0)
    )
    known = clips("t", EACH)
    allow(BOUND)
    with pytest.raises(RuntimeError, match="allocate memory"):
        torch.empty(len(known), WIDTH)
    held = Rows(WIDTH, (len(known), 1), folder, most=0)
    for index in torch.arange(len(known)).split(64):
        held.add("reference", index, index[:, None].float().expand(-1, WIDTH))
    index, rows = held.gathered("reference")
    embedding_store.write(folder / "reference.safetensors", Stored(rows, known, "a", 10.0))


def test_what_is_predicted_is_written_in_less_memory_than_it_takes(tmp_path: Path) -> None:
    in_its_own_process(predict, tmp_path / "store", log=tmp_path / "said.txt")
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"few.safetensors", "reference.safetensors"}
    rows = embedding_store.read_file(tmp_path / "store" / "reference.safetensors").embeddings
    assert torch.equal(rows[:, 0], torch.arange(EACH * len(MACHINES)).float())
    assert torch.equal(rows[:, 0], rows[:, -1])
