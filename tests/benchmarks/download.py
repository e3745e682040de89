"""`asd data download` beside curl and unzip, from a server on this machine: ``python -m tests.benchmarks.download``.

The server is a process of its own and serves the interface of Zenodo. Both fetch the same archives and unpack them, one
after the other and three at a time.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import http.server
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from asd.data.download.zenodo import RECORDS

RATE = 16000
MACHINES = ("fan", "valve", "slider", "gearbox")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Lists the first record of 2025, and serves its files."""

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        folder = Path(self.directory)
        if len(parts) == 3:
            self.answer((folder / "listing.json").read_bytes())
        else:
            self.path = f"/{parts[-2] if parts[-1] == 'content' else parts[-1]}"
            super().do_GET()

    def answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def make(folder: Path, clips: int) -> int:
    """Archives of `clips` clips of noise each, deflated; returns the bytes of all."""
    random = np.random.default_rng(0)
    files = []
    for machine in MACHINES:
        path = folder / f"dev_{machine}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(clips):
                wav = folder / "clip.wav"
                soundfile.write(wav, random.normal(0, 0.05, 10 * RATE), RATE)
                archive.write(wav, f"{machine}/train/section_00_source_train_normal_{number:04d}_n_A.wav")
        checksum = f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}"
        files.append({"key": path.name, "size": path.stat().st_size, "checksum": checksum})
    (folder / "listing.json").write_text(json.dumps({"files": files}))
    return sum(int(str(one["size"])) for one in files)


def serve(folder: Path, told: object) -> None:
    """Serve until the process is ended."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    told.put(server.server_port)
    server.serve_forever()


def ours(url: str, jobs: int, out: Path) -> None:
    """`asd data download`, checked against the listing's checksums."""
    from asd.data.download import fetch

    archives = fetch.find(2025, ["dev_data"], None, out, url)
    done = fetch.fetch(
        [one for one in archives if one.machine in MACHINES], out, jobs, False, lambda _: lambda *__: None
    )
    assert len(done.unpacked) == len(MACHINES), done


def theirs(url: str, jobs: int, out: Path) -> None:
    """curl, then md5sum, then unzip, with as many at a time."""
    record = RECORDS[2025]["dev_data"][0]
    names = " ".join(f"dev_{machine}.zip" for machine in MACHINES)
    one = f"curl -sf -o {{}} {url}/records/{record}/files/{{}} && md5sum {{}} > {{}}.md5 && unzip -q {{}} && rm {{}}"
    command = f"echo {names} | tr ' ' '\\n' | xargs -P {jobs} -I{{}} sh -c '{one}'"
    subprocess.run(command, shell=True, check=True, cwd=out)


def seconds(run: Callable[[str, int, Path], None], url: str, jobs: int) -> float:
    """Wall-clock time of one run into a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run(url, jobs, Path(folder))
        spent = time.perf_counter() - start
        assert len(list(Path(folder).rglob("*.wav"))) > 0
        return spent


def main() -> None:
    """Make archives, serve, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--clips", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size = make(Path(folder), given.clips) / 1e6
        context = multiprocessing.get_context("fork")
        told = context.Queue()
        server = context.Process(target=serve, args=(Path(folder), told), daemon=True)
        server.start()
        url = f"http://127.0.0.1:{told.get()}"
        print(f"{len(MACHINES)} archives of {given.clips} clips, {size:.0f} MB in all\n")
        print("| at a time | asd, MB/s | curl, md5sum and unzip, MB/s | ratio |\n|---:|---:|---:|---:|")
        for jobs in (1, 3):
            rounds = [(seconds(ours, url, jobs), seconds(theirs, url, jobs)) for _ in range(given.rounds)]
            mine, other = (statistics.median(size / one for one in column) for column in zip(*rounds, strict=True))
            ratio = statistics.median(b / a for a, b in rounds)
            print(f"| {jobs} | {mine:.0f} | {other:.0f} | {ratio:.2f} |")
        server.terminate()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
