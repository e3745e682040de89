"""Training that cannot learn, checkpoints that are not there and runs that fail: each says so, and leaves no litter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asd.data.audio.wav import write_wav
from asd.data.layouts.shards import INDEX, read_shards
from asd.errors import Notice, UserError
from tests.quick import QUICK

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
TINY = [
    "--config", CONFIG, "--trainer.max_epochs=1",
    "--data.seconds=1", "--model.encoder.seconds=1", "--model.encoder.width=4", *QUICK, "--data.machines=null",
]  # fmt: skip


@pytest.fixture
def plant(tmp_path: Path) -> Callable[[int], Path]:
    """Recordings of a machine without anything that could make a class."""

    def make(clips: int) -> Path:
        own = np.random.default_rng(0)
        for number in range(clips):
            path = tmp_path / "plant/pump/normal" / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_wav(path, own.normal(0, 0.1, 16000).clip(-1, 1), 16000)
        return tmp_path / "plant"

    return make


def recordings(root: Path) -> list[object]:
    return [*TINY, "--data", "Recordings", "--data.root", root, "--data.holdout=0"]


def test_a_single_class_and_no_test_clips_say_so(here: Any, plant: Callable[[int], Path]) -> None:
    with pytest.warns(Notice, match=r"a single auxiliary class \(pump"):
        done = here("fit", *recordings(plant(6)))
    first, second, third, folder = done.stdout.strip().splitlines()[-4:]
    assert first == "no test clips: nothing is measured"
    assert second.startswith("pump: threshold ")
    assert "by 2 independent blocks of 2 clips" in second, "a third of six is kept for calibration"
    assert third == f"next: asd score RECORDING --checkpoint {folder}"
    assert here("score", plant(1) / "pump/normal/0.wav", "--checkpoint", folder).stdout


def test_classes_enough_say_nothing(here: Any, synthetic: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "there is a single auxiliary class")
        here("fit", *TINY, "--data", "ToyADMOS2", "--data.root", synthetic)


def test_a_batch_of_one_clip_says_so(here: Any, plant: Callable[[int], Path], tmp_path: Path) -> None:
    done = here("fit", *recordings(plant(3)), "--data.batch_size=1", expect=2)
    assert "a batch of a single clip cannot train batch normalisation; raise data.batch_size" in done.stderr
    assert not (tmp_path / "runs/quickstart/version_0").exists(), "a run that failed leaves no folder"


def test_a_run_that_fails_leaves_the_folders_of_others(here: Any, synthetic: Path, tmp_path: Path) -> None:
    common = ["fit", *TINY, "--data", "ToyADMOS2", "--data.root", synthetic]
    here(*common)
    here(*common, "--warmup.epochs=1", expect=2)
    assert [one.name for one in (tmp_path / "runs/quickstart").iterdir()] == ["version_0"]


@pytest.mark.parametrize("command", ["test", "validate", "predict", "fit"])
@pytest.mark.parametrize(("word", "why"), [("last", "no run in"), ("best", "there is none"), ("hpc", "no checkpoint")])
def test_a_checkpoint_that_is_not_there_is_never_random_weights(
    command: str, word: str, why: str, here: Any, synthetic: Path
) -> None:
    common = [command, *TINY, "--data", "ToyADMOS2", "--data.root", synthetic]
    assert why in here(*common, "--ckpt_path", word, expect=2).stderr


def test_the_last_checkpoint_is_that_of_the_newest_run(here: Any, synthetic: Path, tmp_path: Path) -> None:
    common = [*TINY, "--data", "ToyADMOS2", "--data.root", synthetic]
    folder = here("fit", *common).stdout.strip().splitlines()[-1]
    scores = {path.name: path.read_text() for path in (tmp_path / folder / "scores").iterdir()}
    (tmp_path / "runs/quickstart/version_9/checkpoints").mkdir(parents=True)
    (tmp_path / "word.yaml").write_text("ckpt_path: last\n")
    for ask in (["--ckpt_path", "last"], ["--config", "word.yaml"], ["--ckpt_path", folder]):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "no checkpoint")
            here("test", *common, *ask, "--out=again")
        again = tmp_path / "again/scores"
        assert {path.name: path.read_text() for path in again.iterdir()} == scores


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_without_a_checkpoint_it_says_that_nothing_was_trained(command: str, here: Any, synthetic: Path) -> None:
    with pytest.warns(Notice, match=r"no checkpoint is given \(--ckpt_path\), so nothing was trained"):
        here(command, *TINY, "--data", "ToyADMOS2", "--data.root", synthetic)


@pytest.mark.parametrize(
    "facts",
    [
        {"machine": "../x"}, {"machine": "a/b"}, {"machine": ""}, {"machine": ".."}, {"machine": "a\nb"},
        {"machine": 1}, {"name": "../x.wav"}, {"name": None}, {"section": "../0"}, {"section": None},
        {"split": "train/.."}, {"attributes": 3}, {"group": ["a"]}, {"frames": -1}, {"frames": "8"},
        {"sample_rate": 1e9}, {"channels": True}, {"domain": "both"}, {"kind": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_facts_of_a_shard_are_judged_when_they_are_read(facts: dict[str, Any], tmp_path: Path) -> None:
    whole = {"name": "a.wav", "machine": "fan", "section": "00", "split": "train", "sample_rate": 16000, "channels": 1,
             "frames": 16000}  # fmt: skip
    write_wav(tmp_path / "a.wav", np.zeros(16000), 16000)
    (tmp_path / "a.json").write_text(json.dumps(whole | facts))
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("a.wav", "a.json"):
            tar.add(tmp_path / name, name)
    with pytest.raises(UserError, match=r"index\.jsonl, line 1: broken"):
        read_shards(str(tmp_path))


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "\xff"], ids=["cut", "list", "deep", "bytes"])
def test_broken_json_in_a_shard_stops_before_training(text: str, tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.zeros(16000), 16000)
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("a.wav", "a.json"):
            tar.add(tmp_path / name, name)
    with pytest.raises(UserError, match="cannot index"):
        read_shards(str(tmp_path))
    (tmp_path / INDEX).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"index\.jsonl"):
        read_shards(str(tmp_path))


def test_a_config_of_aliases_of_aliases_is_one_line(here: Any, tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    assert "stands for more than" in here("fit", "--config", "bomb.yaml", expect=2).stderr
    assert here("fit", *TINY, "--model.encoder", "bomb.yaml", expect=2).stderr.count("asd: error") == 1


@pytest.mark.parametrize("function", ["torch.fx.symbolic_trace", "subprocess.getoutput", "asd.testing.check_encoder"])
def test_a_config_of_ones_own_names_classes_and_no_functions(function: str, here: Any, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"model: {{encoder: {{init_args: {{augment: {{class_path: {function}}}}}}}}}")
    done = here("fit", *TINY, "--config", "own.yaml", expect=2)
    assert len([line for line in done.stderr.splitlines() if line.startswith("asd: error:")]) == 1


FULL = """
import resource, signal, sys
from asd.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs limits on the size of a file")
@pytest.mark.parametrize("command", ["synthesize", "fit", "predict"])
def test_a_disk_that_is_full_is_one_line(command: str, trained: Path, synthetic: Path, tmp_path: Path) -> None:
    words: dict[str, list[object]] = {
        "synthesize": ["data", "synthesize", "made", "--machines", "fan"],
        "fit": ["fit", *TINY, "--data", "ToyADMOS2", "--data.root", synthetic, "--data.cache_gb=0"],
        "predict": ["predict", "--ckpt_path", trained / "checkpoints/last.ckpt", "--out", "store"],
    }
    done = subprocess.run(
        [sys.executable, "-c", FULL, "12000", *map(str, words[command])],
        cwd=tmp_path, capture_output=True, text=True, timeout=200, env={**os.environ, "MPLCONFIGDIR": str(tmp_path)},
        check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.strip().splitlines()[-1].startswith("asd: error: cannot write")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.part"))
