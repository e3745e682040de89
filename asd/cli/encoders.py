"""`asd encoders`: what can be given to ``--model.encoder``, and what failed to load."""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print the table; returns the exit code."""
    from asd.cli.catalogue import encoder_rows, markdown_table
    from asd.plugins import load_all

    rows = encoder_rows()
    failures = {name: f"{type(error).__name__}: {error}" for name, error in load_all().items()}
    if args.json:
        print(json.dumps({"encoders": rows, "failed": failures}, indent=2))
        return 0
    print(markdown_table(rows))
    for name, reason in failures.items():
        print(f"failed to load {name}: {' '.join(reason.split())}")
    return 0
