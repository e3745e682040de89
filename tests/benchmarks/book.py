"""How much of the book is run by tests, and how long a page to start by takes: ``python -m tests.benchmarks.book``.

``--follow PAGE`` does what a page of ``docs/start`` says, each line in a process of its own and in its order, in a
folder that is made for it; a service counts until its first answer.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.docs.blocks import shares
from tests.docs.pages import DOCS, blocks

ALARM = ("asd score ", "asd watch ")
"""What ends with 1 where something sounds wrong."""


def steps(page: Path) -> Iterator[list[str]]:
    """What a reader types, one after the other."""
    for block in blocks(page):
        if block.language == "bash":
            yield from (["bash", "-ec", line] for line in block.lines)
        elif block.language == "python":
            yield [sys.executable, "-c", block.text]


def seconds(step: list[str], folder: Path) -> tuple[float, float]:
    """Clock and processor of one."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    if step[-1].startswith("asd serve "):
        process = subprocess.Popen([*step[:-1], f"exec {step[-1]}"], cwd=folder, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        urllib.request.urlopen(process.stdout.readline().strip()).read()
        spent = time.perf_counter() - start
        process.terminate()
        process.wait()
    else:
        code = subprocess.run(step, cwd=folder, capture_output=True, check=False).returncode
        assert code == 0 or (code == 1 and step[-1].startswith(ALARM)), f"{step[-1]}: exit code {code}"
        spent = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--follow", metavar="PAGE", help="plant or research")
    page = parser.parse_args().follow
    if page is None:
        print("\n".join(shares()))
        return
    print("| step | clock, s | processor, s |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        spent: list[tuple[float, float]] = []
        for step in steps(DOCS / f"start/{page}.md"):
            spent.append(seconds(step, Path(folder)))
            print("| `{}` | {:.1f} | {:.1f} |".format(step[-1].splitlines()[-1], *spent[-1]), flush=True)
    clock, processor = map(sum, zip(*spent, strict=True))
    print(f"| all {len(spent)} | {clock:.1f} | {processor:.1f} |")


if __name__ == "__main__":
    main()
