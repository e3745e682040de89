"""`asd rescore`: fit and score back ends on stored embeddings."""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asd.cli.thresholds import OPTIONS, add_threshold_arguments, build_threshold
from asd.errors import UserError
from asd.run_folder import RunFolder
from asd.utils.yaml_file import parsed

if TYPE_CHECKING:
    from asd.evaluation.back_ends import Rescored, Spec
    from asd.evaluation.embedding_store import Store
    from asd.plots.embeddings import Projection
    from asd.scoring.threshold import Threshold


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("store", metavar="STORE", type=Path, help="folder that `asd predict` wrote, or of its run")
    parser.add_argument(
        "--scorer", metavar="NAME|YAML", help="class name, or {class_path: ..., init_args: ...} as in a config"
    )
    parser.add_argument(
        "--set", metavar="PLACE=VALUE", action="append", default=[], help="an argument of it: k=4, scorer.metric=cosine"
    )
    parser.add_argument(
        "--what", metavar="NAME", action="append", default=[], help="vector of each clip: a name in the store, or all"
    )
    parser.add_argument("--grid", metavar="NAME|FILE", type=Path, help="list of scorers, such as grid/back_ends")
    parser.add_argument("--out", metavar="DIR", type=Path, help="where to write (rescored in the run's folder)")
    parser.add_argument("--projection", choices=("pca", "umap"), default="pca", help="of the maps of embeddings (pca)")
    add_threshold_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Score and print; returns the exit code."""
    from asd.configured import configured
    from asd.evaluation import back_ends, embedding_store
    from asd.scoring import Scorer

    if (args.scorer is None) == (args.grid is None):
        raise UserError("give either --scorer NAME or --grid FILE; see `asd rescore --help`")
    if args.grid is not None and args.set:
        raise UserError("--set goes with --scorer; in a grid, use vary")
    specs = [_spec(args.scorer, args.set)] if args.grid is None else back_ends.read_grid(args.grid)
    whole = embedding_store.read(args.store)
    usual = whole.query.what
    names = whole.query.names if "all" in args.what else tuple(dict.fromkeys(args.what)) or (usual,)
    stores = [whole.of(name) for name in names]
    out = _place(args.store) if args.out is None else args.out
    if args.grid is None and len(stores) == 1:
        threshold = build_threshold({key: getattr(args, key) for key in OPTIONS}, importing=True)
        return _one(stores[0], specs[0], out, threshold, args.projection, "" if names[0] == usual else names[0])
    done: list[Rescored] = []
    for found, spec in itertools.product(stores, specs):
        scorer = configured(spec, Scorer, importing=args.grid is None)  # type: ignore[type-abstract]
        try:
            done.append(back_ends.score(found, scorer, spec))
        except UserError as error:
            named = f"{found.query.what}: " if len(stores) > 1 else ""
            print(f"asd: warning: left out {named}{back_ends.describe(spec)}: {error}", file=sys.stderr)
    if not done:
        raise UserError(f"{args.grid or args.scorer}: no back end could be fitted")
    return _grid(done, out, usual, several=len(stores) > 1)


def _place(store: Path) -> Path:
    """Where the run keeps what is made of its embeddings; of others, their own folder."""
    beside = RunFolder(store.parent)
    return beside.rescored if store.name == beside.embeddings.name else RunFolder(store).rescored


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


def _one(found: Store, spec: Spec, out: Path, threshold: Threshold, projection: Projection, what: str) -> int:
    from asd import plots
    from asd.configured import configured
    from asd.evaluation import back_ends, calibration
    from asd.scoring import Scorer
    from asd.training import outputs

    scorer = configured(spec, Scorer, importing=True)  # type: ignore[type-abstract]
    rows, scorers = back_ends.decided(found, scorer, threshold)
    known = calibration.of_scorers(scorers, found.query.seconds)
    written = outputs.write(out, rows, known, back_ends.describe(spec))
    _write_config(out / "scorer.yaml", spec, what)
    plots.draw_embeddings(found, RunFolder(out).pictures, projection)
    print(written.table)
    print(out)
    return 0


def _grid(done: list[Rescored], out: Path, usual: str, several: bool) -> int:
    from asd import plots
    from asd.evaluation import back_ends, tables
    from asd.utils.files import replace_text

    ordered = sorted(done, key=lambda one: -1.0 if math.isnan(one.official) else -one.official)
    lines = []
    for one in ordered:
        means = tables.metrics_table(one.metrics).summary[0][1:] if one.metrics else ["-", "-", "-"]
        named = f"{one.what}: " if several else ""
        lines.append([named + back_ends.describe(one.spec), tables.percent(one.official), *means])
    headers = ["back end", "official score", "AUC source", "AUC target", "pAUC"]
    print(tables.Table(headers, lines).text())
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([headers, *lines])
    out.mkdir(parents=True, exist_ok=True)
    replace_text(out / "rescored.csv", text.getvalue())
    _write_config(out / "best.yaml", ordered[0].spec, "" if ordered[0].what == usual else ordered[0].what)
    if ordered[0].metrics:
        rows = [(line[0], [float(cell) for cell in line[1:]]) for line in lines if "-" not in line[1:]]
        plots.back_end_chart(rows, out / "rescored.png")
        print("The order follows the labels of the test clips: the best of many looks better than it will prove.")
    else:
        print("no test clip has a known label: the order is that of the grid, and best.yaml its first back end")
    print(out)
    return 0


def _write_config(path: Path, spec: Spec, what: str) -> None:
    """The back end as a config, and what it scored, where that is another vector than the run's.

    With every argument, or it would take those of a run's scorer of the same class that it does not name.
    """
    import yaml

    from asd.configured import configured
    from asd.described import described
    from asd.scoring import Scorer
    from asd.utils.files import replace_text

    scorer = described(configured(spec, Scorer, importing=True))  # type: ignore[type-abstract]
    scored = {"adapter": {"init_args": {"embedding": what}}} if what else {}
    replace_text(path, yaml.safe_dump({"model": {**scored, "scorer": scorer}}, sort_keys=False))
