"""Both ways to start run as their pages tell them: every command in its order, on data of a second."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
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
    "fit --config quickstart": "--data.machines=[fan] --data.train_source=12 --data.train_target=3 --data.test=3",
    "fit --config recipe/dual_branch": "--model.encoder.width=4",
    "report": "--clips 1 --no-audio",
}
"""What is appended to the commands that begin so: less of everything, nothing else."""
ALARM = ("score", "watch")
"""Commands whose exit code 1 is no failure but an anomaly."""


def reads(block: Block, command: str) -> str:
    """All of it: files are written, commands done, output compared."""
    return "run" if DOCS / block.page in PAGES else ""


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
        if block.language == "python":
            self.said[block.text] = self._python(block.text)
        for line in block.lines if block.language == "bash" else ():
            run = self._asd if line.startswith("asd ") else self._shell
            self.said[line] = run(line)

    def _python(self, text: str) -> str:
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(text, "the page", "exec"), {})
        return out.getvalue()

    def _asd(self, line: str) -> str:
        small = [one for begin, one in SMALL.items() if line.startswith(f"asd {begin}")]
        words = shlex.split(" ".join([line, *small]))[1:]
        if words[0] == "serve":
            return self._served(words[1])
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
        assert code in ((0, 1) if words[0] in ALARM else (0,)), f"{line}: {code}\n{out.getvalue()}\n{err.getvalue()}"
        return out.getvalue() + err.getvalue()

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
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told]:
    page = request.param
    told = Told(tmp_path_factory.mktemp(page.stem))
    for block in blocks(page):
        told.follow(block)
    return page, told


def test_every_command_of_the_page_does_what_it_says(told: tuple[Path, Told]) -> None:
    page, followed = told
    wanted = [block for block in blocks(page) if block.language in ("bash", "python")]
    steps = [line for one in wanted for line in (one.lines if one.language == "bash" else [one.text])]
    assert len(steps) >= 8
    assert list(followed.said) == steps


def test_what_is_shown_is_of_the_form_that_the_programs_say(told: tuple[Path, Told]) -> None:
    """Figures are those of larger data: without them, a line of each output is one that was said here."""
    page, followed = told

    def form(line: str) -> str:
        return " ".join(re.sub(r"[\d.,]+", "0", line).split())

    lines = [form(line) for output in followed.said.values() for line in output.splitlines()]
    said = {line for line in lines if re.search(r"[a-z]{3}", line)}
    shown = [block.text for block in blocks(page) if block.language == "text"]
    assert shown
    assert [text for text in shown if not said & set(map(form, text.splitlines()))] == []
