"""Text from outside: names of files and machines, which may be no UTF-8, hold control characters or be decomposed."""

from __future__ import annotations

import re
import unicodedata

_UNDECODED = re.compile("[\ud800-\udfff]+")


def as_text(name: str) -> str:
    """The name as valid Unicode: bytes that are no UTF-8 as ``\\xe4``.

    Python keeps bytes of a file name that it cannot decode as lone surrogates, which no file or console takes. Where
    the locale knows ASCII alone, these are all bytes of a UTF-8 name, which is decoded here.
    """
    return _UNDECODED.sub(_decoded, name)


def _decoded(found: re.Match[str]) -> str:
    try:
        return found[0].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a pair of UTF-16, which Windows allows in names
        return found[0].encode("ascii", "backslashreplace").decode()


def shown(text: str) -> str:
    """The text for people: whatever would not be seen, or would steer a terminal, is escaped, as ``\\x1b``."""
    text = as_text(text)
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def canonical(name: str) -> str:
    """The one spelling of a name that is kept: composed (NFC), as most systems write it, and `shown`."""
    return shown(unicodedata.normalize("NFC", as_text(name)))


def machine_word(name: str) -> str:
    """The name that a machine goes by: `canonical`, and fit to be part of the name of a file anywhere."""
    return canonical(name).replace("\\", "%")


def folded(name: str) -> str:
    """What names have in common that differ in case or composition alone."""
    return canonical(canonical(name).casefold())
