"""`asd evaluate`: the official score of a folder of score files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asd.utils import strict_json

if TYPE_CHECKING:
    from asd.evaluation.bootstrap import Comparison, Interval
    from asd.evaluation.evaluator import Evaluation

FORMATS = ("table", "markdown", "latex", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "folders",
        metavar="DIR",
        nargs="+",
        type=Path,
        help="folder of anomaly_score_*.csv files, or of a run; several of different machines are taken together",
    )
    parser.add_argument(
        "--truth", metavar="LIST", type=Path, help="eval_data_list file, for clips whose names do not say what they are"
    )
    parser.add_argument("--year", type=int, default=2025, help="whose year's rule to measure by: 2020 to 2026 (2025)")
    parser.add_argument("--format", choices=FORMATS, default="table", help="what to print (table)")
    parser.add_argument(
        "--json", dest="format", action="store_const", const="json", help="short for --format json; fractions"
    )
    parser.add_argument(
        "--decisions",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure the decision_result_*.csv files as well, where there are any (on)",
    )
    parser.add_argument("--against", metavar="DIR", type=Path, help="compare with another system on the same clips")
    parser.add_argument(
        "--bootstrap",
        metavar="N",
        type=int,
        help="resamples for 95 %% intervals (1000 with --against or --groups, else none)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling (0)")
    parser.add_argument(
        "--groups", metavar="LIST", type=Path, help="lines `machine`, then `clip,recording`: resample whole recordings"
    )
    parser.add_argument("--pictures", metavar="DIR", type=Path, help="draw score histograms, ROC and DET curves there")


def run(args: argparse.Namespace) -> int:
    """Print the results; returns the exit code."""
    from asd.evaluation.evaluator import evaluate, together
    from asd.evaluation.metrics import Rule

    rule = Rule.of_year(args.year)
    found = together([evaluate(folder, args.truth, rule, args.decisions) for folder in args.folders], rule)
    warnings = list(found.warnings)
    interval = comparison = None
    if any(one is not None for one in (args.bootstrap, args.against, args.groups)):
        from asd.evaluation import bootstrap

        groups = None if args.groups is None else bootstrap.read_groups(args.groups)
        options = bootstrap.Options(1000 if args.bootstrap is None else args.bootstrap, args.seed, groups)
        interval = bootstrap.interval(found.rows, rule, options)
        if args.against is not None:
            other = evaluate(args.against, args.truth, rule, args.decisions)
            warnings += [one for one in other.warnings if one not in warnings]
            comparison = bootstrap.compare(found.rows, other.rows, rule, options)
    for warning in warnings:
        print(f"asd: warning: {warning}", file=sys.stderr)
    _print(args, found, interval, comparison)
    if args.pictures is not None:
        from asd import plots

        plots.score_histograms(found.rows, args.pictures / "score_histograms.png")
        plots.roc_curves(found.rows, args.pictures / "roc_curves.png")
        plots.det_curves(found.rows, args.pictures / "det_curves.png")
    return 0


def _print(
    args: argparse.Namespace, found: Evaluation, interval: Interval | None, comparison: Comparison | None
) -> None:
    from asd.evaluation import calibration, clip_scores, tables, verdicts

    if args.format == "json":
        content: dict[str, Any] = clip_scores.to_json(found.results)
        if interval is not None:
            content["interval"] = interval.to_json()
        if comparison is not None:
            content["against"] = comparison.to_json()
        print(strict_json.dumps(content, indent=2))
        return
    known = calibration.merged(args.folders)
    shown = [
        verdicts.verdicts_table(verdicts.verdicts_of(found.results, known), known),
        tables.metrics_table(found.results),
        tables.decisions_table(found.results),
    ]
    blocks = [one.render(args.format) for one in shown if one is not None]
    if interval is not None:
        blocks.append(interval.sentence())
    if comparison is not None:
        blocks += [comparison.table().render(args.format), comparison.sentence()]
    print("\n\n".join(blocks))
