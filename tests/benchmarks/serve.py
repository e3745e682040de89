"""The service beside the bare forward pass: ``python -m tests.benchmarks.serve``.

The service runs in a process of its own, with untrained weights of full size; the clients keep their connections. One
client asks in turns for a score and for a bare pass, which the service times in the thread of its model: both wake from
the same rest, and the speed of shared cores drifts within seconds. The clients speak plain HTTP over their sockets, so
that little of what is measured is theirs. What many get stands beside bare passes of whole batches.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
import torch

from asd import plugins
from asd.inference.passes import passes_in
from asd.inference.windows import BATCH
from asd.serve.app import create_app
from asd.serve.limits import Limits
from asd.serve.server import listen, serve
from asd.serve.service import Service
from asd.utils.memory import keep_freed_memory
from tests.benchmarks.deploy import SECONDS, detector

SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Of the time, after which memory is looked at."""


def be_the_service(name: str, precision: str, tiny: bool) -> None:
    """Tell a port, and serve; ``/bare`` is a forward pass and the milliseconds that it took, ``/batch`` of many."""
    plugins.load_all()
    keep_freed_memory()
    service = Service(lambda: detector(name, precision, tiny), Limits(waiting=64))
    one = service.detector
    # Made where it is used: a second thread that computes would slow the model's down.
    window = service.worker.call(lambda: torch.randn(1, one.cut.samples) * 0.1).result()

    @torch.inference_mode()
    def measured() -> float:
        torch.clear_autocast_cache()  # a pass alone casts its weights
        start = time.perf_counter()
        with passes_in(one.precision, one.model.device):
            one.model.embed(window)
        return 1000 * (time.perf_counter() - start)

    def batch() -> float:
        start = time.perf_counter()
        one.embed(window.expand(BATCH, -1).unbind())
        return 1000 * (time.perf_counter() - start)

    app = create_app(service)

    @app.get("/batch")
    async def batched() -> float:
        return await asyncio.wrap_future(service.worker.call(batch))

    @app.get("/bare")
    async def bare() -> float:
        return await asyncio.wrap_future(service.worker.call(measured))

    listening = listen("127.0.0.1", 0)
    print(json.dumps({"port": listening.getsockname()[1]}), flush=True)
    serve(app, listening)


class Client:
    """One connection to the service."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def score(self, wav: bytes) -> bool:
        """Whether a recording was scored."""
        status, content = self._ask(
            b"POST /v1/score HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(wav) + wav
        )
        return status == 200 and b'"score"' in content

    def bare(self, what: str = "bare") -> float:
        """Milliseconds of a bare pass."""
        return float(self._ask(b"GET /%s HTTP/1.1\r\nHost: here\r\n\r\n" % what.encode())[1])

    def _ask(self, request: bytes) -> tuple[int, bytes]:
        self.socket.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._received()
        head, _, content = answer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        while len(content) < length:
            content += self._received()
        return int(head.split()[1]), content

    def _received(self) -> bytes:
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError("the service hung up")
        return part


def alone(port: int, body: bytes, seconds: float) -> tuple[list[float], list[float], int]:
    """Milliseconds of each answer to one client, of the bare passes between them, and how many failed."""
    answers, bares, lost = [], [], 0
    client = Client(port)
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        start = time.perf_counter()
        lost += not client.score(body)
        answers.append(1000 * (time.perf_counter() - start))
        bares.append(client.bare())
    return answers, bares, lost


def batches(port: int, seconds: float) -> float:
    """Windows a second of bare passes of whole batches."""
    client, found = Client(port), []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends or len(found) < 3:
        found.append(client.bare("batch"))
    return 1000 * BATCH / float(np.median(found))


def together(port: int, body: bytes, count: int, seconds: float) -> tuple[list[float], int, float]:
    """Milliseconds of each answer to so many clients, how many failed, and the seconds until the last one."""
    found: list[float] = []
    lost = 0
    lock = threading.Lock()

    def run(_: int) -> None:
        nonlocal lost
        client = Client(port)
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            start = time.perf_counter()
            good = client.score(body)
            with lock:
                found.append(1000 * (time.perf_counter() - start))
                lost += not good

    begin = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(run, range(count)))
    # What is asked in time is answered later: so many answers took until the last of them.
    return found, lost, time.perf_counter() - begin


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--encoders", nargs="+", default=["DualBranchCNN", "MobileNet", "BEATs"])
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=5, help="new services for one client")
    parser.add_argument("--memory", action="store_true", help="what the service holds, instead: 8 clients, so long")
    parser.add_argument("--tiny", action="store_true", help="with a tiny encoder: more requests in the same time")
    parser.add_argument("--service", metavar="NAME", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.service:
        be_the_service(given.service, given.precision, given.tiny)
        return
    buffer = io.BytesIO()
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(SECONDS * 16000))
    soundfile.write(buffer, noise, 16000, format="WAV", subtype="PCM_16")
    service = [sys.executable, "-m", "tests.benchmarks.serve", "--precision", given.precision]
    service += ["--tiny"] * given.tiny
    if given.memory:
        print(f"| encoder | requests | lost |{''.join(f' MB after {share:.0%} |' for share in SHARES)}")
        print(f"|---|---:|---:|{'---:|' * len(SHARES)}")
        for name in given.encoders:
            hold(name, service, buffer.getvalue(), given.seconds)
        return
    print("| encoder | clients | p50, ms | p95 | p99 | over bare | real-time factor | requests/s | of batches | lost |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name in given.encoders:
        measure(name, service, buffer.getvalue(), given.seconds, given.rounds)


def hold(name: str, service: list[str], body: bytes, seconds: float) -> None:
    """Print what the service holds as a crowd goes on."""
    with subprocess.Popen([*service, "--service", name], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        asked, lost, held = 0, 0, []
        for since, until in pairwise((0.0, *SHARES)):
            found, failed, _ = together(port, body, 8, (until - since) * seconds)
            asked, lost = asked + len(found), lost + failed
            status = Path(f"/proc/{process.pid}/status").read_text()
            held.append(int(status.partition("VmRSS:")[2].split()[0]) / 1024)
        process.terminate()
    print(f"| {name} | {asked:,} | {lost} |{''.join(f' {one:.0f} |' for one in held)}", flush=True)


def measure(name: str, service: list[str], body: bytes, seconds: float, rounds: int) -> None:
    """Print the rows of an encoder."""
    bares: list[float] = []
    answers: list[float] = []
    ratios, lost, crowds = [], 0, []
    for number in range(rounds):
        with subprocess.Popen([*service, "--service", name], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            port = json.loads(process.stdout.readline())["port"]
            alone(port, body, 2.0)
            found, passes, failed = alone(port, body, seconds)
            answers, bares, lost = answers + found, bares + passes, lost + failed
            ratios.append(float(np.median(found) / np.median(passes)))
            for count in (8, 32) if number == rounds - 1 else ():
                before = batches(port, seconds / 4)
                crowd = together(port, body, count, seconds)
                crowds.append((count, *crowd, (before + batches(port, seconds / 4)) / 2))
            process.terminate()
    bare = float(np.median(bares))
    show(name, "bare forward", bares, "1.00", f"{1000 / bare:.1f} |", 0)
    spread = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    show(name, "1", answers, spread, f"{1000 / float(np.median(answers)):.1f} |", lost)
    for count, found, failed, took, rate in crowds:
        cells = f"{len(found) / took:.1f} | {len(found) / took / rate:.2f}"
        show(name, str(count), found, f"{np.median(found) / bare:.2f}", cells, failed)


def show(name: str, clients: str, found: list[float], over: str, rate: str, lost: int) -> None:
    """Print a row."""
    p50, p95, p99 = (float(np.percentile(found, q)) for q in (50, 95, 99))
    times = f"{p50:.1f} | {p95:.1f} | {p99:.1f} | {over} | {p50 / 1000 / SECONDS:.4f}"
    print(f"| {name} | {clients} | {times} | {rate} | {lost} |", flush=True)


if __name__ == "__main__":
    main()
