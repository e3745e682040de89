"""`asd rescore`: fit and score back ends on stored embeddings."""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asd.cli.thresholds import DEFAULTS, add_threshold_arguments, build_threshold
from asd.errors import UserError
from asd.yaml_file import parsed

if TYPE_CHECKING:
    from asd.pictures.embeddings import Projection
    from asd.rescore import Rescored, Spec
    from asd.scoring.threshold import Threshold
    from asd.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("store", metavar="STORE", type=Path, help="folder that `asd predict` wrote, or of its run")
    parser.add_argument(
        "--scorer", metavar="NAME|YAML", help="class name, or {class_path: ..., init_args: ...} as in a config"
    )
    parser.add_argument(
        "--set", metavar="PLACE=VALUE", action="append", default=[], help="an argument of it: k=4, scorer.metric=cosine"
    )
    parser.add_argument("--grid", metavar="NAME|FILE", type=Path, help="list of scorers, such as grid/back_ends")
    parser.add_argument("--out", metavar="DIR", type=Path, help="where to write (STORE/rescored)")
    parser.add_argument("--projection", choices=("pca", "umap"), default="pca", help="of the maps of embeddings (pca)")
    add_threshold_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Score and print; returns the exit code."""
    from asd import rescore, store

    if (args.scorer is None) == (args.grid is None):
        raise UserError("give either --scorer NAME or --grid FILE; see `asd rescore --help`")
    found = store.read(args.store)
    out = args.store / "rescored" if args.out is None else args.out
    if args.grid is None:
        options = {
            key: default if getattr(args, key) is None else getattr(args, key) for key, default in DEFAULTS.items()
        }
        return _one(found, _spec(args.scorer, args.set), out, build_threshold(**options), args.projection)
    if args.set:
        raise UserError("--set goes with --scorer; in a grid, use vary")
    specs = rescore.read_grid(args.grid)
    done: list[Rescored] = []
    for spec in specs:
        try:
            done.append(rescore.score(found, rescore.build(spec), spec))
        except UserError as error:
            print(f"asd: warning: left out {rescore.describe(spec)}: {error}", file=sys.stderr)
    if not done:
        raise UserError(f"{args.grid}: no back end could be fitted")
    return _grid(done, out)


def _spec(scorer: str, settings: list[str]) -> Spec:
    content = parsed(scorer, "--scorer")
    spec: dict[str, Any] = {"class_path": content} if isinstance(content, str) else content
    if not isinstance(spec, dict):
        raise UserError(f"--scorer {scorer}: give a class name, or class_path and init_args")
    for setting in settings:
        place, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting}: give PLACE=VALUE, such as k=4")
        at = spec
        *way, last = place.split(".")
        for step in way:
            inner = at.setdefault("init_args", {}).get(step)
            inner = {"class_path": inner} if isinstance(inner, str) else inner
            if not isinstance(inner, dict):
                raise UserError(f"--set {setting}: {step} is no scorer; set {step}=NAME before")
            at["init_args"][step] = inner
            at = inner
        at.setdefault("init_args", {})[last] = parsed(value, f"--set {place}")
    return spec


def _one(found: Store, spec: Spec, out: Path, threshold: Threshold, projection: Projection) -> int:
    from asd import calibration, outputs, pictures, rescore

    rows, population = rescore.decided(found, rescore.build(spec, importing=True), threshold)
    known = calibration.of_population(population, found.query.seconds)
    written = outputs.write(out, rows, known, rescore.describe(spec))
    _write_config(out / "scorer.yaml", spec)
    pictures.draw_embeddings(found, out / "pictures", projection)
    print(written.table)
    print(out)
    return 0


def _grid(done: list[Rescored], out: Path) -> int:
    from asd import pictures, rescore, tables
    from asd.files import replace_text

    ordered = sorted(done, key=lambda one: -1.0 if math.isnan(one.official) else -one.official)
    lines = []
    for one in ordered:
        means = tables.metrics_table(one.metrics).summary[0][1:] if one.metrics else ["-", "-", "-"]
        lines.append([rescore.describe(one.spec), tables.percent(one.official), *means])
    headers = ["back end", "official score", "AUC source", "AUC target", "pAUC"]
    print(tables.Table(headers, lines).text())
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([headers, *lines])
    out.mkdir(parents=True, exist_ok=True)
    replace_text(out / "rescored.csv", text.getvalue())
    _write_config(out / "best.yaml", ordered[0].spec)
    if ordered[0].metrics:
        rows = [(line[0], [float(cell) for cell in line[1:]]) for line in lines if "-" not in line[1:]]
        pictures.back_end_chart(rows, out / "rescored.png")
        print("The order follows the labels of the test clips: the best of many looks better than it will prove.")
    else:
        print("no test clip has a known label: the order is that of the grid, and best.yaml its first back end")
    print(out)
    return 0


def _write_config(path: Path, spec: Spec) -> None:
    import yaml

    from asd.files import replace_text

    replace_text(path, yaml.safe_dump({"model": {"scorer": spec}}, sort_keys=False))
