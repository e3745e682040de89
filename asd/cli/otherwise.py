"""The option of every command that judges recordings: what follows where one was recorded otherwise."""

from __future__ import annotations

import argparse


def add_otherwise(parser: argparse.ArgumentParser) -> None:
    """Add ``--recorded-otherwise``."""
    parser.add_argument(
        "--recorded-otherwise", choices=("remark", "refuse", "ignore"), default="remark",
        help="than the normal sound: another bandwidth, codec, level, ...: say so, refuse it, or be silent (remark)",
    )  # fmt: skip
