"""`asd ensemble`: fuse the scores or the embeddings of several runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asd.cli.thresholds import OPTIONS, add_threshold_arguments, build_threshold
from asd.errors import UserError
from asd.run_folder import RunFolder
from asd.utils.yaml_file import parsed

_KEYS = ("runs", "fuse", "weights", "scorer", "out", *OPTIONS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("runs", metavar="RUN", nargs="*", type=Path, help="run folders; for embeddings, stores")
    parser.add_argument("--config", metavar="NAME|FILE", type=Path, help="YAML with any of: " + ", ".join(_KEYS))
    parser.add_argument(
        "--fuse",
        choices=("mean", "rank", "maximum", "embeddings"),
        help="mean or maximum of scores standardised on the training clips, mean of their ranks among the training "
        "clips, or embeddings side by side (mean)",
    )
    parser.add_argument("--weights", metavar="W", nargs="+", type=float, help="one for each run (equal)")
    parser.add_argument("--scorer", metavar="NAME|YAML", help="of fused embeddings, as in a config (KMeansScorer)")
    add_threshold_arguments(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, help="where to write (runs/ensemble)")


def run(args: argparse.Namespace) -> int:
    """Fuse, write and print; returns the exit code."""
    from asd.configured import configured
    from asd.evaluation import back_ends, calibration, embedding_store, ensemble
    from asd.scoring import Scorer
    from asd.training import outputs

    given = _options(args)
    folders = [Path(one) for one in given["runs"]]
    threshold = build_threshold(given, importing=args.threshold is not None)
    out = Path(given["out"])
    if given["fuse"] == "embeddings":
        joined = ensemble.fuse_embeddings(folders, given["weights"])
        spec = given["scorer"]
        content = parsed(spec, "--scorer") if isinstance(spec, str) else spec
        scorer = configured(content, Scorer, importing=args.scorer is not None)  # type: ignore[type-abstract]
        rows, scorers = back_ends.decided(joined, scorer, threshold)
        known = calibration.of_scorers(scorers, joined.query.seconds)
        for name in embedding_store.SUBSETS:
            embedding_store.write(RunFolder(out).embeddings / f"{name}.safetensors", getattr(joined, name))
    else:
        rows, known = ensemble.fuse_scores(folders, given["fuse"], given["weights"], threshold)
    print(outputs.write(out, rows, known, f"{given['fuse']} of {len(folders)} runs", draw=False).table, flush=True)
    outputs.pictures(out, rows)  # after what is waited for
    print(out)
    return 0


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Defaults, beaten by the config, beaten by the command line."""
    options: dict[str, Any] = {
        "runs": [], "fuse": "mean", "weights": None, "scorer": "KMeansScorer", "out": "runs/ensemble",
    }  # fmt: skip
    if args.config is not None:
        from asd.cli.arguments import read_mapping

        content: Mapping[str, Any] = read_mapping(str(args.config))
        unknown = sorted(set(content) - set(_KEYS))
        if unknown:
            raise UserError(f"{args.config}: unknown {', '.join(unknown)}; an ensemble has {', '.join(_KEYS)}")
        options.update(content)
    options.update({key: value for key in _KEYS if (value := getattr(args, key)) not in (None, [])})
    return options
