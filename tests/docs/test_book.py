"""The book is built without a warning, names what there is, and shows nothing that does not run."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if not {"generated", "_build"} & set(path.relative_to(DOCS).parts))


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as HTML; every page is in the contents and every link leads somewhere, or Sphinx warns."""
    folder = tmp_path_factory.mktemp("book")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-d",
        folder / "trees",
        DOCS,
        folder / "html",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "html"


def test_the_book_is_built_without_a_warning(book: Path) -> None:
    assert (book / "index.html").is_file()


def test_a_page_needs_nothing_from_elsewhere(book: Path) -> None:
    """Scripts, styles, fonts and pictures; links to read on are free to lead away."""
    for page in book.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\bsrc=\"([^\"]+)\"", text)
        loaded += re.findall(r"<link[^>]*\brel=\"(?:stylesheet|preload|icon)\"[^>]*\bhref=\"([^\"]+)\"", text)
        assert not [one for one in loaded if re.match(r"(?:https?:)?//", one)], page


def test_every_public_name_has_its_entry(book: Path) -> None:
    """By discovery over the packages that are doors."""
    sys.path.insert(0, str(DOCS))
    try:
        api = importlib.import_module("generated").API
    finally:
        sys.path.remove(str(DOCS))
    for door in api:
        text = (book / "reference" / "generated" / "api" / f"{door}.html").read_text(encoding="utf-8")
        module = importlib.import_module(door)
        names = [name for name in module.__all__ if name[0] != "_" and not inspect.ismodule(getattr(module, name))]
        missing = [name for name in names if not re.search(rf">{name}<", text)]
        assert not missing, door


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_files_that_are_named_are_there(page: Path) -> None:
    named = set(re.findall(r"`((?:configs|tests|asd|plugins|docs)/[\w/.-]+\.\w+)`", page.read_text(encoding="utf-8")))
    assert not [one for one in named if "NAME" not in one and not (ROOT / one).exists()]
