"""What a run is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.run_folder import RunFolder


@pytest.mark.parametrize(
    ("path", "title"),
    [("runs/beats/version_3", "beats/version_3"), ("runs/hall_3", "hall_3"), ("beats/version_0/.", "beats/version_0")],
)
def test_a_run_is_called_by_what_tells_it_from_others(path: str, title: str, tmp_path: Path) -> None:
    assert RunFolder(tmp_path / path).title == title
