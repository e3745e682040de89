"""What the tests share: data, the program, and the project's folders."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.forked import Forked
from tests.quick import QUIET

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
Program = Callable[..., subprocess.CompletedProcess[str]]

# Small data: more threads only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def run_asd(
    *arguments: object, cwd: Path, expect: int = 0, timeout: float = 300, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own, and insist on its exit code."""
    return Forked(*arguments, cwd=cwd, **env).ended(expect, timeout)


@pytest.fixture(scope="session")
def asd() -> Program:
    """The program as a user runs it: `asd(*arguments, cwd=..., expect=exit code)`."""
    return run_asd


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """As `asd`, but in this process, which saves the seconds of its start-up; `cwd` is `tmp_path` unless given."""
    from asd.cli import main

    def run(*arguments: object, cwd: Path = tmp_path, expect: int = 0) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(cwd)
        code = main(list(map(str, arguments)))
        shown = capsys.readouterr()
        assert code == expect, f"exit code {code}\n{shown.out[-3000:]}\n{shown.err[-3000:]}"
        return subprocess.CompletedProcess(list(map(str, arguments)), code, shown.out, shown.err)

    return run


@pytest.fixture(scope="session")
def parse() -> Callable[[list[str]], Any]:
    """What `asd` would run with: parses the arguments of a trainer command in full, and builds nothing."""
    from asd import plugins
    from asd.cli.arguments import as_files, configs_first
    from asd.cli.training import TrainingCLI, _out_named, training_cli

    class Parsed(TrainingCLI):
        def instantiate_classes(self) -> None:
            self.datamodule = self.model = self.trainer = None

        def after_instantiate_classes(self) -> None:
            self.subcommand = None

    def parsed(arguments: list[str]) -> Any:
        with as_files(configs_first(_out_named(arguments))) as plain:
            return training_cli(plain, Parsed).config[arguments[0]]

    plugins.load_all()
    return parsed


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of two machines, one with hidden attributes; not to be changed."""
    from asd.data.synthesis.dataset import synthesize

    out = tmp_path_factory.mktemp("synthetic") / "data"
    return synthesize(
        out, ["fan", "bearing"], seconds=1.0, train_source=12, train_target=3, test=4, supplemental=4, seed=3
    )


@pytest.fixture(scope="session")
def trained(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs on that data, tested; in bfloat16, on clips of a second; not to be changed."""
    from asd.cli import main

    folder = tmp_path_factory.mktemp("trained")
    arguments = [
        "fit", "--config", ROOT / "configs/recipe/dual_branch.yaml", "--data.root", synthetic, "--data.seconds=1",
        "--data.batch_size=8", "--model.encoder.seconds=1", "--model.encoder.width=4", "--trainer.max_epochs=2",
        "--trainer.check_val_every_n_epoch=1", *QUIET,
    ]  # fmt: skip
    # In this process, which saves the seconds of a start.
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(list(map(str, arguments))) == 0
    return folder / said.getvalue().strip().splitlines()[-1]


@pytest.fixture(scope="session")
def realmix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real machine sound in real noise, small build of short clips."""
    builder = SHARED / "realmix" / "build.py"
    if not builder.is_file():
        pytest.skip(f"needs {builder}")
    out = tmp_path_factory.mktemp("realmix")
    plan = json.loads((builder.parent / "plan.json").read_text())
    for machine in plan["machines"].values():
        machine["seconds"] = 3
    (out / "plan.json").write_text(json.dumps(plan))
    sizes = ["--train-source", "20", "--train-target", "4", "--test", "5", "--supplemental", "8"]
    command = [sys.executable, builder, out / "data", "--plan", out / "plan.json", *sizes]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return out / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference material that lies beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"needs {SHARED}")
    return SHARED


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The matplotlib figures of a test as they are saved."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figures: list[Figure] = []
    save = FigureCanvasAgg.print_png

    def keep(self: FigureCanvasAgg, *args: object, **kwargs: object) -> None:
        figures.append(self.figure)
        save(self, *args, **kwargs)

    monkeypatch.setattr(FigureCanvasAgg, "print_png", keep)
    return figures
