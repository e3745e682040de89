"""Downloads against a server on this machine that breaks in every way servers break."""

from __future__ import annotations

import errno
import hashlib
import io
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from asd.errors import UserError
from asd.utils import download as downloads
from asd.utils.download import download, file_checksum, progress_bars

CONTENT = np.random.default_rng(0).bytes(600_000)
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@dataclass
class Server:
    """Serves `content` at every path but ``/missing``, as well or badly as told."""

    url: str = ""
    content: bytes = CONTENT
    etag: str = '"one"'
    ranges: bool = True
    lengths: bool = True
    drop_after: int | None = None
    drops: int = 0
    refuse: int = 0
    requests: list[str] = field(default_factory=list)
    sent: int = 0


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            server.requests.append(asked)
            if self.path == "/missing":
                self.send_error(404)
                return
            if server.refuse:
                server.refuse -= 1
                self.send_error(503)
                return
            begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
            if self.headers.get("If-Range", server.etag) != server.etag:
                begin = 0
            if begin and begin >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = server.content[begin:]
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(server.content) - 1}/{len(server.content)}")
            if server.lengths:
                self.send_header("Content-Length", str(len(body)))
            if server.etag:
                self.send_header("ETag", server.etag)
            self.end_headers()
            if server.drops and server.drop_after is not None:
                server.drops -= 1
                body = body[: server.drop_after]
            server.sent += len(body)
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler(state))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}/file"
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_its_progress_is_told(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    report = lambda done, total: told.append((done, total))  # noqa: E731
    path = download(server.url, tmp_path / "new" / "file", size=len(CONTENT), checksum=SHA256, report=report)
    assert path.read_bytes() == CONTENT
    assert left_over(path.parent) == ["file"]
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_a_begun_file_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:250_000])
    path = download(server.url, tmp_path / "file", checksum=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.requests == ["bytes=250000-"]
    assert server.sent == len(CONTENT) - 250_000


def test_a_dropped_connection_is_taken_up_again(server: Server, tmp_path: Path) -> None:
    server.drop_after, server.drops = 100_000, 4
    path = download(server.url, tmp_path / "file", retries=1, wait=0)
    assert path.read_bytes() == CONTENT
    assert server.requests == ["", *(f"bytes={n}00000-" for n in (1, 2, 3, 4))]
    assert server.sent == len(CONTENT), "no byte is fetched twice"


def test_giving_up_keeps_the_bytes_for_the_next_call(server: Server, tmp_path: Path) -> None:
    server.drop_after, server.drops = 0, 100
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    with pytest.raises(
        UserError, match=r"ended after 1,000 of 600,000 bytes, 2 retries did not help; 1,000 bytes are kept"
    ):
        download(server.url, tmp_path / "file", checksum=SHA256, retries=2, wait=0)
    assert not (tmp_path / "file").exists()
    assert len(server.requests) == 3
    server.drops = 0
    assert download(server.url, tmp_path / "file", checksum=SHA256).read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "file.part").write_bytes(CONTENT[:250_000])
    assert download(server.url, tmp_path / "file", checksum=SHA256).read_bytes() == CONTENT


def test_a_begun_file_of_another_version_is_not_mixed_in(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:100_000])
    (tmp_path / "file.part.tag").write_text('"one"')
    server.content, server.etag = CONTENT[::-1], '"two"'
    assert download(server.url, tmp_path / "file").read_bytes() == CONTENT[::-1]


def test_a_begun_file_of_unknown_version_is_begun_anew(server: Server, tmp_path: Path) -> None:
    server.etag = ""
    (tmp_path / "file.part").write_bytes(b"of another file")
    assert download(server.url, tmp_path / "file").read_bytes() == CONTENT


def test_a_begun_file_that_is_whole_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert download(server.url, tmp_path / "file", checksum=SHA256).read_bytes() == CONTENT
    assert server.sent == 0


def test_a_begun_file_longer_than_the_whole_is_begun_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    assert download(server.url, tmp_path / "file", checksum=SHA256, wait=0).read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_no_file(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=f"wrong checksum {SHA256}, expected md5|wrong checksum md5:.*, expected md5:0000"
    ):
        download(server.url, tmp_path / "file", checksum="md5:0000")
    assert left_over(tmp_path) == []


def test_a_wrong_size_is_seen_before_anything_is_fetched(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 600,000 bytes, expected 599,999"):
        download(server.url, tmp_path / "file", size=599_999)
    assert left_over(tmp_path) == []


def test_a_short_file_from_a_server_that_tells_no_length_is_refused(server: Server, tmp_path: Path) -> None:
    server.lengths, server.ranges, server.drop_after, server.drops = False, False, 1000, 100
    with pytest.raises(UserError, match="ended after 1,000 of 600,000 bytes"):
        download(server.url, tmp_path / "file", size=len(CONTENT), retries=0, wait=0)
    assert not (tmp_path / "file").exists()


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.refuse = 2
    assert download(server.url, tmp_path / "file", wait=0).read_bytes() == CONTENT


def test_a_missing_file_is_said_at_once(server: Server, tmp_path: Path) -> None:
    url = server.url.replace("/file", "/missing")
    with pytest.raises(UserError, match=re.escape(f"{url}: the server answers 404 Not Found")):
        download(url, tmp_path / "file")
    assert len(server.requests) == 1
    assert left_over(tmp_path) == []


def test_no_server_is_one_clear_line(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Connection refused, 1 retries did not help"):
        download("http://127.0.0.1:9/file", tmp_path / "file", retries=1, wait=0)


def test_only_the_web_is_downloaded_from(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only http and https"):
        download("file:///etc/hostname", tmp_path / "file")


def test_a_full_disk_keeps_what_is_there(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_CHUNK", 100_000)

    class Full(io.FileIO):
        def write(self, data: object) -> int:
            if self.tell() >= 300_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)  # type: ignore[arg-type]

    def open_full(path: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
        return Full(path, mode) if path.name == "file.part" else real_open(path, mode, *args, **kwargs)  # type: ignore[call-overload]

    real_open = Path.open
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        with pytest.raises(UserError, match=r"file\.part: the disk is full; free space, then run the command again"):
            download(server.url, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert (tmp_path / "file.part").stat().st_size == 300_000
    assert download(server.url, tmp_path / "file").read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=300000-"


def test_a_disk_too_small_is_said_before_anything_is_fetched(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=5)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match="600,000 bytes are still to come and 5 are free"):
        download(server.url, tmp_path / "file")
    assert left_over(tmp_path) == []


def test_bars_name_the_file(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as bar:
        download(server.url, tmp_path / "file", report=bar("a file"))
    assert "a file" in capsys.readouterr().err
    assert file_checksum(tmp_path / "file") == SHA256
