"""The notebooks: every cell runs, in order, with the settings of its first one made small."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from asd.cli import main
from tests.forked import in_its_own_process

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs/notebooks").glob("*.ipynb"))
SMALL: dict[str, object] = {
    "SECONDS": 1.0,
    "EPOCHS": 2,
    "LENGTH": 3.0,
    "RECORDINGS": 4,
    "TEST": 2,
    "MACHINES": ["fan", "bearing"],
    "SIZES": {"train_source": 12, "train_target": 3, "test": 4, "supplemental": 4},
    "WIDTH": 4,
}


def cells(notebook: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return found


def run_cells(notebook: Path, folder: Path) -> None:
    """Run the code of a notebook as IPython would; a line after a ``!`` is one of a shell."""
    os.chdir(folder)
    os.environ["MPLBACKEND"] = "agg"
    names: dict[str, Any] = {"__name__": "__main__"}

    def shell(line: str) -> None:
        words = shlex.split(re.sub(r"\{(.*?)\}", lambda place: str(eval(place[1], names)), line))
        assert words[0] == "asd"
        assert main(words[1:]) == 0, line

    names["shell"] = shell
    for number, cell in enumerate(cells(notebook)):
        if cell["cell_type"] != "code":
            continue
        text = re.sub(r"^!(.*)$", lambda line: f"shell({line[1]!r})", "".join(cell["source"]), flags=re.M)
        exec(compile(text, f"cell {number}", "exec"), names)
        if "settings" in cell["metadata"].get("tags", ()):
            names.update({name: value for name, value in SMALL.items() if name in names})


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(notebook: Path, tmp_path: Path) -> None:
    in_its_own_process(run_cells, notebook, tmp_path, log=tmp_path / "said.txt")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_settings_come_first_and_outputs_are_none(notebook: Path) -> None:
    """What was last printed somewhere is no part of the book."""
    code = [cell for cell in cells(notebook) if cell["cell_type"] == "code"]
    assert code[0]["metadata"]["tags"] == ["settings"]
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"]]
    assert len({cell["id"] for cell in cells(notebook)}) == len(cells(notebook))
