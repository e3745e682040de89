"""Which test reads what: of every block of the book, whether it is run, parsed, or what a program said."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.docs.pages import BOOK, Block, blocks
from tests.docs.test_notebooks import NOTEBOOKS, cells

RUN, PARSED, SHOWN, UNREAD = "run", "parsed", "shown", "unread"
"""Done as a reader would do it; understood by the program that it is for; output or a picture of folders; nobody."""
Reader = Callable[[Block, str], str]


@cache
def readers() -> list[Reader]:
    """The function `reads` of each module of tests that has one, which answers by what its tests are given.

    Of a block and one of its commands (or all of its text) it says whether these run or parse it, or nothing.
    """
    modules = [importlib.import_module(f"tests.docs.{path.stem}") for path in Path(__file__).parent.glob("test_*.py")]
    return [module.reads for module in modules if hasattr(module, "reads")]


def read(block: Block) -> str:
    """How a block is read: as its least read command is."""
    ways = [{reader(block, command) for reader in readers()} for command in block.commands]
    least = [next((way for way in (RUN, PARSED) if way in found), UNREAD) for found in ways]
    worst = max(least, key=(RUN, PARSED, UNREAD).index)
    return SHOWN if worst == UNREAD and block.language == "text" else worst


def shares() -> list[str]:
    """Lines of a table, and what it comes to."""
    found = list(blocks(*BOOK))
    ways = Counter((block.language, read(block)) for block in found)
    code = sum(cell["cell_type"] == "code" for notebook in NOTEBOOKS for cell in cells(notebook))
    kinds = (RUN, PARSED, SHOWN, UNREAD)
    lines = [f"| blocks of | {' | '.join(kinds)} |", "|---|" + "---:|" * len(kinds)]
    lines += [
        f"| {language} | {' | '.join(str(ways[language, kind]) for kind in kinds)} |"
        for language in sorted({block.language for block in found})
    ]
    total = [sum(count for (_, way), count in ways.items() if way == kind) for kind in kinds]
    lines += [f"| cells of {len(NOTEBOOKS)} notebooks | {code} | 0 | 0 | 0 |"]
    lines += [f"| all | {' | '.join(map(str, (total[0] + code, *total[1:])))} |", ""]
    told = len(found) + code - total[2]
    share = 100 * (told - total[3]) / told
    return [
        *lines,
        f"{len(BOOK)} pages, {told} blocks and cells to type or to write: a test runs or parses {share:.0f} %",
    ]
