"""The number of processes changes neither centres nor metrics, and replicas stay equal."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from asd.evaluation import embedding_store
from tests.forked import Forked, free_port, ranks
from tests.quick import QUICK

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SMALL = [
    "--config", CONFIG, "--data", "ToyADMOS2", "--data.init_args.seconds=1",
    "--data.init_args.machines=null", "--data.init_args.batch_size=5",
    "--model.encoder.init_args.seconds=1", "--model.encoder.init_args.width=4", *QUICK,
]  # fmt: skip

PROBE = '''
"""Writes what each rank holds after each epoch."""
import json, os
from pathlib import Path
import torch
from lightning.pytorch import Callback

class Probe(Callback):
    def __init__(self, out: str) -> None:
        self.out = Path(out)

    def on_train_batch_end(self, trainer, pl_module, outputs, *args) -> None:
        weights = torch.cat([p.detach().flatten().double() for p in pl_module.encoder.parameters()])
        sent = {id(one) for one in trainer.strategy.model.modules_buffers}
        line = {
            "sent": any(id(one) in sent for one in pl_module.sections.buffers()),
            "epoch": trainer.current_epoch, "sum": weights.sum().item(), "square": weights.square().sum().item(),
            "loss": outputs["loss"].item(), "static": trainer.strategy.model.static_graph,
        }
        with (self.out / f"rank{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(line) + chr(10))
'''


def distributed(
    count: int, *arguments: object, cwd: Path, strategy: tuple[str, ...] = ("ddp",)
) -> subprocess.CompletedProcess[str]:
    """The program in so many processes; returns what the first of them said."""
    name, *options = ("auto",) if count == 1 else strategy
    more = [f"--trainer.devices={count}", f"--trainer.strategy={name}", *options]
    environments = ranks(count, free_port()) if count > 1 else [{}]
    started = [Forked(*arguments, *more, cwd=cwd, **environment) for environment in environments]
    first, *_ = [one.ended() for one in started]
    return first


def run_of(done, cwd: Path) -> Path:
    return cwd / done.stdout.strip().splitlines()[-1]


def read_scores(run: Path) -> dict[tuple[str, str], float]:
    return {
        (path.name, name): float(value)
        for path in sorted((run / "scores").glob("anomaly_score_*.csv"))
        for name, value in csv.reader(path.open())
    }


def test_centres_and_metrics_do_not_depend_on_the_number_of_processes(synthetic: Path, tmp_path: Path) -> None:
    # 30 reference and 32 query clips in batches of 5: neither divides by 2 or 3 processes without repeats.
    runs = {}
    for devices in (1, 2, 3):
        done = distributed(devices, "test", *SMALL, "--data.init_args.root", synthetic, cwd=tmp_path)
        runs[devices] = run_of(done, tmp_path)
    metrics = {devices: json.loads((run / "results.json").read_text()) for devices, run in runs.items()}
    assert metrics[1]["machines"].keys() == {"fan", "bearing"}
    for devices in (2, 3):
        assert read_scores(runs[devices]) == pytest.approx(read_scores(runs[1]), rel=1e-4, abs=1e-6)
        assert metrics[devices]["official_score"] == pytest.approx(metrics[1]["official_score"], abs=1e-4)


def test_embeddings_are_written_once_for_each_clip(synthetic: Path, tmp_path: Path) -> None:
    stored = {}
    for devices in (1, 2):
        done = distributed(devices, "predict", *SMALL, "--data.init_args.root", synthetic, cwd=tmp_path)
        stored[devices] = embedding_store.read(run_of(done, tmp_path))
    for part in embedding_store.SUBSETS:
        one, two = (getattr(stored[devices], part) for devices in (1, 2))
        assert two.clips == one.clips
        torch.testing.assert_close(two.embeddings, one.embeddings, rtol=1e-4, atol=1e-5)
        assert two.fingerprint == one.fingerprint


def probed(folder: Path, *arguments: object, **options: Any) -> tuple[list[list[dict[str, Any]]], Path]:
    """What each of two ranks held after each step of three epochs, the first of them frozen, and the run's folder."""
    folder.mkdir()
    (folder / "probe_callback.py").write_text(PROBE)
    done = distributed(
        2, "fit", *SMALL, *arguments, "--trainer.max_epochs=3", "--warmup.epochs=1", "--model.adapter", "Adapter",
        "--model.adapter.init_args.embedding_dim=16", "--trainer.callbacks", "probe_callback.Probe",
        f"--trainer.callbacks.init_args.out={folder}", cwd=folder, **options,
    )  # fmt: skip
    lines = [(folder / f"rank{rank}.jsonl").read_text().splitlines() for rank in (0, 1)]
    return [[json.loads(line) for line in one] for one in lines], run_of(done, folder)


def test_replicas_are_equal_after_the_thaw(synthetic: Path, tmp_path: Path) -> None:
    data = ("--data.init_args.root", synthetic)
    (zero, one), run = probed(tmp_path / "usual", *data)
    assert len(zero) == len(one) > 3
    for a, b in zip(zero, one, strict=True):
        assert (a["sum"], a["square"]) == pytest.approx((b["sum"], b["square"]), rel=1e-12)
        assert a["static"] == b["static"] == (a["epoch"] > 0), "nothing is frozen after the thaw"
        assert not a["sent"] and not b["sent"], "scorers are the same everywhere"
    frozen = {row["square"] for row in zero if row["epoch"] == 0}
    thawed = [row["square"] for row in zero if row["epoch"] > 0]
    assert len(frozen) == 1, "frozen weights must not move"
    assert len(set(thawed)) == len(thawed), "thawed weights must move at every step"
    content = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert content["epoch"] == 2
    strategy = ("DDPStrategy", "--trainer.strategy.static_graph=false")
    for rank, rows in enumerate(probed(tmp_path / "as_told", *data, strategy=strategy)[0]):
        assert not any(row.pop("static") for row in rows), "what the user says stays"
        for row, usual in zip(rows, (zero, one)[rank], strict=True):
            assert row == pytest.approx({name: usual[name] for name in row}, rel=1e-6)


FAIL = '''
"""Fails in one process alone, once training has begun."""
from lightning.pytorch import Callback
from asd.errors import UserError

class Fail(Callback):
    def __init__(self, rank: int) -> None:
        self.rank = rank

    def on_train_batch_end(self, trainer, pl_module, *args) -> None:
        if trainer.current_epoch == 0 and trainer.global_rank == self.rank:
            raise UserError(f"rank {self.rank} lost its microphone; plug it in")
'''


@pytest.mark.parametrize("rank", [0, 1])
def test_the_message_of_the_process_that_failed_is_the_last_line(rank: int, synthetic: Path, tmp_path: Path) -> None:
    """Here the first process starts the second itself, as a user's does."""
    (tmp_path / "fail_callback.py").write_text(FAIL)
    done = Forked(
        "fit", *SMALL, "--data.init_args.root", synthetic, "--trainer.max_epochs=1", "--trainer.devices=2",
        "--trainer.strategy=ddp", "--trainer.callbacks", "fail_callback.Fail",
        f"--trainer.callbacks.init_args.rank={rank}", cwd=tmp_path,
    ).ended(expect=2)  # fmt: skip
    assert done.stderr.strip().splitlines()[-1] == f"asd: error: rank {rank} lost its microphone; plug it in"
    assert "Traceback" not in done.stderr
