"""What the book takes from the program itself: Markdown below `reference/generated`, written anew at every build."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx

from asd import plugins

API = ("asd", "asd.data", "asd.encoders", "asd.heads", "asd.scoring", "asd.training", "asd.evaluation", "asd.inference",
       "asd.testing")  # fmt: skip
"""Packages that are doors: what they name is public."""


def api() -> Iterator[tuple[str, str]]:
    """A page for each public package, by autodoc."""
    for name in API:
        # What the first of them shows is of the others, which the index names.
        option = "   :no-index:\n" if name == "asd" else ""
        yield f"api/{name}.md", f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n{option}```\n"
    listed = "\n".join(API)
    yield "api/index.md", f"# Python API\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"


PAGES = (api,)
"""Functions that give the place and the text of pages."""


def write(app: Sphinx) -> None:
    """Write all pages; those that there are no longer go."""
    folder = Path(app.srcdir) / "reference" / "generated"
    plugins.load_all()
    wanted = {folder / name: text for pages in PAGES for name, text in pages()}
    for path in folder.rglob("*.md"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        # One that is as it was keeps its time, so that it is not read again.
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Known to Sphinx as an extension."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
