"""Both ways to start run as their pages tell them: every command in its order, on data of a second."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from asd.cli import main
from tests.docs.pages import DOCS, Block, blocks
from tests.integration.serve.client import Started
from tests.quick import QUICK

PAGES = sorted(path for path in (DOCS / "start").glob("*.md") if path.stem != "index")
SMALL = {
    "data synthesize": "--seconds 1 --train-source 12 --train-target 5 --test 3 --supplemental 4",
    "fit": f"{' '.join(QUICK)} --data.seconds=1 --data.batch_size=8 --model.encoder.seconds=1 --trainer.max_epochs=1",
    "fit --config quickstart": "--data.train_source=12 --data.train_target=3 --data.test=3 --data.supplemental=4",
    "fit --config recipe/dual_branch": "--model.encoder.width=4",
}
"""What is appended to the commands that begin so: less of everything, nothing else."""
ALARM = ("score", "watch")
"""Commands whose exit code 1 is no failure but an anomaly."""


class Told:
    """Follows a page in a folder of its own, and keeps what was said.

    Attributes:
        said: What programs wrote, by command.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: dict[str, str] = {}

    def follow(self, block: Block) -> None:
        """Write the file that the block is, or do what it says."""
        if block.file and block.language != "bash":
            (self.folder / block.file).write_text(block.text, encoding="utf-8")
        for line in block.lines if block.language == "bash" else ():
            run = self._asd if line.startswith("asd ") else self._shell
            self.said[line] = run(line)

    def _asd(self, line: str) -> str:
        small = [one for begin, one in SMALL.items() if line.startswith(f"asd {begin}")]
        words = shlex.split(" ".join([line, *small]))[1:]
        if words[0] == "serve":
            return self._served(words[1])
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
        assert code in ((0, 1) if words[0] in ALARM else (0,)), f"{line}: {code}\n{out.getvalue()}\n{err.getvalue()}"
        return out.getvalue()

    def _served(self, checkpoint: str) -> str:
        service = Started(self.folder / checkpoint, self.folder)
        page = service.text("/")
        assert service.stop()[0] == 0
        return page

    def _shell(self, line: str) -> str:
        done = subprocess.run(["bash", "-ec", line], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        return done.stdout


@pytest.fixture(scope="module", params=PAGES, ids=lambda page: page.stem)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Told]]:
    page = request.param
    told = Told(tmp_path_factory.mktemp(page.stem))
    for block in blocks(page):
        told.follow(block)
    yield page, told


def test_every_command_of_the_page_does_what_it_says(told: tuple[Path, Told]) -> None:
    page, followed = told
    commands = [line for block in blocks(page) if block.language == "bash" for line in block.lines]
    assert len(commands) >= 8
    assert list(followed.said) == commands


def test_what_is_shown_looks_as_what_the_programs_say(told: tuple[Path, Told]) -> None:
    """Figures are those of larger data; the first line of each output, without its figures, is that of the program."""
    page, followed = told

    def words(line: str) -> str:
        return " ".join(re.sub(r"[\d.,]+", "0", line).split())

    said = {words(line) for output in followed.said.values() for line in output.splitlines()}
    shown = [block.text.splitlines()[0] for block in blocks(page) if block.language == "text"]
    assert shown
    assert [line for line in shown if words(line) not in said] == []
