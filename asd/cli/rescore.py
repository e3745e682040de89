"""`asd rescore`: fit and score back ends on stored embeddings."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asd.cli.choice import add_choice_arguments, by_labels, ranked
from asd.cli.thresholds import OPTIONS, add_threshold_arguments, build_threshold
from asd.errors import UserError
from asd.run_folder import RunFolder
from asd.utils.forks import usable_cores
from asd.utils.yaml_file import parsed

if TYPE_CHECKING:
    import torch

    from asd.cli.choice import Choice
    from asd.evaluation.back_ends import Spec
    from asd.evaluation.embedding_store import Store
    from asd.plots.embeddings import Projection
    from asd.scoring.threshold import Threshold


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "stores", metavar="STORE", nargs="+", type=Path, help="folders that `asd predict` wrote, or of its runs"
    )
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
    add_choice_arguments(parser)
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="where to write (rescored in the run's folder; of several, be given)"
    )
    parser.add_argument(
        "--processes", metavar="N", type=int, help="back ends at a time, on Linux (as many as there are cores)"
    )
    parser.add_argument(
        "--device", default="cpu", help="that fits and scores, one back end at a time: cpu (default), cuda, ..."
    )
    parser.add_argument("--projection", choices=("pca", "umap"), default="pca", help="of the maps of embeddings (pca)")
    parser.add_argument("--no-pictures", action="store_true", help="scores and tables alone, in half the time")
    add_threshold_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Score and print; returns the exit code."""
    from asd.evaluation import back_ends
    from asd.utils.devices import usable

    if (args.scorer is None) == (args.grid is None):
        raise UserError("give either --scorer NAME or --grid FILE; see `asd rescore --help`")
    if args.grid is not None and args.set:
        raise UserError("--set goes with --scorer; in a grid, use vary")
    specs = [_spec(args.scorer, args.set)] if args.grid is None else back_ends.read_grid(args.grid)
    device = usable(args.device)
    processes = args.processes
    if processes is None:
        processes = usable_cores() if device.type == "cpu" else 1
    if processes < 1:
        raise UserError(f"--processes is {processes}; give 1 or more")
    if processes > 1 and device.type != "cpu":
        raise UserError(f"--processes is {processes}, but processes share no {device.type}; give 1, or --device cpu")
    if len(args.stores) > 1 and args.out is None:
        raise UserError("several runs have no folder in common; add --out DIR")
    stores = list(_stores(args.stores, args.what))
    out = _place(args.stores[0]) if args.out is None else args.out
    if args.grid is None and len(stores) == 1 and by_labels(args.choose):
        threshold = build_threshold({key: getattr(args, key) for key in OPTIONS}, importing=True)
        _, found, what = stores[0]
        return _one(found, specs[0], out, threshold, None if args.no_pictures else args.projection, what, device)
    of_run = [(run, found) for run, found, _ in stores]
    choice = ranked(of_run, specs, args.choose, importing=args.grid is None, processes=processes, device=device)
    named = {(run, found.query.what): what for run, found, what in stores}
    return _grid(choice, out, named, draw=not args.no_pictures)


def _stores(paths: list[Path], what: list[str]) -> Iterator[tuple[str, Store, str]]:
    """Each run, where there are several, each vector of its clips, and the vector's name where it is not the usual."""
    from asd.evaluation import embedding_store

    for path in paths:
        whole = embedding_store.read(path)
        usual = whole.query.what
        for name in whole.query.names if "all" in what else tuple(dict.fromkeys(what)) or (usual,):
            yield str(path) if len(paths) > 1 else "", whole.of(name), "" if name == usual else name


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


def _one(
    found: Store,
    spec: Spec,
    out: Path,
    threshold: Threshold,
    projection: Projection | None,
    what: str,
    device: torch.device,
) -> int:
    from asd import plots
    from asd.configured import configured
    from asd.evaluation import back_ends, calibration
    from asd.scoring import Scorer
    from asd.training import outputs

    scorer = configured(spec, Scorer, importing=True)  # type: ignore[type-abstract]
    rows, scorers = back_ends.decided(found, scorer, threshold, device)
    known = calibration.of_scorers(scorers, found.query.seconds)
    print(outputs.write(out, rows, known, back_ends.describe(spec), draw=False).table, flush=True)
    _write_config(out / "scorer.yaml", spec, what)
    if projection is not None:  # after what is waited for
        outputs.pictures(out, rows)
        plots.draw_embeddings(found, RunFolder(out).pictures, projection)
    print(out)
    return 0


def _grid(choice: Choice, out: Path, named: Mapping[tuple[str, str], str], draw: bool) -> int:
    from asd import plots
    from asd.utils.files import replace_text

    print(choice.table().text())
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([choice.headers, *choice.lines()])
    out.mkdir(parents=True, exist_ok=True)
    replace_text(out / "rescored.csv", text.getvalue())
    best = choice.rows[0]
    _write_config(out / "best.yaml", best.spec, named[best.run, best.what])
    measured = [(line[0], line[-4:]) for line in choice.lines() if "-" not in line[-4:]]
    if measured and draw:
        rows = [(name, [float(cell) for cell in cells]) for name, cells in measured]
        plots.back_end_chart(rows, out / "rescored.png")
    print(choice.remark())
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
