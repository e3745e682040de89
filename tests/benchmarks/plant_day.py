"""A day of four sources at speed, while broker and program are killed: ``python -m tests.benchmarks.plant_day RUN``.

Four recorders have each written a file a minute, some with a fault. `asd watch --config` judges them as fast as it can
and publishes to mosquitto, which keeps what it has on disk; both are ended several times on the way, the program by
SIGKILL. Told is how many windows were never scored, how many events were written and never arrived, how many came twice
for whoever does not look at ids, and the most memory that the program took.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import soundfile
import yaml

from asd.events.event import NOT_DELIVERED
from asd.inference import Detector
from tests.integration.broker import Broker, Subscriber, until
from tests.integration.pump import RATE, hum, knowing

SECONDS = 60
SOURCES = ("north", "east", "south", "west")
EVERY = 7
"""So many files, of which one has a fault."""


class Program:
    """`asd watch`, started again and again; what it wrote is read as it comes."""

    def __init__(self, config: Path) -> None:
        self.config, self.out = config, config.with_suffix(".out")
        self.out.touch()
        self.judged: set[tuple[str, str]] = set()
        self.windows: set[tuple[str, str, float]] = set()
        self.events: dict[str, str] = {}
        self.most_memory = 0.0
        self._read = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "asd", "watch", "--config", str(self.config), "--scores", "--quiet"]
        with self.out.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out)

    def end(self, by: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(by)
        self._process.wait(120)
        self.look()

    def look(self) -> int:
        """Read on; returns how many files are judged."""
        with self.out.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                # A line that was cut short by SIGKILL is followed by the next start's.
                self._take(json.loads(line[line.rfind(b'{"type"') :]))
        if self._process is not None and self._process.poll() is None:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
            self.most_memory = max(self.most_memory, pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        return len(self.judged)

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] == "score":
            self.windows.add((event["source"], event["file"], event["time"]))
        elif event["type"] == "file":
            self.judged.add((event["source"], event["file"]))
        elif event["type"] not in NOT_DELIVERED:
            self.events[event["id"]] = event["type"]


def recorded(folder: Path, minutes: int) -> None:
    """The files of a day that is over."""
    begin = time.time() - 60 * minutes - 3600
    sounds = [hum(seed, SECONDS, fault).astype("float32") for seed, fault in ((1, 0.0), (2, 0.2))]
    for place, source in enumerate(SOURCES):
        (folder / source).mkdir(parents=True)
        for minute in range(minutes):
            path = folder / source / f"{minute:05}.wav"
            soundfile.write(path, sounds[(minute + place) % EVERY == 0], RATE)
            os.utime(path, (begin + 60 * minute, begin + 60 * minute))


def main() -> None:
    """Print a table of what was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run's folder or checkpoint, to which the machine is enrolled")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--kills", type=int, default=3, help="of the program, and as many restarts of the broker")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="asd-plant-") as name:
        measure(Path(name), args.run, round(60 * args.hours), args.kills)


def measure(folder: Path, run: Path, minutes: int, kills: int) -> None:
    """Listen to so many minutes of each source."""
    checkpoint = knowing(run, folder, SECONDS)
    recorded(folder, minutes)
    (folder / "broker").mkdir()
    broker = Broker(folder / "broker")
    broker.start()
    listening = Subscriber(broker.port)
    sources = {source: {"folder": source, "machine": "pump", "poll": 0.2} for source in SOURCES}
    url = f"mqtt://127.0.0.1:{broker.port}/plant"
    (folder / "plant.yaml").write_text(yaml.safe_dump({"checkpoint": str(checkpoint), "mqtt": url, "sources": sources}))
    program, files, began = Program(folder / "plant.yaml"), minutes * len(SOURCES), time.monotonic()
    program.start()
    for step in range(1, 2 * kills + 1):
        until(lambda step=step: program.look() >= files * step / (2 * kills + 1), "files are judged", 1e6)  # type: ignore[misc]
        if step % 2:
            program.end(signal.SIGKILL)
            program.start()
        else:
            broker.stop()
            at = program.look()
            until(lambda at=at: program.look() >= min(files, at + 20), "it goes on without a broker", 1e6)  # type: ignore[misc]
            broker.start()
    until(lambda: program.look() >= files, "all files are judged", 1e6)
    seconds = time.monotonic() - began
    until(lambda: set(program.events) <= {one["id"] for one in listening.under("/event")}, "all arrive", 120)
    program.end(signal.SIGTERM)
    time.sleep(5)
    arrived = Counter(one["id"] for one in listening.under("/event"))
    listening.close()
    broker.stop()
    cut = Detector.load(checkpoint).cut
    expected = files * len(cut.with_hop(cut.seconds / 2).starts(SECONDS))
    print("| hours of sound | x its time | windows | lost | events | lost | arrived twice | kills | memory, MB |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    cells = [
        f"{files * SECONDS / 3600:.1f}", f"{files * SECONDS / seconds:.0f}", expected,
        expected - len(program.windows), len(program.events), len(program.events.keys() - arrived.keys()),
        sum(count - 1 for count in arrived.values()), 2 * kills, f"{program.most_memory:.0f}",
    ]  # fmt: skip
    print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
