"""`asd explain`: which bands and seconds make a score, and what the sound is like."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from asd.utils import strict_json
from asd.utils.text import shown

_LONGEST = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("sources", metavar="FILE", type=Path, nargs="+", help="recordings, or folders of them")
    parser.add_argument("--checkpoint", metavar="FILE", type=Path, required=True, help="or a run's folder")
    parser.add_argument("--machine", metavar="NAME", help="needed where the detector knows several")
    parser.add_argument("--hop", type=float, metavar="SECONDS", help="between windows of a long recording (a window)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="write a picture and the numbers of each recording")


def run(args: argparse.Namespace) -> int:
    """Explain each recording; returns 2 where one cannot be used, else 0."""
    from asd import plots
    from asd.data.audio.decoding import AudioError
    from asd.data.layouts.walk import recordings_in
    from asd.inference import Detector
    from asd.utils.files import replace_text

    detector = Detector.load(args.checkpoint, hop=args.hop)
    detector.section_index(args.machine)
    paths = list(recordings_in(args.sources))
    failed = False
    for path, stem in zip(paths, _stems(paths), strict=True):
        try:
            found = detector.explain(path, machine=args.machine)
        except AudioError as error:  # the others are explained all the same
            print(f"asd: error: {shown(' '.join(str(error).split()))}", file=sys.stderr)
            failed = True
            continue
        low, high = found.band
        first, last = found.span
        print(f"{shown(str(path))}: score {found.score:.4g}, threshold {found.threshold:.4g}")
        print(f"  most from {low:.0f} to {high:.0f} Hz, and from {first:.1f} to {last:.1f} s")
        for near in found.nearest:
            attributes = f", {near.attributes}" if near.attributes else ""
            print(f"  like {shown(near.name)} ({near.similarity:.3f}{attributes})")
        if found.resembles:
            shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in list(found.resembles.items())[:3])
            print(f"  among the nearest: {shares}")
        if args.out is not None:
            args.out.mkdir(parents=True, exist_ok=True)
            picture = plots.explanation(found, args.out / f"{stem}.png")
            print(f"  {shown(str(picture))}", flush=True)
            replace_text(
                args.out / f"{stem}.json", strict_json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n"
            )
    return 2 if failed else 0


def _stems(paths: list[Path]) -> list[str]:
    """A file name for each recording, told apart by its folders where the names are the same."""
    names = [shown(path.stem) for path in paths]
    if len(set(names)) < len(names):
        names = [re.sub(r"[^\w.-]+", "_", shown(str(path)).lstrip("./")) for path in paths]
    return [_short(name, f"{number:04d}") for number, name in enumerate(names)]


def _short(name: str, number: str) -> str:
    """The name, or its beginning and its number where files of that name could not be written."""
    start = name.encode()[:_LONGEST].decode(errors="ignore")
    return name if start == name else f"{start}-{number}"
