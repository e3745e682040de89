"""Requests drawn at random, well-formed ones with the status that is right."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

_GOOD = {
    "GET /health": 200, "GET /machines": 200, "GET /metrics": 200, "GET /openapi.json": 200, "GET /": 200,
    "GET /page.js?x=%00": 200, "GET /nothing": 404, "GET /%00": 404, "GET //x": 404, "GET /..%2f..%2fetc%2fpasswd": 404,
    "GET /score": 405, "HEAD /health": 405, "OPTIONS /score": 405, "DELETE /machines": 405, "PUT /%ff%fe": 404,
    "PROPFIND /": 405, "GET http://localhost/health": 200,
}  # fmt: skip
_TEXTS = ("", "a.wav", "ü\U0001f600.wav", "../../x", "\0", "a\nb", "%00" * 9, "'\"<script>", "x" * 900, "\ufffe", "CON")
_CHARSETS = ("utf-8", "utf-7", "utf-16", "unicode_escape", "undefined", "idna", "rot13", "zlib", "nonsense", "\xff")


@dataclass(frozen=True)
class Request:
    """Bytes, and what they must be answered with.

    Attributes:
        head: The head.
        body: What follows it.
        expected: Statuses that are right.
        last: Whether the connection may end with the answer.
    """

    head: bytes
    body: bytes
    expected: tuple[int, ...]
    last: bool = False

    @property
    def sent(self) -> bytes:
        return self.head + self.body


def drawn(draw: random.Random, sounds: Mapping[str, tuple[bytes, int]]) -> Request:
    """A well-formed request; `sounds` have the status that each is answered with."""
    if draw.random() < 0.3:
        line, status = draw.choice(list(_GOOD.items()))
        host, status, last = ("", status, False) if "http://" in line else _host(draw, status)
        return Request(_head(draw, line, host), b"", (status,), last)
    content, status = draw.choice(list(sounds.values()))
    query, early = draw.choice([("machine=fan", 0)] * 30 + [("machine=fan&explain=true", 0)] + [
        ("machine=fan&explain=eh", 422), ("", 422), ("machine=%ff%00", 404), ("machine=fan&machine=bearing", 0)
    ] * 4)  # fmt: skip
    line = f"POST /score?{query}&name={quote(draw.choice(_TEXTS))}"
    host, foreign, last = _host(draw, 0)
    expected: tuple[int, ...] = (early or status,)
    kind = ""
    if not early and draw.random() < 0.4:
        kind, content, expected = _form(draw, content, status)
    elif draw.random() < 0.3:
        kind = f"Content-Type: {draw.choice(['text/html', 'multipart/form-dat', 'audio/wav; x', chr(255), ','])}\r\n"
    if draw.random() < 0.3:
        framing, content = "Transfer-Encoding: chunked\r\n", _chunked(draw, content)
    else:
        framing = f"Content-Length: {'0' * draw.randint(0, 30)}{len(content)}\r\n"
        if len(content) > 2_000_000:  # which is said before anything else
            foreign, expected = 0, (413,)
    expect = draw.choice(["", "", "Expect: 100-continue\r\n", "Expect: something\r\n"])
    return Request(
        _head(draw, line, host + kind + framing + expect),
        content,
        (foreign,) if foreign else expected,
        last or bool(early) or expected != (200,),
    )


def cut(draw: random.Random, request: Request) -> bytes:
    """A part of a request, or one with other bytes in it."""
    sent = bytearray(request.sent)
    if draw.random() < 0.5:
        return bytes(sent[: draw.randint(0, min(len(sent), draw.choice([200, 9000, 10**9])))])
    for _ in range(draw.randint(1, 8)):
        at = draw.randrange(min(len(sent), draw.choice([30, len(request.head)])))
        sent[at : at + draw.randint(0, 2)] = draw.choice([
            b"", b"\0", b"\r\n", b"\n", b" ", b"\xff", b":", b"%", b"Content-Length: 5\r\n", b"x" * 70_000,
            b"Transfer-Encoding: chunked\r\n", b"\r\nHost: evil.example\r\n", b"a: b\r\n" * 3000, draw.randbytes(20),
        ])  # fmt: skip
    return bytes(sent)


def _host(draw: random.Random, status: int) -> tuple[str, int, bool]:
    """The field, the status, and whether the connection may end."""
    if draw.random() < 0.9:
        return f"Host: {draw.choice(['localhost', '127.0.0.1:8000', '[::1]', 'LOCALHOST:1'])}\r\n", status, False
    field, status = draw.choice([("Host: evil.example\r\n", 421), ("", 400), ("Host: a\r\nHost: b\r\n", 400),
                                 ("Host: a b\r\n", 400), ("Host:\r\n", 400)])  # fmt: skip
    return field, status, True


def _head(draw: random.Random, line: str, fields: str) -> bytes:
    if draw.random() < 0.2:
        fields += f"X-{draw.randint(0, 9)}: {draw.choice([chr(255) * 20, 'a' * 30_000, '', '%00', '=?', ':::'])}\r\n"
    if draw.random() < 0.05:
        fields += "".join(f"X-{number}: y\r\n" for number in range(draw.randint(100, 3000)))
    return f"{line} HTTP/1.1\r\n{fields}\r\n".encode("latin-1")


def _form(draw: random.Random, content: bytes, status: int) -> tuple[str, bytes, tuple[int, ...]]:
    edge = draw.choice(["edge", "-" * 20, "a'b", "x" * 70])
    kind = f'Content-Type: multipart/form-data; boundary="{edge}"; charset={draw.choice(_CHARSETS)}\r\n'
    name = draw.choice(_TEXTS).replace("\n", "%0a").replace("\0", "%00").replace('"', '\\"').encode()
    disposition = b'Content-Disposition: form-data; name=%s; filename="%s"\r\n\r\n'
    between = b"--" + edge.encode()
    whole = between + b"\r\n" + disposition % (b'"file"', name) + content + b"\r\n" + between + b"--\r\n"
    choice = draw.random()
    if choice < 0.6:
        return kind, whole, (400,) if "undefined" in kind else (status,)
    if choice < 0.7:
        return kind, whole.replace(b'"file"', b'"other"'), (400, 422)
    if choice < 0.8:
        return "Content-Type: multipart/form-data\r\n", whole, (400,)
    if choice < 0.9:
        field = between + b"\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n"
        return kind, field * 101 + whole, (400,)
    return kind, whole[: draw.randint(0, len(whole))], (200, 400, 422)


def _chunked(draw: random.Random, content: bytes) -> bytes:
    parts, at = [], 0
    while at < len(content):
        size = draw.choice([1, 17, 1000, 30_000])
        part = content[at : at + size]
        parts.append(b"%x%s\r\n%s\r\n" % (len(part), draw.choice([b"", b"", b";a=b"]), part))
        at += size
    return b"".join([*parts, b"0\r\n", draw.choice([b"", b"Trailer: x\r\n"]), b"\r\n"])
