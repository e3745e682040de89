"""What stands on a page of the book: its blocks, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BOOK = [
    ROOT / "README.md",
    *(path for path in sorted(DOCS.rglob("*.md")) if not {"generated", "_build"} & set(path.relative_to(DOCS).parts)),
]
"""Every page that is written by hand."""
SHELLS = ("bash", "console")

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
_NAMED = re.compile(r"# (\S+\.\w+)\n")


class Block(NamedTuple):
    """A block of code.

    Attributes:
        page: Where it stands, below the folder of the book; ``README.md`` is not there.
        language: ``bash``, ``python``, ``yaml``, ``text``, ...
        text: All of it.
    """

    page: str
    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """The lines that are not empty, without the rest of the line from a comment on."""
        return [line.split("  #")[0].strip() for line in self.text.splitlines() if line.strip()]

    @property
    def commands(self) -> list[str]:
        """What a shell is told, one after the other; of another language, all of it."""
        if self.language not in SHELLS:
            return [self.text]
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        told = [line.split("  #")[0].strip() for line in lines if not line.startswith("#")]
        return [" ".join(one.split()) for line in told if line for one in line.split(" && ")]

    @property
    def file(self) -> str:
        """The file that it is, which a comment in its first line names; empty where none is named."""
        named = _NAMED.match(self.text)
        return named[1] if named else ""

    def __str__(self) -> str:
        """The page and how it begins, which names a test."""
        return f"{self.page}: {self.text.splitlines()[0][:60]}"


def blocks(*pages: Path) -> Iterator[Block]:
    """Those of the pages."""
    for page in pages:
        for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
            yield Block(page.relative_to(ROOT).as_posix().removeprefix("docs/"), language, text)


def listed(index: Path, caption: str) -> list[Path]:
    """The pages in that part of the contents of a section."""
    text = index.read_text(encoding="utf-8")
    (names,) = re.findall(rf":caption: {caption}\n\n(.*?)```", text, re.S)
    return [index.parent / f"{name}.md" for name in names.split()]
