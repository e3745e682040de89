"""Two machines, as torchrun starts them: one process each, with addresses of their own on this one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.quick import QUICK

CONFIGS = Path(__file__).parents[2] / "configs"
COMMON = [
    "--config", CONFIGS / "quickstart.yaml", "--data", "ToyADMOS2", "--data.machines=null", "--data.seconds=1",
    "--data.batch_size=8", "--model.encoder.seconds=1", "--model.encoder.width=4", "--trainer.max_epochs=2",
    "--warmup.epochs=1", "--model.adapter", "Adapter", "--model.adapter.embedding_dim=16",
    *QUICK,
]  # fmt: skip


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.mark.slow
def test_two_nodes_train_one_model(synthetic: Path, tmp_path: Path) -> None:
    port = free_port()
    arguments = [
        "fit", *COMMON, "--config", CONFIGS / "cluster/multinode.yaml", "--data.root", synthetic,
        "--trainer.devices=1", f"--trainer.default_root_dir={tmp_path}",
    ]  # fmt: skip
    nodes = []
    for rank in range(2):
        command = [
            sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}",
            f"--local-addr=127.0.0.{1 + rank}", "--master-addr=127.0.0.1", f"--master-port={port}", "-m", "asd",
            *map(str, arguments),
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment.pop("PL_GLOBAL_SEED", None)
        nodes.append(
            subprocess.Popen(
                command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    output = [node.communicate(timeout=240) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], output[0][1][-3000:] + output[1][1][-3000:]
    results = json.loads((tmp_path / output[0][0].strip().splitlines()[-1] / "results.json").read_text())
    assert results["machines"].keys() == {"bearing", "fan"}
    assert "official score" in output[0][0]
    assert "official score" not in output[1][0], "one process reports"
    assert len(list(tmp_path.rglob("last.ckpt"))) == 1
