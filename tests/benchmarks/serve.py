"""The service beside the bare forward pass: ``python -m tests.benchmarks.serve``.

The service runs in a process of its own, with untrained weights of full size; the clients keep their connections.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import soundfile
import torch

from asd import plugins
from asd.serve.app import create_app
from asd.serve.limits import Limits
from asd.serve.server import listen, serve
from asd.serve.service import Service
from tests.benchmarks.deploy import SECONDS, detector, latencies


def be_the_service(name: str, precision: str, times: int) -> None:
    """Measure the bare forward pass, tell it and a port, and serve."""
    plugins.load_all()
    service = Service(lambda: detector(name, precision), Limits(waiting=64))
    one = service.detector

    @torch.inference_mode()
    def measured() -> list[float]:
        window = torch.randn(1, one.cut.samples) * 0.1
        with one._autocast():
            return latencies(lambda: one.model.embed(window), times)

    # In the thread of the model, as the service computes.
    found = service.worker.call(measured).result()
    listening = listen("127.0.0.1", 0)
    print(json.dumps({"port": listening.getsockname()[1], "bare": found}), flush=True)
    serve(create_app(service), listening)


def ask(connection: http.client.HTTPConnection, body: bytes) -> bool:
    """Whether a recording was scored."""
    connection.request("POST", "/score", body)
    answer = connection.getresponse()
    content: dict[str, Any] = json.loads(answer.read())
    return answer.status == 200 and "score" in content


def clients(port: int, body: bytes, count: int, seconds: float) -> tuple[list[float], int, float]:
    """Milliseconds of each answer to so many clients how many failed, and the seconds until the last one."""
    found: list[float] = []
    lost = 0
    lock = threading.Lock()

    def run(_: int) -> None:
        nonlocal lost
        connection = http.client.HTTPConnection("127.0.0.1", port)
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            start = time.perf_counter()
            good = ask(connection, body)
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
    parser.add_argument("--rounds", type=int, default=5, help="of one client")
    parser.add_argument("--service", metavar="NAME", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.service:
        be_the_service(given.service, given.precision, 100 if given.service != "BEATs" else 20)
        return
    buffer = io.BytesIO()
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(SECONDS * 16000))
    soundfile.write(buffer, noise, 16000, format="WAV", subtype="PCM_16")
    print("| encoder | clients | p50, ms | p95 | p99 | over bare | real-time factor | requests/s | lost |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name in given.encoders:
        measure(name, given.precision, buffer.getvalue(), given.seconds, given.rounds)


def measure(name: str, precision: str, body: bytes, seconds: float, rounds: int) -> None:
    """Print the rows of an encoder; the speed of cores drifts, so every round has its own bare pass."""
    bares, ratios, single, lost, spent = [], [], [], 0, 0.0
    command = [sys.executable, "-m", "tests.benchmarks.serve", "--service", name, "--precision", precision]
    rows = []
    for number in range(rounds):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            bares.append(float(np.median(said["bare"])))
            clients(said["port"], body, 1, 2.0)
            found, failed, took = clients(said["port"], body, 1, seconds)
            single, lost, spent = single + found, lost + failed, spent + took
            ratios.append(float(np.median(found)) / bares[-1])
            for count in (8, 32) if number == rounds - 1 else ():
                rows.append((count, *clients(said["port"], body, count, seconds)))
            process.terminate()
    bare = float(np.median(bares))
    print(f"| {name} | bare forward | {bare:.1f} | | | 1.00 | {bare / 1000 / SECONDS:.4f} | | |")
    spread = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    rows.insert(0, (1, single, lost, spent))
    for count, found, failed, took in rows:
        p50, p95, p99 = (float(np.percentile(found, q)) for q in (50, 95, 99))
        rate = len(found) / took
        cells = [f"{p50:.1f}", f"{p95:.1f}", f"{p99:.1f}", spread if count == 1 else f"{p50 / bare:.2f}"]
        print(
            f"| {name} | {count} | {' | '.join(cells)} | {p50 / 1000 / SECONDS:.4f} | {rate:.1f} | {failed} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
