"""A live source comes back by itself, and what became of it is told once, where it belongs among the sound."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.errors import UserError
from asd.inference.stream import Block
from asd.plant import supervised as module
from asd.plant.live import Opened, check, opened
from asd.plant.options import SourceOptions
from asd.plant.supervised import Supervised
from tests.ffmpeg import needs_ffmpeg

RATE = 1000
SOUND = Block(np.full((250, 1), 0.1, np.float32))
PIPE = SourceOptions(pipe=Path("line"), rate=RATE, stall=1.0)
Piece = Exception | int | tuple[int, int] | Callable[[], Iterator[Block]]


class Listening:
    """What a supervised source gives, played from pieces.

    Args:
        pieces: Of each time that it is opened: blocks and rate, blocks, an error, or blocks themselves; then it ends.
    """

    def __init__(self, *pieces: Piece, stall: float = 1.0) -> None:
        self.pieces, self.told, self.interrupted = list(pieces), list[tuple[str, str]](), 0
        self.order: list[str] = []
        self.stop = threading.Event()
        source = SourceOptions(pipe=Path("line"), rate=RATE, stall=stall)
        self.supervised = Supervised(source, self._tell, self.stop, pause=0.02, opener=self._open)

    def _tell(self, state: str, reason: str) -> None:
        self.told.append((state, reason))
        self.order.append(state)

    def _interrupt(self) -> None:
        self.interrupted += 1

    def _open(self, _: SourceOptions) -> Opened:
        if not self.pieces:
            self.stop.set()
            raise OSError("over")
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        if callable(piece):
            return Opened(RATE, piece(), self._interrupt)
        count, rate = piece if isinstance(piece, tuple) else (piece, RATE)
        return Opened(rate, iter([SOUND] * count), self._interrupt)

    def all(self) -> list[tuple[int, list[Block]]]:
        """Rate and blocks of each stretch."""
        found = []
        while rate := self.supervised.rate():
            blocks = []
            for block in self.supervised.blocks(60.0):
                blocks.append(block)
                self.order.append("sound")
            found.append((rate, blocks))
        return found


def test_a_source_that_ends_is_opened_again_and_what_was_lost_is_known() -> None:
    listening = Listening(3, OSError("refused"), OSError("refused"), 2)
    ((rate, blocks),) = listening.all()
    assert rate == RATE
    assert len(blocks) == 5
    assert [block.lost > 0 for block in blocks] == [False, False, False, True, False]
    assert listening.told[0] == ("away", "it ended")
    assert listening.order[:5] == ["sound", "sound", "sound", "away", "sound"], "told where it belongs"


def test_a_source_that_is_not_there_is_told_with_the_reason_and_waited_for() -> None:
    listening = Listening(FileNotFoundError(2, "No such file or directory", "line"), UserError("no microphone"), 1)
    assert len(listening.all()[0][1]) == 1
    assert listening.told[:2] == [("away", "line: No such file or directory"), ("away", "no microphone")]


def test_a_source_that_changes_its_rate_begins_a_new_stretch() -> None:
    listening = Listening((2, RATE), (3, 2 * RATE))
    assert [(rate, len(blocks)) for rate, blocks in listening.all()] == [(RATE, 2), (2 * RATE, 3)]
    assert ("away", f"its sample rate changed from {RATE} to {2 * RATE} Hz") in listening.told


def test_a_source_that_stalls_is_told_once_interrupted_and_comes_back() -> None:
    ended = threading.Event()

    def stalls() -> Iterator[Block]:
        yield SOUND
        ended.wait(20)

    listening = Listening(stalls, 2, stall=0.3)
    usual = listening._interrupt
    listening._interrupt = lambda: (usual(), ended.set())  # type: ignore[assignment,func-returns-value,method-assign]
    ((_, blocks),) = listening.all()
    assert listening.told[0] == ("stalled", "no sound for 0.3 s")
    assert [state for state, _ in listening.told].count("stalled") == 1
    assert len(blocks) == 3
    assert blocks[1].lost > 0.2 * RATE


def test_a_source_that_jumps_in_time_has_lost_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: passed[0])
    supervised = Supervised(PIPE, lambda *_: None, threading.Event())
    lost = []
    for number in range(400):
        passed[0] += 0.25 + (30.0 if number == 300 else 0.0)
        lost.append(supervised._placed(SOUND, RATE, again=False).lost)
    assert [number for number, one in enumerate(lost) if one] == [300]
    assert lost[300] == pytest.approx(30 * RATE, rel=0.02)


def test_pieces_of_a_network_stream_and_a_slow_clock_are_no_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: passed[0])
    supervised = Supervised(PIPE, lambda *_: None, threading.Event())
    for number in range(4 * 3600 * 6):
        if number % 40 == 0:  # ten seconds come at once, from a clock that is slow by 200 ppm
            passed[0] += 10.002
        assert not supervised._placed(SOUND, RATE, again=False).lost


def test_listening_ends_while_nothing_comes() -> None:
    listening = Listening(lambda: iter(lambda: time.sleep(30), None), stall=60.0)  # type: ignore[arg-type]
    threading.Timer(0.2, listening.stop.set).start()
    began = time.monotonic()
    assert listening.all() == [(RATE, [])]
    assert time.monotonic() - began < 10


def test_who_has_enough_of_a_source_and_comes_again_finds_it_opened_anew() -> None:
    listening = Listening(lambda: iter(lambda: (time.sleep(0.01), SOUND)[1], None), 3)  # type: ignore[arg-type]
    assert listening.supervised.rate() == RATE
    blocks = listening.supervised.blocks(60.0)
    next(blocks)
    blocks.close()
    assert listening.interrupted == 1
    assert [len(stretch) for _, stretch in listening.all()] == [3], "by one reader, and not also by the first one"


# -- what is opened


@needs_ffmpeg
def test_whatever_ffmpeg_reads_comes_at_its_own_rate_and_with_its_channels(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (22050, 2))
    soundfile.write(tmp_path / "a.wav", samples, 22050, subtype="PCM_16")
    found = opened(SourceOptions(url=str(tmp_path / "a.wav")))
    assert found.sample_rate == 22050
    heard = np.concatenate([block.samples for block in found.blocks])
    np.testing.assert_allclose(heard, soundfile.read(tmp_path / "a.wav")[0], atol=1e-6)


@needs_ffmpeg
def test_why_ffmpeg_gives_nothing_is_said_without_the_password() -> None:
    with pytest.raises(OSError, match=r"^rtsp://127\.0\.0\.1:1/x: Connection refused$"):
        opened(SourceOptions(url="rtsp://user:secret@127.0.0.1:1/x"))
    with pytest.raises(OSError, match="No such file"):
        opened(SourceOptions(url="absent.wav"))


@needs_ffmpeg
def test_ffmpeg_is_not_waited_for_forever() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        with pytest.raises(OSError, match="nothing comes from it"):
            opened(SourceOptions(url=f"tcp://127.0.0.1:{silent.getsockname()[1]}", stall=0.5))
    assert time.monotonic() - began < 20


@needs_ffmpeg
def test_ffmpeg_ends_where_it_is_interrupted(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16000 * 600), 16000)
    found = opened(SourceOptions(url=str(tmp_path / "a.wav")))
    next(found.blocks)
    found.interrupt()
    with pytest.raises(OSError, match="nothing comes from it"):
        list(found.blocks)


def test_a_named_pipe_is_heard_until_its_writer_goes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "line")
    found = opened(SourceOptions(pipe=tmp_path / "line", rate=RATE))
    with subprocess.Popen(["sh", "-c", f"head -c 1001 /dev/zero > {tmp_path}/line"]):
        assert sum(len(block.samples) for block in found.blocks) == 500


@needs_ffmpeg
def test_what_can_never_be_opened_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="name a pipe"):
        check([SourceOptions(pipe=Path("-"))])
    check([SourceOptions(url="a")])
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="ffmpeg is not installed"):
        check([SourceOptions(url="a")])
