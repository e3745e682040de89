"""Standard streams that take any text, whatever the console's encoding, and may be closed."""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import sys
from pathlib import Path

from asd.utils.text import as_text

_ESCAPED = "asd.escaped"
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def run_in_utf8() -> None:
    """Start the program anew where Python was told that the system knows ASCII or one alphabet alone.

    The names of files could not be written there, nor libraries' files of text. The console stays what it is.
    """
    told = "utf8" in sys._xoptions
    if os.name != "posix" or told or codecs.lookup(sys.getfilesystemencoding()).name == "utf-8":
        return
    if sys.stdout is not None:
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def mend_console() -> None:
    """Escape what the console cannot show, and let output that is closed go nowhere."""
    codecs.register_error(_ESCAPED, _escaped)
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Opens the lowest free number, this one, so that no file takes the place of a standard stream.
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8", errors=_ESCAPED))  # noqa: SIM115 - stays open
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = as_text(error.object[error.start : error.end])
    # As JSON escapes, so that a line of JSON stays one.
    return _NOT_ASCII.sub(lambda one: json.dumps(one[0])[1:-1], text), error.end
