"""Pictures of embeddings: a map of each machine's clips, and which centres of K-means hold which clips."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from asd.errors import UserError
from asd.machine import MachineSection, sections_of, titles
from asd.plots.common import COLOURS, UNKNOWN, Reals, common_legend, grid, save

if TYPE_CHECKING:
    from asd.evaluation.embedding_store import Store, Stored, StoredClip

Projection = Literal["pca", "umap"]
_MOST_ATTRIBUTES = 12
_WIDEST = 16_384
_MOST_CLIPS = 5000


def draw_embeddings(store: Store, folder: Path, projection: Projection = "pca") -> list[Path]:
    """Draw both maps and the centres into a folder; nothing for vectors too wide to be embeddings, as of residuals."""
    if store.reference.embeddings.shape[1] > _WIDEST:
        return []
    return [
        embedding_map(store, folder / "embeddings_condition.png", projection),
        embedding_map(store, folder / "embeddings_attributes.png", projection, by="attributes"),
        centre_attention(store, folder / "centres.png"),
    ]


def embedding_map(store: Store, path: Path, projection: Projection = "pca", by: str = "condition") -> Path:
    """Draw the clips of each machine in two dimensions, projected for each machine by itself; 5000 of more clips.

    Args:
        store: Reference and query clips.
        path: The PNG file.
        projection: The first two principal components of unit embeddings, or UMAP, where it is installed.
        by: What colour tells: ``condition`` (training clips and test clips by domain and condition) or ``attributes``.

    Raises:
        UserError: UMAP is asked for and not installed, or `by` is neither.
    """
    if by not in ("condition", "attributes"):
        raise UserError(f"embedding_map: by is {by!r}; choose condition or attributes")
    sections = sections_of(store.reference.clips)
    figure, panels = grid(list(titles(sections).values()), ("", ""), (3.4, 3.1))
    for axes, section in zip(panels, sections, strict=True):
        clips: list[StoredClip] = []
        parts = []
        for part in (store.reference, store.query):
            rows = _rows_of(part, section)
            clips += [part.clips[row] for row in rows]
            parts.append(part.embeddings[rows].float().numpy())
        places = _project(np.concatenate(parts), projection)
        groups = _by_condition(clips, len(parts[0])) if by == "condition" else _by_attributes(clips, len(parts[0]))
        for label, rows, style in groups:
            axes.scatter(places[rows, 0], places[rows, 1], label=label, **style)
            if by == "attributes":
                # Attributes differ between machines, so their names stand in the panel, amid their clips.
                x, y = np.median(places[rows], axis=0)
                ground = {"facecolor": "white", "alpha": 0.6, "edgecolor": "none", "pad": 0.5}
                axes.text(x, y, label, fontsize=5, ha="center", va="center", parse_math=False, bbox=ground)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.suptitle(f"Embeddings, {'principal components' if projection == 'pca' else 'UMAP'}", fontsize=12)
    if by == "condition":
        common_legend(figure)
    return save(figure, path)


def _rows_of(part: Stored, section: MachineSection) -> list[int]:
    """The rows of a machine and section, or of very many such that are spread evenly."""
    rows = [row for row, clip in enumerate(part.clips) if clip.machine_section == section]
    return rows[:: max(1, -(-len(rows) // _MOST_CLIPS))]


def _project(embeddings: Reals, projection: Projection) -> Reals:
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    if projection == "umap":
        if importlib.util.find_spec("umap") is None:
            raise UserError("the UMAP projection needs umap-learn: pip install umap-learn, or choose pca")
        umap: Any = importlib.import_module("umap")
        return np.asarray(umap.UMAP(metric="cosine", random_state=0).fit_transform(unit), dtype=np.float64)
    centred = unit - unit.mean(0)
    vectors = np.linalg.svd(centred, full_matrices=False)[2][:2]
    places = np.zeros((len(unit), 2))
    places[:, : len(vectors)] = centred @ vectors.T
    return places


Groups = list[tuple[str, list[int], dict[str, Any]]]


def _by_condition(clips: Sequence[StoredClip], references: int) -> Groups:
    groups: Groups = []
    for domain, colour in COLOURS.items():
        rows = [i for i, clip in enumerate(clips[:references]) if (clip.domain or "source") == domain]
        groups.append((f"training, {domain}", rows, {"s": 9, "color": colour, "alpha": 0.25, "linewidths": 0}))
    tests = list(enumerate(clips))[references:]
    for domain, colour in COLOURS.items():
        for condition, style in (("normal", {"marker": "o", "facecolors": "none"}), ("anomaly", {"marker": "x"})):
            rows = [i for i, clip in tests if clip.condition == condition and (clip.domain or "source") == domain]
            paint = {"edgecolors": colour} if condition == "normal" else {"color": colour}
            groups.append((f"test, {domain}, {condition}", rows, {"s": 14, "linewidths": 0.8, **paint, **style}))
    unknown = [i for i, clip in tests if clip.condition is None]
    groups.append(("test, label unknown", unknown, {"s": 12, "color": UNKNOWN, "marker": "+"}))
    return [group for group in groups if group[1]]


def _by_attributes(clips: Sequence[StoredClip], references: int) -> Groups:
    from matplotlib import colormaps

    counts = Counter(clip.attributes or "hidden" for clip in clips[:references])
    colours = colormaps["tab20"]
    groups: Groups = []
    for number, (name, _) in enumerate(counts.most_common(_MOST_ATTRIBUTES)):
        rows = [i for i, clip in enumerate(clips[:references]) if (clip.attributes or "hidden") == name]
        groups.append((name, rows, {"s": 9, "color": [colours(number % 20)], "alpha": 0.7, "linewidths": 0}))
    named = {name for name, _, _ in groups}
    rest = [i for i, clip in enumerate(clips[:references]) if (clip.attributes or "hidden") not in named]
    if rest:
        label = f"{len(counts) - len(named)} more"
        groups.append((label, rest, {"s": 9, "color": UNKNOWN, "alpha": 0.7, "linewidths": 0}))
    return groups


def centre_attention(store: Store, path: Path, k: int = 16, seed: int = 0) -> Path:
    """Draw, for each machine, which part of the clips of each kind is nearest to each centre of K-means.

    The centres are those of `KMeansScorer` with as many centres, clustering all normal clips; an anomaly that shares
    the centres of normal clips of another kind shows what the detector confuses.

    Args:
        store: Reference and query clips.
        path: The PNG file.
        k: Number of centres.
        seed: Of K-means.
    """
    import torch
    from matplotlib.colors import PowerNorm

    from asd.scoring.distances import distances, placed
    from asd.scoring.kmeans import KMeansScorer

    sections = sections_of(store.reference.clips)
    figure, panels = grid(list(titles(sections).values()), ("centre, by number of clips", ""), (3.8, 2.6))
    image = None
    for axes, section in zip(panels, sections, strict=True):
        kinds: dict[str, list[int]] = {}
        rows: dict[str, torch.Tensor] = {}
        for part, name in ((store.reference, "training"), (store.query, "test")):
            own = _rows_of(part, section)
            rows[name] = part.embeddings[own]
            for place, row in enumerate(own):
                clip = part.clips[row]
                kind = f"{name}, {clip.domain or 'domain unknown'}"
                kind += "" if name == "training" or clip.condition is None else f", {clip.condition}"
                kinds.setdefault(kind, []).append(place)
        nothing = torch.zeros(len(rows["training"]), dtype=torch.bool)
        scorer = KMeansScorer(k, target="clustered", seed=seed).fit(rows["training"], nothing)
        nearest = {
            name: distances(placed(part, scorer.metric), scorer.references, scorer.metric).argmin(1)
            for name, part in rows.items()
        }
        count = len(scorer.references)
        order = torch.bincount(nearest["training"], minlength=count).argsort(descending=True, stable=True)
        table = np.stack(
            [
                (torch.bincount(nearest[kind.partition(",")[0]][places], minlength=count)[order] / len(places)).numpy()
                for kind, places in kinds.items()
            ]
        )
        image = axes.imshow(table, aspect="auto", cmap="viridis", norm=PowerNorm(0.5, 0, 1))
        axes.set_yticks(range(len(kinds)), list(kinds), fontsize=6)
        axes.set_xticks([])
    if image is not None:
        figure.colorbar(image, ax=panels, label="part of the clips", shrink=0.6)
    figure.suptitle("Which centre is nearest", fontsize=12)
    return save(figure, path)
