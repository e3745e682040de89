"""Whoever does what a page says: files are written, and every line of a shell is run."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import shlex
import sys
from pathlib import Path

from asd.cli import main
from tests.docs.pages import blocks
from tests.quick import QUICK

_SMALL = ("--data.seconds=1", "--data.batch_size=8", "--data.calibration=0")


def follow(page: Path, folder: Path, data: Path) -> None:
    """Do all that the blocks of a page say, in a folder, in this process.

    Args:
        page: A guide; the first line of a file that it shows names the file.
        folder: Where; what the page takes for granted lies there.
        data: What is trained on in the place of data that take long to make.
    """
    os.chdir(folder)
    for block in blocks(page):
        if block.language == "bash":
            for line in block.text.splitlines():
                _do(line, data)
        elif block.language in ("python", "yaml"):
            assert block.file, f"the first line of a file names it: {block}"
            place = Path(block.file)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(block.text)


def _do(line: str, data: Path) -> None:
    words = shlex.split(line)
    settings = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    if words[0] == "export":
        os.environ.update(settings)
    elif words[len(settings)] == "pytest":
        sys.path.insert(0, settings["PYTHONPATH"])
        _test(Path(words[-1]))
    else:
        assert words[0] == "asd", f"nobody runs {line!r}"
        code = main([*words[1:], *_less(words, data)])
        assert code == 0, f"{line}: exit code {code}"


def _less(words: list[str], data: Path) -> list[str]:
    """What makes a command quick."""
    command, given = words[1], {word.partition("=")[0] for word in words}
    if command == "rescore":
        return ["--no-pictures"]
    if command in ("test", "predict"):
        return list(QUICK)
    if command != "fit":
        return []
    if "--ckpt_path" in given:  # which knows the rest
        return [*QUICK, "--trainer.max_epochs=2"]
    less = [*_SMALL, *QUICK, f"--trainer.max_epochs={2 if '--warmup.epochs' in given else 1}"]
    if "--data" not in given:
        less += ["--data", "ToyADMOS2", "--data.root", str(data), "--data.machines=[fan]"]
    if "--model.encoder" not in given:
        less += ["--model.encoder.seconds=1", "--model.encoder.width=4"]
    return less


def _test(file: Path) -> None:
    """A file of tests, as pytest would."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [one for name, one in vars(module).items() if name.startswith("test_")]
    assert tests, f"{file} tests nothing"
    for number, one in enumerate(tests):
        own = Path(f"test{number}").absolute()
        own.mkdir()
        one(**dict.fromkeys(inspect.signature(one).parameters, own))
