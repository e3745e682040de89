"""Requests drawn from the OpenAPI document, as it allows them and as it does not: schemathesis finds nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.integration.serve.client import Started

pytest.importorskip("schemathesis")
SEED, EXAMPLES = 20, 10


def test_schemathesis_finds_nothing(trained: Path, tmp_path: Path) -> None:
    own = Path(shutil.copy(trained / "checkpoints/last.ckpt", tmp_path / "own.ckpt"))
    options = ("--calibrated", tmp_path / "new.ckpt", "--max-megabytes", 2, "--max-seconds", 60)
    client = Started(own, tmp_path, *options, ASD_TOKEN="sesame")
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{client.url}/v1/openapi.json", "--checks", "all",
        "--header", "Authorization: Bearer sesame", "--seed", str(SEED), "--max-examples", str(EXAMPLES),
        "--generation-database", "none", "--request-timeout", "60", "--no-color",
    ]  # fmt: skip
    hooks = {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.integration.serve.recordings_drawn"}
    environment = {**os.environ, **hooks}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, errors="replace")
    figures = client.text("/metrics", {"Authorization": "Bearer sesame"})
    _, errors = client.stop()
    # Recordings, which are in the commands that reproduce a failure, tell nobody anything.
    assert done.returncode == 0, re.sub(r"Reproduce with:.*?st replay", "", done.stdout, flags=re.S) + done.stderr
    assert "Operations:       6 selected / 6 total" in done.stdout
    assert "Traceback" not in errors
    for route in ("score", "feedback", "calibrate", "machines"):
        for status in (200, 401, 405):
            assert f'route="/v1/{route}",status="{status}"' in figures, "what is described was tried"
