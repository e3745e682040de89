"""`asd export`: a detector as one file for onnxruntime or torch.export."""

from __future__ import annotations

import argparse
from pathlib import Path

from asd.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", type=Path, nargs="?", help="of `asd fit`, or a run's folder"
    )
    parser.add_argument("out", metavar="OUT", type=Path, nargs="?", help="the folder to make")
    parser.add_argument("--machine", metavar="NAME", help="export this one alone; default: all")
    parser.add_argument("--format", choices=("onnx", "pt2"), default="onnx", help="(onnx)")
    parser.add_argument("--int8", action="store_true", help="linear layers in 8 bits; prints what it costs")
    parser.add_argument("--data", metavar="ROOT", type=Path, help="where the test clips for --int8 lie now")
    parser.add_argument("--verify", metavar="DIR", type=Path, help="check a bundle against its checksum instead")


def run(args: argparse.Namespace) -> int:
    """Export or verify; returns the exit code."""
    from asd.data.audio.channels import NEAR_MINUS_FAR
    from asd.inference.detector import Detector
    from asd.inference.export import export, verify
    from asd.training.restore_data import data_of

    if args.verify is not None:
        manifest = verify(args.verify)
        machines = ", ".join(manifest["machines"])
        print(f"{args.verify / manifest['file']}: whole, of asd {manifest.get('version')}, {machines}")
        return 0
    if args.checkpoint is None or args.out is None:
        raise UserError("give a checkpoint and a folder to make: asd export CHECKPOINT OUT")
    detector = Detector.load(args.checkpoint)
    data = data_of(detector.model.config or {}, detector.cut.sample_rate, args.data) if args.int8 else None
    done = export(detector, args.out, args.machine, args.format, data)
    print(f"{', '.join(done.machines)}: {done.megabytes:.1f} MB, scores within {done.difference:.1e} of torch")
    if done.loss is not None:
        print(
            f"8 bits: official score {100 * done.loss.official:.2f} instead of {100 * done.loss.reference:.2f}, "
            f"scores within {done.loss.difference:.1e}"
        )
    if detector.cut.channel == NEAR_MINUS_FAR:
        print("the bundle takes one channel: whoever feeds it subtracts the far channel from the near one first")
    print(done.folder)
    return 0
