"""The one exception that the program turns into a single line and exit code 2."""

from __future__ import annotations


class UserError(ValueError):
    """Something the user can mend: says what is wrong, where, and what to do.

    The command line prints it as one line without a traceback and exits with code 2.
    """


class Notice(UserWarning):
    """Something that the user should know, though the work goes on; the program prints it as one line."""
