"""`asd data mix`: clips from recordings of a machine and of noise."""

from __future__ import annotations

import argparse
from pathlib import Path

from asd.cli.progress import progress


def add_mix_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("sounds", metavar="SOUNDS", type=Path, help="folder of recordings of the machine")
    parser.add_argument("noises", metavar="NOISES", type=Path, help="folder of recordings of noise")
    parser.add_argument("out", metavar="OUT", type=Path, help="the data set to make, or to add to")
    parser.add_argument("--machine", metavar="NAME", required=True, help="machine type")
    parser.add_argument("--snr", nargs="+", metavar="DB", type=_ratio, required=True, help="drawn from these, or clean")
    parser.add_argument("--section", default="00", help="(00)")
    parser.add_argument("--split", choices=("train", "test"), default="train", help="(train)")
    parser.add_argument("--domain", choices=("source", "target"), default="source", help="(source)")
    parser.add_argument(
        "--condition", choices=("normal", "anomaly"), default="normal", help="where names do not say it"
    )
    parser.add_argument("--sample-rate", type=_rate, default=16000, help="Hz (16000)")
    parser.add_argument("--seed", type=int, default=0, help="of noise and ratio (0)")


def run_mix(args: argparse.Namespace) -> int:
    """Mix; returns the exit code."""
    from asd.data.clip import Condition, Domain, Split
    from asd.data.synthesis.mix_recordings import Place, mix_files

    place = Place(args.machine, args.section, Split(args.split), Domain(args.domain), Condition(args.condition))
    with progress("mixing") as on_clip:
        written = mix_files(
            args.sounds, args.noises, args.out, place, args.snr, args.sample_rate, args.seed, on_clip
        )  # fmt: skip
    print(f"{len(written)} clips")
    print(args.out)
    return 0


def _ratio(text: str) -> float | None:
    if text == "clean":
        return None
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of dB nor clean") from None


def _rate(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no sample rate in Hz")
    return int(text)
