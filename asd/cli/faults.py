"""What an exception is to whoever runs the program: a line for what they can mend; for a fault of ours, its trace too.

Nothing here may fail in its turn: it runs where memory, the disk or the streams may be used up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import sys
from collections.abc import Sequence
from typing import TextIO

from asd._version import __version__
from asd.errors import UserError
from asd.utils.text import shown

MENDABLE, FAULT, INTERRUPTED = 2, 70, 130
"""Exit codes. 1 is not among them: it says that an anomaly was found."""

_OS_ERRORS = {
    errno.ENOSPC: "the disk is full; free space or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free space or choose another folder",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission denied; choose another folder or mend its permissions",
    errno.EPERM: "permission denied; choose another folder or mend its permissions",
    errno.ENOTDIR: "not a folder; choose another one",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine; close other programs",
    errno.EIO: "the device gave an error; check the disk, or copy the file elsewhere",
    errno.EFBIG: "the file would be larger than the file system allows; choose another folder",
}
_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|Cannot allocate memory|_ALLOC_FAILED|shared memory|"
    r"killed by signal: Killed",
    re.IGNORECASE,
)
_LESS_MEMORY = "close other programs, or use a machine with more memory"
_SMALLER_BATCHES = "lower --data.batch_size, or use a machine with more memory"
_SHORTER = "give shorter recordings, or fewer at a time, or use a machine with more memory"
REMEDIES = {
    "fit": "lower --data.batch_size, with --trainer.accumulate_grad_batches for steps as large as now, set "
    "--model.encoder.gradient_checkpointing true where the encoder has it, or --trainer.precision to bf16-mixed",
    "validate": _SMALLER_BATCHES,
    "test": _SMALLER_BATCHES,
    "predict": _SMALLER_BATCHES,
    "calibrate": _SHORTER,
    "compare": "lower the batches with --set batch_size=4, or give --processes 1",
    "enroll": _SHORTER,
    "evaluate": "lower --bootstrap, or leave out --pictures",
    "explain": _SHORTER,
    "export": "export one --machine alone, or use a machine with more memory",
    "feedback": _SHORTER,
    "report": "lower --clips, or give --no-audio",
    "rescore": "give --processes 1 and --no-pictures, and --device cpu where the memory is a GPU's",
    "score": "give shorter recordings, or fewer at a time, and --device cpu where the memory is a GPU's",
    "serve": "lower --queue, --max-seconds and --max-megabytes",
    "watch": "lower --buffer, or watch fewer sources",
}
"""What lessens the memory that a command takes; its options alone are named. Of others: `_LESS_MEMORY`."""
_NO_SPACE = ("No space left on device", "os error 28")
_OWN = ("asd", "asd_plugins")
# Of Lightning and wandb, by their names: neither is imported for this.
_CONFIGURATION = {"MisconfigurationException", "UsageError", "CommError"}
_COMPILER = "TorchDynamoException"
# Another process hands on an exception as its trace, which ends in the name of its class and the message.
_TRACE = "Traceback (most recent call last)"
_OF_ASD = re.compile(r"asd(?:\.\w+)+Error: (.+)")
_LONGEST = 400


def outcome(error: BaseException, arguments: Sequence[str]) -> tuple[int, str]:
    """Exit code and the one line to print; a fault of ours leaves its trace in a file."""
    if _interrupted(error):
        return INTERRUPTED, "asd: interrupted"
    reason = _mendable(error, next(iter(arguments), ""))
    if reason is not None:
        return MENDABLE, f"asd: error: {reason}"
    what = ": ".join(filter(None, [type(error).__name__, _said(error)[:_LONGEST]]))
    return FAULT, f"asd: internal error: {what}; {_record(error, arguments)}"


def _interrupted(error: BaseException | None) -> bool:
    """Whether it is Ctrl-C, or what came of it on the way here."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _said(error: BaseException) -> str:
    """Its message in one line; of another process's trace, the last line."""
    text = str(error).strip()
    if _TRACE in text:
        text = text.splitlines()[-1]
    return " ".join(text.split())


def _mendable(error: BaseException, command: str) -> str | None:
    """What is wrong and what to do; ``None`` where the user can do nothing."""
    said = _said(error)
    of_process = _OF_ASD.fullmatch(said) if _TRACE in str(error) else None
    if of_process is not None:
        return of_process[1]
    user_error: BaseException | None = error
    while user_error is not None and not isinstance(user_error, UserError):
        user_error = user_error.__cause__  # jsonargparse puts an error of its own around one of a constructor
    if user_error is not None:
        return _said(user_error)
    if isinstance(error, Warning):
        return f"{said} (a warning, which the settings of Python make an error)"
    if isinstance(error, MemoryError) or (isinstance(error, (RuntimeError, OSError)) and _OUT_OF_MEMORY.search(said)):
        return f"out of memory ({said[:200] or type(error).__name__}); {REMEDIES.get(command, _LESS_MEMORY)}"
    if _COMPILER in {kind.__name__ for kind in type(error).__mro__}:
        return f"the compiler of torch failed ({said[:200]}); train without it: --model.compile false"
    if isinstance(error, OSError):
        return _of_system(error, said)
    if any(text in said for text in _NO_SPACE):
        return f"output: {_OS_ERRORS[errno.ENOSPC]}"
    if isinstance(error, ModuleNotFoundError) and (error.name or "asd").partition(".")[0] not in _OWN:
        return f"the package {error.name} is missing; install asd-zoo with the extra that brings it (see the README)"
    if _CONFIGURATION & {kind.__name__ for kind in type(error).__mro__}:
        return said
    return None


def _of_system(error: OSError, said: str) -> str | None:
    # A loader's worker hands on the text alone.
    number = re.search(r"\[Errno (\d+)\]", said)
    code = int(number[1]) if error.errno is None and number else error.errno
    if code in _OS_ERRORS:
        return f"{error.filename or 'output'}: {_OS_ERRORS[code]}"
    if isinstance(error, (ConnectionError, TimeoutError)) and not isinstance(error, BrokenPipeError):
        return f"the connection failed ({said}); check the network and try again"
    if error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}; check the path"
    return None


def _record(error: BaseException, arguments: Sequence[str]) -> str:
    """Write the trace into a file that the user alone can read; returns where it is, or why it is not."""
    try:
        import platform
        import shlex
        import tempfile
        import traceback

        facts = [f"asd {__version__}, Python {sys.version}, {platform.platform()}", f"asd {shlex.join(arguments)}", ""]
        text = "\n".join(facts) + "\n" + "".join(traceback.format_exception(error))
        descriptor, name = tempfile.mkstemp(prefix="asd-", suffix=".txt")
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123 - no path
            file.write(text)
    except Exception as failed:  # noqa: BLE001 - the exit code and the line above matter more
        return f"its trace could not be written ({type(failed).__name__})"
    return f"this is a fault of asd: please report it with the full trace in {name}"


def say(line: str) -> None:
    """Print to the error stream, where there is one that takes it."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(shown(line), file=sys.stderr, flush=True)


def settle() -> bool:
    """Write out what was printed, and let go of what cannot be, so that the end of the process does not try again.

    Returns:
        Whether whoever read the output has gone, as `head` does when it has enough.
    """
    gone = False
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        left = _reader_gone(stream)
        gone |= left
        try:
            stream.flush()
        except (OSError, ValueError):
            left = True
        if left:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return gone


def _reader_gone(stream: TextIO) -> bool:
    if not hasattr(select, "poll"):
        return True
    with contextlib.suppress(OSError, ValueError):
        ends = select.poll()
        ends.register(stream.fileno(), 0)  # errors are told unasked
        return bool(ends.poll(0))
    return False
