"""Requests drawn at random: nothing brings the service down, none is lost, and nothing stays."""

from __future__ import annotations

import io
import json
import random
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.integration.serve.client import RATE, Started, sound, until
from tests.integration.serve.random_requests import Request, cut, drawn

REQUESTS, WARM = 500, 150


def answer(stream: io.BufferedReader, bodiless: bool) -> tuple[int, bytes, bool]:
    """Status and body of the next answer, and whether the service hangs up after it; 0 where there is none."""
    line = stream.readline()
    if not line:
        return 0, b"", True
    status = int(line.split()[1])
    fields = {}
    while (field := stream.readline()) not in (b"\r\n", b""):
        name, _, value = field.partition(b":")
        fields[name.lower()] = value.strip()
    if status == 100:
        return answer(stream, bodiless)
    body = b"" if bodiless else stream.read(int(fields[b"content-length"]))
    return status, body, fields.get(b"connection") == b"close"


def talk(client: Started, draw: random.Random, requests: list[Request]) -> str:
    """Send whole requests on one connection; what is wrong with the answers."""
    with client.connected() as one, one.makefile("rb") as stream:
        one.settimeout(120)  # an explanation takes seconds where others compute, too
        pieces = [b"".join(one.sent for one in requests)] if draw.random() < 0.5 else [one.sent for one in requests]
        for piece in pieces:
            one.sendall(piece)
        for request in requests:
            try:
                status, body, ends = answer(stream, request.head.startswith(b"HEAD"))
            except OSError as error:
                return f"{[one.head[:300] for one in requests]}: {requests.index(request)} was lost: {error!r}"
            if status not in request.expected:
                return f"{request.head[:300]!r}: {status} {body[:300]!r}, not {request.expected}"
            if status >= 400 and body and (set(json.loads(body)) != {"error"} or b"\\n" in body):
                return f"{request.head[:300]!r}: {body!r}"
            if ends and not request.last:
                return f"{request.head[:300]!r}: hung up"
        return ""


def annoy(client: Started, draw: random.Random, sent: bytes) -> str:
    """Send what is broken, and go away in one way or another; what is wrong with an answer."""
    with client.connected() as one:
        try:
            one.sendall(sent)
            if draw.random() < 0.3:
                # The connection is reset.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif draw.random() < 0.7:
                one.shutdown(socket.SHUT_WR)
                found = one.makefile("rb").read()
                return f"{sent[:300]!r}: {found!r}" if found.startswith(b"HTTP/1.1 500") else ""
        except OSError:
            pass  # it hung up
    return ""


@pytest.fixture(scope="module")
def sounds(clips: list[Path]) -> dict[str, tuple[bytes, int]]:
    """Contents, and the statuses that are right."""
    wav = clips[0].read_bytes()
    noise = np.random.default_rng(0).standard_normal(RATE // 4) * 0.1
    return {
        "wav": (wav, 200),
        "flac": (sound(soundfile.read(clips[0])[0], form_of="FLAC"), 200),
        "short": (sound(noise, "FLOAT", 8000), 200),
        "cut": (wav[:9000], 422),
        "text": (b"not a recording", 422),
        "header": (wav[:44], 422),
        "lies": (wav[:22] + b"\xff\xff" + wav[24:], 422),
        "nan": (sound(noise * np.nan, "FLOAT"), 422),
        "nothing": (b"", 422),
        "random": (random.Random(0).randbytes(50_000), 422),
        "large": (bytes(2_100_000), 413),
    }


def test_nothing_that_is_sent_harms(started: Started, clips: list[Path], sounds: dict[str, tuple[bytes, int]]) -> None:
    draw = random.Random(20)
    before = started.ask("/score?machine=fan", clips[0].read_bytes())[1]["score"]

    def one(seed: int) -> str:
        mine = random.Random(seed)
        if mine.random() < 0.5:
            return annoy(started, mine, cut(mine, drawn(mine, sounds)))
        requests = [drawn(mine, sounds) for _ in range(mine.choice([1, 1, 2, 4]))]
        ends = next((number for number, request in enumerate(requests, 1) if request.last), None)
        return talk(started, mine, requests[:ends])

    def all_of(count: int) -> list[str]:
        with ThreadPoolExecutor(4) as pool:
            return [wrong for wrong in pool.map(one, [draw.getrandbits(32) for _ in range(count)]) if wrong]

    assert all_of(WARM) == []
    idle, memory = started.descriptors(), started.memory()
    assert all_of(REQUESTS - WARM) == []
    until(lambda: started.descriptors() <= idle)
    assert started.memory() < memory + 30
    assert started.left_over() == []
    assert 'status="500"' not in started.text("/metrics")
    health = started.ask("/health")[1]
    assert (health["status"], health["waiting"]) == ("ok", 0)
    assert started.ask("/score?machine=fan", clips[0].read_bytes())[1]["score"] == before
