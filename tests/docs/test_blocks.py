"""Nothing stands in a block of the book that no test reads."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import UNREAD, read, readers, shares
from tests.docs.pages import BOOK, Block, blocks

BLOCKS = list(blocks(*BOOK))


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_is_read_by_a_test(block: Block) -> None:
    unread = [one for one in block.commands if not any(reader(block, one) for reader in readers())]
    assert read(block) != UNREAD, f"no test reads {unread}; see `reads` in tests/docs"


def test_every_fence_is_seen() -> None:
    """One that is indented, or says no language, would be missed; those of Sphinx are not to be read by people."""
    text = "".join(page.read_text(encoding="utf-8") for page in BOOK)
    fences = re.findall(r"^[ >]*(?:`{3,}|~{3,}).*$", text, re.M)
    directives = re.findall(r"^```\{[\w-]+\}.*\n(?:.*\n)*?```$", text, re.M)
    assert len(fences) == 2 * (len(BLOCKS) + len(directives))


def test_the_share_is_counted() -> None:
    """`python -m tests.benchmarks.book` prints the same."""
    *table, told = shares()
    print("\n".join([*table, told]))
    assert len(BLOCKS) >= 100
    assert told.endswith(" 100 %")
