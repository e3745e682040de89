"""What each command imports: what it does not need would make people wait."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from asd.cli import LISTINGS, SMALL_COMMANDS, TRAINER_COMMANDS
from asd.evaluation.embedding_store import SUBSETS, Stored, StoredClip, write
from tests.unit.conftest import SmallRun

HEAVY = {
    "torch", "lightning", "transformers", "sklearn", "scipy", "librosa", "wandb", "matplotlib", "torchmetrics",
    "pandas", "sympy", "torchaudio", "torch._dynamo", "soxr", "onnx", "starlette", "tensorboard", "paho",
    "prometheus_client", "fastapi",
}  # fmt: skip
"""What takes long to import, and what only some commands need."""

RUN = """
import contextlib, io, sys
from asd.cli import main
exec(sys.argv[1])
for line in sys.argv[2:]:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            code = main(line.split("|"))
        except SystemExit as end:
            code = end.code
    assert code in (0, 1), (line, code, said.getvalue())
print("LOADED", *sys.modules)
"""


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., set[str]]:
    """What is heavy of all that some command lines import, one after the other in one new process."""
    folder = tmp_path_factory.mktemp("imports")

    def loaded(*lines: tuple[object, ...], first: str = "") -> set[str]:
        given = ["|".join(map(str, line)) for line in lines]
        done = subprocess.run(
            [sys.executable, "-c", RUN, first, *given], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return set(done.stdout.rsplit("LOADED", 1)[1].split()) & HEAVY

    return loaded


def test_what_needs_no_torch_imports_nothing_heavy(heavy: Callable[..., set[str]], small_run: SmallRun) -> None:
    helps = [(name, "--help") for name in (*SMALL_COMMANDS, *TRAINER_COMMANDS)]
    data = [("data", "check", small_run.data.root), ("data", "classes", small_run.data.root), ("configs", "list")]
    data += [("configs", "show", "recipe/beats")]
    assert heavy(("--help",), ("--version",), *helps, *data) <= {"soxr"}


def test_measuring_scores_imports_no_torch(heavy: Callable[..., set[str]], tmp_path: Path) -> None:
    rows = [f"section_00_source_test_{what}_{n:04d}.wav,{n}" for n in range(4) for what in ("normal", "anomaly")]
    (tmp_path / "anomaly_score_fan_section_00_test.csv").write_text("\n".join(rows))
    assert heavy(("evaluate", tmp_path)) <= {"sklearn", "scipy", "soxr"}


def test_what_judges_imports_no_more_than_torch(
    heavy: Callable[..., set[str]], small_run: SmallRun, tmp_path: Path
) -> None:
    detector, machine = ("--checkpoint", small_run.checkpoint), ("--machine", "fan_section_00")
    clip = small_run.clips[0]
    found = heavy(
        ("score", clip, *detector, *machine),
        ("score", clip, small_run.clips[1], *detector, *machine, "--fdr", "0.5"),
        ("explain", clip, *detector, *machine),
    )
    assert found <= {"torch", "soxr"}


def test_watching_imports_scipy_for_its_interval_and_no_scikit_learn(
    heavy: Callable[..., set[str]], small_run: SmallRun
) -> None:
    detector = ("--checkpoint", small_run.checkpoint, "--machine", "fan_section_00")
    found = heavy(("watch", small_run.clips[0], "--speed", "0", "--event", "1/1", *detector))
    assert found <= {"torch", "scipy", "soxr"}


def test_lists_import_neither_compiler_nor_transformers(heavy: Callable[..., set[str]]) -> None:
    lists = [(name,) for name in LISTINGS if name not in ("data-modules", "scorers")]
    assert heavy(*lists, ("weights", "list")) <= {"torch", "torchaudio", "soxr"}


def test_the_list_of_scorers_imports_what_they_are_fitted_with(heavy: Callable[..., set[str]]) -> None:
    assert heavy(("scorers",)) <= {"torch", "torchaudio", "soxr", "sklearn", "scipy"}


def test_what_learns_without_training_imports_no_lightning(
    heavy: Callable[..., set[str]], small_run: SmallRun, tmp_path: Path
) -> None:
    detector, normal = small_run.checkpoint, small_run.data.root / "dev_data/raw/fan/train"
    found = heavy(
        ("enroll", detector, normal, "--machine", "pump", "--out", tmp_path / "pump.ckpt"),
        ("calibrate", detector, normal, "--machine", "fan_section_00", "--out", tmp_path / "fan.ckpt"),
    )
    assert found <= {"torch", "sklearn", "scipy", "soxr"}


def test_fitting_back_ends_imports_no_lightning_and_draws_nothing_unasked(
    heavy: Callable[..., set[str]], tmp_path: Path
) -> None:
    facts = ("fan", "00", "source", "normal", "", "")
    clips = tuple(StoredClip(f"{number}.wav", *facts) for number in range(6))
    for name in SUBSETS:
        write(tmp_path / f"{name}.safetensors", Stored(torch.randn(6, 4), clips, "", 1.0))
    scorer = ("--scorer", "NeighboursScorer", "--no-pictures", "--out", tmp_path / "out")
    assert heavy(("rescore", tmp_path, *scorer)) <= {"torch", "sklearn", "scipy", "soxr"}


def test_the_service_imports_what_answers_and_counts(heavy: Callable[..., set[str]], small_run: SmallRun) -> None:
    at_once = "import asd.serve.server as server\nserver.serve = lambda app, listening: listening.close()"
    found = heavy(("serve", small_run.checkpoint, "--port", "0"), first=at_once)
    assert found <= {"torch", "soxr", "fastapi", "starlette", "prometheus_client"}
