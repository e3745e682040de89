"""All sources of a plant at once: a thread for each, one model for all."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager

from asd.data.audio.decoding import AudioError
from asd.errors import UserError
from asd.events.event import Event
from asd.events.state import State
from asd.inference import stream
from asd.plant.clips import Clips
from asd.plant.listener import Listener
from asd.plant.live import check, interrupt_all
from asd.plant.model import OneModel
from asd.plant.options import Options, SourceOptions
from asd.plant.supervised import Supervised
from asd.utils.log import logger

_LAST_SECONDS = 10.0


class _EndError(Exception):
    """Listening is to end."""


class Plant:
    """Listens to several sources until they end, or somebody ends it.

    Args:
        options: What and how.
        numbers: Of the machine and section of each source.
        model: What scores all of them.
        hand_on: Called with each event, from any thread.
        state: Where is kept how far each source was heard.

    Raises:
        UserError: A program is missing.
    """

    def __init__(
        self,
        options: Options,
        numbers: Mapping[str, int],
        model: OneModel,
        hand_on: Callable[[Event], None],
        state: State,
    ) -> None:
        check(options.sources.values())
        clips = None if options.clips is None else Clips(options.clips, options.clips_mb)
        self.options = options
        self.listeners = {
            name: Listener(name, number, options, model, hand_on, state, clips) for name, number in numbers.items()
        }
        self.stop = threading.Event()
        self._failed: BaseException | None = None

    def run(self, once: bool = False) -> int:
        """Listen; returns the exit code: 1 where all sources ended and there was an event.

        Args:
            once: Of folders: end when every file is judged.
        """
        threads = [
            threading.Thread(target=self._guarded, args=(name, source, once), name=name, daemon=True)
            for name, source in self.options.sources.items()
        ]
        with _terminated_by(self.stop):
            for thread in threads:
                thread.start()
            try:
                while any(thread.is_alive() for thread in threads) and not self.stop.wait(0.2):
                    pass
                ended = not self.stop.is_set()
            finally:
                self._end(threads)
        if self._failed is not None:
            raise self._failed
        return 1 if ended and any(one.watcher.events for one in self.listeners.values()) else 0

    def _end(self, threads: list[threading.Thread]) -> None:
        self.stop.set()
        interrupt_all()
        until = time.monotonic() + _LAST_SECONDS
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _guarded(self, name: str, source: SourceOptions, once: bool) -> None:
        try:
            if source.live:
                self._live(name, source)
            elif source.folder is not None:
                self._folder(name, source, once)
            else:
                self._file(name, source)
        except _EndError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for the threads
            self._failed = error
            self.stop.set()

    def _live(self, name: str, source: SourceOptions) -> None:
        listener = self.listeners[name]
        supervised = Supervised(source, listener.tell_state, self.stop)
        while rate := supervised.rate():
            try:
                with closing(supervised.blocks(self.options.buffer)) as blocks:
                    listener.stream(blocks, rate, name, live=True)
            except (UserError, AudioError) as error:
                # A piece too short for an event, which matters to nobody, or one that is refused.
                if not self.stop.is_set():
                    listener.tell_state("away", " ".join(str(error).split()))
                    supervised.wait()

    def _folder(self, name: str, source: SourceOptions, once: bool) -> None:
        listener, folder = self.listeners[name], source.folder
        assert folder is not None
        judged, since = 0, time.monotonic()

        def wait(seconds: float) -> None:
            nonlocal judged, since
            if self.stop.wait(seconds):
                raise _EndError
            if not folder.is_dir():
                raise UserError(f"the folder {folder} is not there")
            now = time.monotonic()
            judged, since = listener.judged, since if judged == listener.judged else now
            if source.stall is not None and now - since > source.stall:
                listener.tell_state("stalled", f"no new file for {source.stall:g} s")

        while not self.stop.is_set():
            try:
                if folder.is_dir() and listener.report.state == "away":
                    listener.tell_state("heard", "")
                listener.folder(folder, source.poll, not once, wait)
                return
            except (UserError, AudioError, OSError) as error:
                if once:
                    _warn(name, error)
                    return
                listener.tell_state("away", " ".join(str(error).split()))
                self.stop.wait(source.poll)

    def _file(self, name: str, source: SourceOptions) -> None:
        listener, path = self.listeners[name], source.file
        assert path is not None

        def wait(seconds: float) -> None:
            self.stop.wait(seconds)

        try:
            rate = stream.rate_of(path, listener.watcher.detector.cut.channel)
            blocks = self._until_stop(stream.from_file(path, source.speed, wait))
            if source.speed > 0:
                blocks = stream.buffered(blocks, self.options.buffer, rate)
            listener.stream(blocks, rate, str(path), live=False)
        except (UserError, AudioError) as error:
            if not self.stop.is_set():
                _warn(name, error)

    def _until_stop(self, blocks: Iterator[stream.Block]) -> Iterator[stream.Block]:
        for block in blocks:
            if self.stop.is_set():
                return
            yield block


def _warn(name: str, error: Exception) -> None:
    logger.warning("asd: warning: %s: %s", name, " ".join(str(error).split()))


@contextmanager
def _terminated_by(stop: threading.Event) -> Iterator[None]:
    """SIGTERM ends listening, and then the program; elsewhere than in the main thread nobody is asked."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)
