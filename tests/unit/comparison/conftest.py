"""Two small encoders compared once, for the tests that look at it or go on from it."""

from __future__ import annotations

import contextlib
import csv
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from asd.cli import main

CNN = "DualBranchCNN:seconds=1,width=4,branch_dim=8,spectrum_points=200"
NET = "MobileNet:weights=published/net.pt,blocks=2,rows=kept"
SMALL = ("--set", "seconds=1", "--set", "batch_size=8")


@pytest.fixture(scope="session")
def place(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights in a file, where both encoders have been compared; not to be changed."""
    from asd_plugins.mobilenet import MobileNet

    folder = tmp_path_factory.mktemp("compared")
    (folder / "published").mkdir()
    torch.manual_seed(0)
    state = {f"features.{key}": value for key, value in MobileNet(width=0.1).features.state_dict().items()}
    torch.save(state, folder / "published/net.pt")
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["compare", CNN, NET, "--data", str(synthetic), *SMALL]) == 0
    (folder / "said.txt").write_text(said.getvalue())
    return folder


@pytest.fixture
def copy(place: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(place, tmp_path / "copy"))


@pytest.fixture
def again(copy: Path, synthetic: Path, here) -> Callable[..., SimpleNamespace]:
    """Compares in the copy; gives what was said, and the names of the encoders that embedded anew."""

    def run(*arguments: object, expect: int = 0, data: Path = synthetic) -> SimpleNamespace:
        done = here("compare", *arguments, "--data", data, *SMALL, cwd=copy, expect=expect)
        lines = [line for line in done.stderr.splitlines() if line.startswith("embedding") and " failed: " not in line]
        begun = [line.split()[1].partition(":")[0] for line in lines]
        return SimpleNamespace(out=done.stdout, err=done.stderr, embedded=begun)

    return run


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "runs/compare/comparison.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def stores(folder: Path, name: str = "") -> list[Path]:
    return sorted(folder.glob(f"runs/compare/{name}*-*/embeddings"))


def values(folder: Path) -> list[list[str]]:
    """What a comparison finds, without what it took."""
    kept = ("encoder", "vector", "back end", "official score", "pseudo-AUC", "failed")
    return [[row[key] for key in kept] for row in rows(folder)]
