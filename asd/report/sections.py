"""The sections of a report that need neither the model nor the data."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from asd import plots
from asd.evaluation import bootstrap, clip_scores, embedding_store
from asd.evaluation.tables import Table, decisions_table, percent
from asd.report.clips import data_uri
from asd.report.curves import training_curves
from asd.report.gather import Run
from asd.report.html import Block, Details, Pairs, Picture, Score
from asd.run_folder import RunFolder

_PARTS = {"auc_source": "AUC source", "auc_target": "AUC target", "pauc": "pAUC"}


def headline(run: Run) -> list[Block]:
    """What was trained on what, and what came out."""
    blocks: list[Block] = []
    if run.labelled:
        interval = bootstrap.interval(run.labelled, run.rule, bootstrap.Options())
        ends = f"{percent(interval.low)} to {percent(interval.high)}"
        text = (
            f"official score, in percent; 95 % interval {ends}, from {interval.resamples} resamples of the test clips"
        )
        blocks.append(Score(percent(interval.score), text))
    return [*blocks, *_training(run), *_data(run), *run.notes]


def _training(run: Run) -> list[str]:
    model = run.config.get("model", {})
    if not model:
        return []
    trainer, warmup = run.config.get("trainer", {}), run.config.get("warmup", {})
    epochs = warmup.get("epochs") or 0
    frozen = f", frozen for the first {epochs}" if epochs else ""
    when = f" on {run.environment['started'][:10]}" if "started" in run.environment else ""
    return [
        f"Trained{when}: {_name(model.get('encoder'), 'no encoder')} with {_name(model.get('head'), 'AdaCos')}, for "
        f"{trainer.get('max_epochs')} epochs{frozen}; scored by {_name(model.get('scorer'), 'KMeansScorer')}."
    ]


def _name(part: Any, usual: str) -> str:
    return str(part["class_path"]).rpartition(".")[2] if isinstance(part, dict) and "class_path" in part else usual


def _data(run: Run) -> list[str]:
    said = []
    data = run.config.get("data", {})
    if data:
        root = data.get("init_args", {}).get("root", "no folder")
        said.append(f"Data: {_name(data, 'ToyADMOS2')} in {root}.")
    if run.known is not None:
        normal = sum(len(one.source) + len(one.target) for one in run.known.machines.values())
        said.append(f"{normal} normal training clips of {len(run.known.machines)} machines.")
    if run.rows:
        counts = Counter((row.domain or "unknown domain", row.condition or "unknown label") for row in run.rows)
        kinds = ", ".join(f"{count} {domain} {condition}" for (domain, condition), count in sorted(counts.items()))
        said.append(f"{len(run.rows)} test clips: {kinds}.")
    return [" ".join(said)] if said else []


def official(run: Run) -> list[Block]:
    """AUCs, pAUC and score of each machine with their intervals."""
    if not run.labelled:
        return ["No label of the test clips is known: they are scored, and nothing is measured."]
    options = bootstrap.Options()
    lines = []
    for name, clips in clip_scores.named_sections(run.labelled).items():
        found = bootstrap.by_part(clips, run.rule, options)
        whole = bootstrap.interval(clips, run.rule, options)
        (own,) = found.values()
        lines.append([name, *(_with_ends(own[part]) for part in _PARTS), _with_ends(whole)])
    whole = bootstrap.interval(run.labelled, run.rule, options)
    note = "In percent, with 95 % intervals; the score is the harmonic mean of all three over the machines."
    return [Table(["machine", *_PARTS.values(), "score"], lines, [["all", "", "", "", _with_ends(whole)]], note)]


def _with_ends(one: bootstrap.Interval) -> str:
    if math.isnan(one.score):
        return "-"
    return f"{percent(one.score)} ({percent(one.low, 1)} to {percent(one.high, 1)})"


def thresholds(run: Run) -> list[Block]:
    """Thresholds, and what they cost and find."""
    blocks: list[Block] = []
    if run.known is not None:
        lines = []
        for name, one in run.known.machines.items():
            rates = [one.expected(domain) for domain in ("source", "target")]
            cells = [f"{percent(one.rate, 1)} of {one.clips}" if one.clips else "-" for one in rates]
            lines.append([name, f"{one.threshold:.4g}", *cells])
        headers = ["machine", "threshold", "training alarms, source", "training alarms, target"]
        blocks.append(Table(headers, lines, note="In percent of the normal training clips, held out."))
    decisions = decisions_table(clip_scores.measure(run.labelled), run.known) if run.labelled else None
    if decisions is not None:
        blocks.append(decisions)
    return blocks or ["No thresholds are kept; they come with `asd test`."]


def scores(run: Run, folder: Path) -> list[Block]:
    """Histograms, ROC and DET curves, drawn anew."""
    if not run.labelled:
        return ["Nothing to draw without labels."]
    drawn = [
        (plots.score_histograms(run.rows, folder / "histograms.png"), "Histograms of scores by machine"),
        (plots.roc_curves(run.rows, folder / "roc.png"), "ROC curves by machine"),
        (plots.det_curves(run.rows, folder / "det.png"), "DET curves by machine"),
    ]
    return [_picture(path, text) for path, text in drawn]


def embeddings(run: Run, folder: Path) -> list[Block]:
    """Maps of the embeddings: those of the run, or of its stored embeddings."""
    drawn = RunFolder(run.folder).pictures / "embeddings_condition.png"
    if not drawn.is_file() and RunFolder(run.folder).embeddings.is_dir():
        drawn = plots.embedding_map(embedding_store.read(run.folder), folder / "embeddings.png")
    if not drawn.is_file():
        return ["The run keeps no embeddings; `asd predict --ckpt_path CHECKPOINT` writes them."]
    found = [(drawn, "Map of the embeddings by domain and condition")]
    named = drawn.with_name("embeddings_attributes.png")
    found += [(named, "Map of the embeddings by attributes")] if named.is_file() else []
    return [_picture(path, text) for path, text in found]


def training(run: Run, folder: Path) -> list[Block]:
    """Loss, accuracies and validation score over the epochs."""
    drawn = training_curves(run.curves, folder / "curves.png")
    if drawn is None:
        return ["The run keeps no metrics.csv; the CSV logger writes one."]
    return [_picture(drawn, "Training loss, accuracies and validation score over the epochs")]


def origin(run: Run) -> list[Block]:
    """Environment and configuration."""
    found = {**run.environment, **run.environment.get("packages", {})}
    values = [(name, str(value)) for name, value in found.items() if not isinstance(value, (dict, list))]
    made = Pairs(values) if values else "What the run was made with is not kept."
    if not run.config:
        return [made, "The run keeps no config.yaml."]
    return [made, Details("Configuration", yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True))]


def _picture(path: Path, text: str) -> Picture:
    return Picture(data_uri(path.read_bytes(), "image/png"), text)
