"""How the program is cited, and what people are asked, is what the program is."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

from asd import __version__

ROOT = Path(__file__).parents[2]


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert cited["version"] == __version__
    assert cited["license"] == project["license"]
    assert set(cited) >= {"cff-version", "message", "title", "authors"}


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda path: path.stem
)
def test_a_form_is_whole(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"]
    assert form["description"]
    assert all(one["type"] in ("textarea", "input") and one["attributes"]["label"] for one in form["body"])
    assert any(one.get("validations", {}).get("required") for one in form["body"])
