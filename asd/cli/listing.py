"""`asd encoders`, `scorers`, `heads`, `data-modules`, `recipes`: what there is to choose, and what failed to load."""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of each of these commands."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print the table of the kind that the command is called after; returns the exit code."""
    from asd.cli.catalogue import markdown_table, rows, score_sources
    from asd.plugins import load_all

    listed = rows(args.command)
    failures = {name: f"{type(error).__name__}: {error}" for name, error in load_all().items()}
    if args.json:
        print(json.dumps({args.command.replace("-", "_"): listed, "failed": failures}, indent=2))
        return 0
    print(markdown_table(listed))
    told = score_sources() if args.command == "encoders" else []
    if told:
        print("", "Official scores are from:", "", *(f"- {line}." for line in told), sep="\n")
    if failures:
        print()
    for name, reason in failures.items():
        print(f"failed to load {name}: {' '.join(reason.split())}")
    return 0
