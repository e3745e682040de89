"""The guides that add a part: what they show is written to files and run, line by line, as a reader would."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from asd.data import scan
from tests.docs.pages import DOCS, Block, blocks
from tests.docs.reader import follow
from tests.forked import in_its_own_process

PAGES = sorted((DOCS / "guides").glob("add_*.md"))
COLUMNS = ("path", "machine", "split", "kind", "domain", "condition", "attributes")


def reads(block: Block, command: str) -> str:
    """All that is followed."""
    return "run" if DOCS / block.page in PAGES and block.language != "text" else ""


@pytest.fixture
def desk(synthetic: Path, tmp_path: Path) -> Path:
    """A folder with the recordings, listed in a table, that the guide to data modules takes for granted."""
    (tmp_path / "plant").mkdir()
    with (tmp_path / "plant/clips.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", *COLUMNS[1:]])
        table.writerows([getattr(clip, name) for name in COLUMNS] for clip in scan(synthetic))
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_whoever_does_what_the_page_says_gets_there(page: Path, desk: Path, synthetic: Path) -> None:
    """The file is checked by `asd.testing`, trained with, and found in what that leaves."""
    (own,) = [one.text for one in blocks(page) if one.language == "python" and one.file.startswith("parts/")]
    in_its_own_process(follow, page, desk, synthetic, log=desk / "said.txt")
    (name,) = re.findall(r"^class (\w+)", own, re.M)
    tests = "".join(path.read_text() for path in desk.glob("test_*.py"))
    assert re.search(rf"check_\w+\({name}\(", tests), f"the page checks {name}"
    left = [*desk.glob("runs/*/*/rescored/rescored.csv")] or [*desk.glob("runs/*/*/config.yaml")]
    assert left
    assert all(name in path.read_text() for path in left), f"{name} is not what was trained with"
