"""`asd data pseudo-label`: labels for training clips without attributes, from stored embeddings."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asd.errors import UserError
from asd.utils.sheet import read_sheet

if TYPE_CHECKING:
    from asd.evaluation.embedding_store import StoredClip
    from asd.machine import MachineSection

_GRADED = ("machine", "file_name", "label")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("store", metavar="STORE", type=Path, help="folder that `asd predict` wrote, or of its run")
    parser.add_argument("--out", metavar="FILE", type=Path, default=Path("labels.csv"), help="the file (labels.csv)")
    parser.add_argument("--machines", nargs="+", metavar="NAME", help="default: those with hidden attributes")
    parser.add_argument("--method", choices=("kmeans", "agglomerative"), default="kmeans", help="(kmeans)")
    parser.add_argument(
        "--clusters",
        type=float,
        metavar="N",
        help="in each domain; below 1, a part of its clips; default: the best silhouette",
    )
    parser.add_argument(
        "--what", metavar="NAME", help="vector of each clip that is clustered, by its name in the store"
    )
    parser.add_argument("--seed", type=int, default=0, help="of K-means (0)")
    parser.add_argument(
        "--grade", metavar="FILE", type=Path, help=f"list of {','.join(_GRADED)}, only to print how well both agree"
    )


def run(args: argparse.Namespace) -> int:
    """Cluster, print and write; returns the exit code."""
    from asd.data.layouts.folders import choose_machines
    from asd.data.pseudo_label_file import write_labels
    from asd.data.pseudo_labels import pseudo_labels
    from asd.evaluation import embedding_store
    from asd.machine import sections_of

    whole = embedding_store.read(args.store)
    reference = (whole if args.what is None else whole.of(args.what)).reference
    machines = {clip.machine for clip in reference.clips}
    hidden = {clip.machine for clip in reference.clips if not clip.attributes}
    if args.machines is None and not hidden:
        raise UserError(f"{args.store}: every training clip has attributes; there is nothing to label")
    chosen = hidden if args.machines is None else choose_machines(args.machines, machines, str(args.store))
    truth = None if args.grade is None else _truth(args.grade)
    rows = []
    for section in sections_of([clip for clip in reference.clips if clip.machine in chosen]):
        numbers = [n for n, clip in enumerate(reference.clips) if clip.machine_section == section]
        clips = [reference.clips[n] for n in numbers]
        domains = [clip.domain or "" for clip in clips]
        found = pseudo_labels(reference.embeddings[numbers].numpy(), domains, args.method, args.clusters, args.seed)
        said = ", ".join(f"{label} {size}" for label, size in found.sizes.items())
        print(f"{section}: {said}" + "".join(f"; {d} silhouette {v:.2f}" for d, v in found.silhouette.items()))
        rows += [(c.machine, c.section, c.name, label) for c, label in zip(clips, found.labels, strict=True)]
        if truth is not None:
            _grade(section, clips, found.labels, truth)
    print(write_labels(args.out, rows))
    return 0


def _grade(
    section: MachineSection, clips: Sequence[StoredClip], labels: Sequence[str], truth: Mapping[tuple[str, str], str]
) -> None:
    from asd.data.pseudo_labels import agreement

    known = [(label, truth.get((clip.machine, clip.name))) for clip, label in zip(clips, labels, strict=True)]
    graded = [(label, right) for label, right in known if right is not None]
    if not graded:
        raise UserError(f"the true labels name no training clip of {section}; leave the machine or --grade out")
    value = agreement([label for label, _ in graded], [right for _, right in graded])
    print(f"{section}: normalised mutual information {value:.3f} with the true labels of {len(graded)} clips")


def _truth(path: Path) -> dict[tuple[str, str], str]:
    try:
        lines = [cells for _, cells in read_sheet(path)]
    except OSError as error:
        raise UserError(f"cannot read the true labels {path} ({error}); give a list of {','.join(_GRADED)}") from error
    if not lines or tuple(lines[0]) != _GRADED or any(len(line) != len(_GRADED) for line in lines):
        raise UserError(f"{path}: every line must be {','.join(_GRADED)}, and the first these words; mend it")
    return {(machine, name): label for machine, name, label in lines[1:]}
