"""Downloads that survive dropped connections: resumed, checked, and whole or not there at all."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from asd.errors import UserError

Report = Callable[[int, int | None], None]
"""Told the bytes there are so far and the bytes there will be, if known."""

_CHUNK = 1 << 18
_PASSING = {408, 425, 429, 500, 502, 503, 504}


class _DroppedError(Exception):
    """The transfer stopped for a reason that may pass."""


@dataclass
class _Transfer:
    """One file on its way: ``FILE.part`` holds the bytes so far, ``FILE.part.tag`` the version they belong to."""

    url: str
    path: Path
    size: int | None
    trusted: bool
    timeout: float
    report: Report
    part: Path = field(init=False)
    tag: Path = field(init=False)

    def __post_init__(self) -> None:
        self.part = self.path.with_name(self.path.name + ".part")
        self.tag = self.path.with_name(self.path.name + ".part.tag")

    def start(self) -> int:
        """How many of the bytes on disk can be kept."""
        if not self.part.is_file() or not (self.trusted or self.tag.is_file()):
            return 0
        have = self.part.stat().st_size
        return 0 if self.size is not None and have > self.size else have

    def run(self) -> None:
        """Ask for what is missing and append it; raises `_DroppedError` where asking again may help."""
        have = self.start()
        if have and have == self.size:
            return
        request = urllib.request.Request(self.url, headers={"Accept-Encoding": "identity", "User-Agent": "asd"})
        if have:
            request.add_header("Range", f"bytes={have}-")
            if self.tag.is_file():
                request.add_header("If-Range", self.tag.read_text(encoding="ascii"))
        try:
            answer = urllib.request.urlopen(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            self._refused(error, have)
        except (OSError, http.client.HTTPException) as error:
            raise _DroppedError(str(getattr(error, "reason", error)) or type(error).__name__) from error
        else:
            with answer:
                self._receive(answer, have)

    def _refused(self, error: urllib.error.HTTPError, have: int) -> None:
        if have and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if error.headers.get("Content-Range", "") == f"bytes */{have}":
                return
            self.discard()
            raise _DroppedError("the server has another file than the one that was begun") from error
        if error.code in _PASSING:
            raise _DroppedError(f"the server answers {error.code} {error.reason}") from error
        raise UserError(f"{self.url}: the server answers {error.code} {error.reason}") from error

    def _receive(self, answer: http.client.HTTPResponse, have: int) -> None:
        resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if answer.status == http.HTTPStatus.PARTIAL_CONTENT and not resumed:
            self.discard()
            raise _DroppedError("the server answers with another part than the one asked for")
        have = have if resumed else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length is not None and length.isdigit() else None
        if self.size is not None and total is not None and total != self.size:
            raise UserError(
                f"{self.url}: the server has {total:,} bytes, expected {self.size:,}; nothing was downloaded"
            )
        total = self.size if total is None else total
        self._check_space(have, total)
        with _disk_errors(self.part):
            _write_tag(self.tag, answer)
        with self.part.open("ab" if resumed else "wb", buffering=0) as out:
            have = self._copy(answer, out, have, total)
        if total is not None and have != total:
            raise _DroppedError(f"the connection ended after {have:,} of {total:,} bytes")

    def _copy(self, answer: http.client.HTTPResponse, out: FileIO, have: int, total: int | None) -> int:
        self.report(have, total)
        while True:
            try:
                chunk = answer.read(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _DroppedError(str(error) or type(error).__name__) from error
            if not chunk:
                break
            with _disk_errors(self.part):
                rest = memoryview(chunk)
                while rest:
                    rest = rest[out.write(rest) :]
            have += len(chunk)
            self.report(have, total)
        with _disk_errors(self.part):
            os.fsync(out.fileno())
        return have

    def _check_space(self, have: int, total: int | None) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if total is not None and total - have > free:
            raise UserError(
                f"{self.part.parent}: {total - have:,} bytes are still to come and {free:,} are free; free space, then "
                "run the command again"
            )

    def discard(self) -> None:
        """Remove what there is so far."""
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)


def download(
    url: str,
    path: Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    report: Report | None = None,
    retries: int = 4,
    wait: float = 1.0,
    timeout: float = 30.0,
) -> Path:
    """Fetch `url` into `path`, going on where an earlier call was cut off; returns `path`.

    The bytes gather in ``path.part`` and take their name only when size and checksum are right. A begun part goes on
    only if the server still has the same version of the file (ETag or date), or a checksum will tell.

    Args:
        url: Where the file is; ``http`` or ``https``.
        path: Where it shall be.
        size: Bytes it must have; ``None``: unknown.
        checksum: ``algorithm:hexadecimal``, as in ``sha256:ab12...`` or ``md5:...``; ``None``: unknown.
        report: Called with the bytes so far and the bytes in all.
        retries: How often a dropped transfer is taken up again without a byte gained in between.
        wait: Seconds before the first retry; doubled each time.
        timeout: Seconds of silence after which a connection counts as dropped.

    Raises:
        UserError: Not found, out of reach, disk full, or not the file that was expected.
    """
    if not url.startswith(("http://", "https://")):
        raise UserError(f"{url}: only http and https can be downloaded")
    path.parent.mkdir(parents=True, exist_ok=True)
    transfer = _Transfer(url, path, size, checksum is not None, timeout, report or (lambda done, total: None))
    failures, furthest = 0, transfer.start()
    while True:
        try:
            transfer.run()
            break
        except _DroppedError as error:
            have = transfer.start()
            failures = 0 if have > furthest else failures + 1
            furthest = max(have, furthest)
            if failures > retries:
                raise UserError(
                    f"{url}: {error}, {retries} retries did not help; {have:,} bytes are kept in {transfer.part}: run "
                    "the command again to go on"
                ) from error
            time.sleep(wait * 2 ** max(failures - 1, 0))
    _check(transfer, checksum)
    transfer.part.replace(path)
    transfer.tag.unlink(missing_ok=True)
    return path


def _check(transfer: _Transfer, checksum: str | None) -> None:
    have = transfer.part.stat().st_size
    if transfer.size is not None and have != transfer.size:
        transfer.discard()
        raise UserError(
            f"{transfer.url}: {have:,} bytes came where {transfer.size:,} are expected; the file was removed, run the "
            "command again"
        )
    if checksum is None:
        return
    found = file_checksum(transfer.part, checksum.partition(":")[0])
    if found != checksum.lower():
        transfer.discard()
        raise UserError(
            f"{transfer.url}: wrong checksum {found}, expected {checksum}; the file was removed, run the command again"
        )


def file_checksum(path: Path, algorithm: str = "sha256") -> str:
    """``algorithm:hexadecimal`` of a file."""
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def _write_tag(tag: Path, answer: http.client.HTTPResponse) -> None:
    etag = answer.headers.get("ETag", "")
    version = etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")
    if version.isascii() and version:
        tag.write_text(version, encoding="ascii")
    else:
        tag.unlink(missing_ok=True)


@contextmanager
def _disk_errors(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise UserError(
            f"{part}: the disk is full; free space, then run the command again: it goes on from there"
        ) from error


@contextmanager
def progress_bars() -> Iterator[Callable[[str], Report]]:
    """Bars on standard error: call what this gives with a title to get the `report` of one more download."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def add(name: str) -> Report:
            task = progress.add_task(name, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield add
