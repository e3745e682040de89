"""What is read back of the file that says what a run was made with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asd.utils.environment import wandb_run


@pytest.mark.parametrize(
    ("content", "run"),
    [
        (json.dumps({"wandb_run": "a1-b2_c3"}), "a1-b2_c3"),
        (json.dumps({"wandb_run": "../../elsewhere"}), None),
        (json.dumps({"wandb_run": "a\n"}), None),
        (json.dumps({"wandb_run": 7}), None),
        (json.dumps(["wandb_run"]), None),
        ("{", None),
    ],
)
def test_a_run_of_wandb_is_a_plain_name(content: str, run: str | None, tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    path.write_text(content)
    assert wandb_run(path) == run
    assert wandb_run(tmp_path / "absent.json") is None
