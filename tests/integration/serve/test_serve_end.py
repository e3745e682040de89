"""The end of the service: soon, whatever its clients, its model and its decoders do."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.integration.serve.client import Client, until
from tests.integration.serve.test_serve_slow import dripping

SERVICE = """
import sys, time
from asd.inference import Detector
from asd.serve.app import create_app
from asd.serve.limits import Limits
from asd.serve.server import listen, serve
from asd.serve.service import Service

service = Service(lambda: Detector.load(sys.argv[1]), Limits(waiting=40))
for number in (1, 2):
    service._decodings.add(service._decoders.submit(time.sleep, 100))
service.worker.call(lambda: time.sleep(100))
listening = listen("127.0.0.1", 0)
print(listening.getsockname()[1], flush=True)
serve(create_app(service), listening)
"""


def test_it_ends_in_time(trained: Path, clips: list[Path]) -> None:
    command = [sys.executable, "-c", SERVICE, str(trained)]
    with ExitStack() as kept:
        process = kept.enter_context(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        kept.callback(process.kill)
        assert process.stdout is not None and process.stderr is not None
        client = Client(f"http://127.0.0.1:{process.stdout.readline().strip()}")
        drips = [kept.enter_context(client.begin(b"RIFF", said=2_000_000)) for _ in range(32)]
        scored = kept.enter_context(client.begin(clips[0].read_bytes()))
        begun = kept.enter_context(client.begin(b""))
        begun.sendall(b"GET /hea")
        until(lambda: client.ask("/health")[1]["waiting"] == 1)
        with dripping(drips, b"x"):
            begin = time.monotonic()
            process.terminate()
            answer = b""
            while part := scored.recv(1000):
                answer += part
            assert answer.startswith(b"HTTP/1.1 503 ") and answer.endswith(b'{"error":"the service ends"}')
            assert process.wait(20) == 0
            assert time.monotonic() - begin < 20
        assert process.stderr.read() == ""
