"""The `asd` program: dispatch to a command, and errors as one line.

Nothing heavy is imported before a command is chosen, so that ``asd --help`` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from asd._version import __version__
from asd.cli import faults
from asd.cli.console import mend_console, run_in_utf8
from asd.cli.short_help import short_help
from asd.errors import Notice, UserError
from asd.utils.log import is_first, logger
from asd.utils.text import shown

TRAINER_COMMANDS = {
    "fit": "train a detector, then test it",
    "validate": "fit the scorers on the reference clips and score the query clips",
    "test": "score the test clips with a checkpoint",
    "predict": "write the embeddings of reference and query clips",
}
SMALL_COMMANDS = {
    "calibrate": "set the limits of a machine anew, from normal recordings of the place where it works",
    "compare": "compare frozen encoders on your data: scores, speed, parameters and memory",
    "configs": "list, show and copy the configurations that come with the program",
    "data": "download, synthesise, check and list data",
    "data-modules": "list the ways in which recordings may lie, for --data",
    "encoders": "list the encoders, and the plug-ins that failed to load",
    "enroll": "add a machine to a trained detector from its normal recordings, without training",
    "ensemble": "fuse the scores or the embeddings of several runs",
    "evaluate": "compute the official score of a folder of score files",
    "explain": "show which bands and seconds of a recording make its score, and what it resembles",
    "export": "write a detector as one ONNX or torch.export file",
    "feedback": "tell the detector that a verdict was wrong: a false alarm, or a fault that it missed",
    "heads": "list the losses that an encoder is trained by, for --model.head",
    "recipes": "list the complete configurations: encoder, weights and their licence, data",
    "report": "write one HTML file that tells all of a run, or its model card",
    "rescore": "fit and score back ends on stored embeddings, one or a grid of them",
    "score": "score recordings with a trained detector; exit code 1 where one is anomalous",
    "scorers": "list the back ends that turn embeddings into scores, for --model.scorer",
    "serve": "answer scoring requests over HTTP, with a page to try recordings on",
    "submit": "write or check a submission folder of the challenge",
    "watch": "listen on and on: events and drift as JSON lines",
    "weights": "list, fetch and verify published weights",
}
LISTINGS = ("data-modules", "encoders", "heads", "recipes", "scorers")
"""Those that show a table of what there is, all by one module."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code.

    0, done; 1, an anomaly was found (`score`, `watch`) or something must be mended (`data check`); 2, the user can mend
    what went wrong; 130, interrupted; 70, a fault of ours, whose trace is in a file.
    """
    if argv is None:
        run_in_utf8()
    arguments = list(sys.argv[1:] if argv is None else argv)
    mend_console()
    try:
        with _messages(), _written_out():
            return _dispatch(arguments)
    except BaseException as error:
        # The end of `--help`, or by a signal; 1 would be an alarm.
        if isinstance(error, SystemExit) and error.code != 1 and not isinstance(error.code, str):
            raise
        reader_gone = faults.settle()
        if isinstance(error, BrokenPipeError) and reader_gone:
            return 0
        code, line = faults.outcome(error, arguments)
        faults.say(line)
        return code


@contextlib.contextmanager
def _written_out() -> Iterator[None]:
    """Write out what was printed while an error can still be told."""
    try:
        yield
    except SystemExit:
        _flush()
        raise
    _flush()


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


@contextlib.contextmanager
def _messages() -> Iterator[None]:
    """Print a `Notice` as one line, without the place in the source, and what is logged by the first process."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: is_first() or record.levelno > logging.WARNING)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    usual = warnings.formatwarning

    def one_line(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> str:
        if issubclass(category, Notice):
            return f"asd: warning: {shown(' '.join(str(message).split()))}\n"
        return usual(message, category, *place, **more)

    warnings.formatwarning = one_line
    try:
        yield
    finally:
        warnings.formatwarning = usual
        logger.removeHandler(handler)
        logger.setLevel(level)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0
    command, rest = arguments[0], _without_plugins(arguments[1:])
    if command == "--version":
        print(f"asd {__version__}")
        return 0
    if command in TRAINER_COMMANDS:
        if {"-h", "--help"} & set(rest):
            print(short_help(command, TRAINER_COMMANDS[command]))
            return 0
        if command == "fit":
            from asd.cli import search

            if search.asks_for_search(rest):
                return search.run(arguments[1:], rest)
        from asd.cli.training import run_trainer

        return run_trainer([command, *("--help" if one == "--help-all" else one for one in rest)])
    if command not in SMALL_COMMANDS:
        near = difflib.get_close_matches(command, [*TRAINER_COMMANDS, *SMALL_COMMANDS], n=1)
        guess = f" Did you mean {near[0]}?" if near else ""
        raise UserError(
            f"unknown command {command!r}.{guess} Commands: {', '.join([*TRAINER_COMMANDS, *SMALL_COMMANDS])}"
        )
    parser = parser_of(command)
    code: int = module_of(command).run(parser.parse_args(rest))
    return code


def module_of(command: str) -> ModuleType:
    """The module of a small command, with `add_arguments` and `run`."""
    return importlib.import_module(f"asd.cli.{'listing' if command in LISTINGS else command}")


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a small command."""
    parser = _Parser(prog=f"asd {command}", description=SMALL_COMMANDS[command], allow_abbrev=False)
    module_of(command).add_arguments(parser)
    if command in LISTINGS:
        parser.set_defaults(command=command)
    return parser


def _without_plugins(arguments: list[str]) -> list[str]:
    """Import the modules that ``--plugin`` names; returns the other arguments."""
    if not any(one.partition("=")[0] == "--plugin" for one in arguments):
        return arguments
    from asd.cli.arguments import options
    from asd.plugins import load

    found = list(options(arguments, ("--plugin",)))
    for _, _, module in found:
        load(module)
    taken = {position for at, length, _ in found for position in range(at, at + length)}
    return [one for position, one in enumerate(arguments) if position not in taken]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UserError(f"{message}; see `{self.prog} --help`")


def _usage() -> str:
    lines = [
        "usage: asd COMMAND [OPTIONS]",
        "",
        "Anomalous sound detection for machines, learned from normal sound.",
        "",
    ]
    width = max(map(len, [*TRAINER_COMMANDS, *SMALL_COMMANDS])) + 2
    lines += [f"  {name:{width}}{text}" for name, text in {**TRAINER_COMMANDS, **SMALL_COMMANDS}.items()]
    lines += ["", "  --version  the version of asd", "  COMMAND --help  the options of a command"]
    lines += ["  COMMAND --plugin MODULE  import it first: a checkpoint may name the classes in it"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
