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
from asd.report import verdicts
from asd.report.clips import data_uri
from asd.report.curves import training_curves
from asd.report.gather import Run
from asd.report.html import Block, Details, Pairs, Picture, Score, Scores
from asd.run_folder import RunFolder

_PARTS = {"auc_source": "AUC source", "auc_target": "AUC target", "pauc": "pAUC"}


def headline(run: Run) -> list[Block]:
    """What it decides and how it ranks, then what was trained on what."""
    numbers = verdicts.numbers(run)
    if run.labelled:
        interval = bootstrap.interval(run.labelled, run.rule, bootstrap.Options())
        ends = f"{percent(interval.low)} to {percent(interval.high)}"
        draws = f"from {interval.resamples} resamples of the test clips"
        text = f"{score_name(run)}, in percent; 95 % interval {ends}, {draws}"
        numbers.append(Score(percent(interval.score), text))
    return [*([Scores(numbers)] if numbers else []), *_training(run), *_data(run), *run.notes]


def score_name(run: Run) -> str:
    """What the score of the ranking is called: plants have no officials."""
    return "ranking score" if run.own else "official score"


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
        counts = Counter(_kind(run, row) for row in run.rows)
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda one: one[0]))
        said.append(f"{len(run.rows)} test clips: {kinds}.")
    return [" ".join(said)] if said else []


def _kind(run: Run, row: clip_scores.ClipScore) -> str:
    condition = row.condition or "unknown label"
    return condition if run.own and row.domain is None else f"{row.domain or 'unknown domain'} {condition}"


def ranking(run: Run) -> list[Block]:
    """AUCs, pAUC and score of each machine with their intervals; in the challenge the official F1 beside them."""
    if not run.labelled:
        return ["No label of the test clips is known: they are scored, and nothing is measured."]
    options = bootstrap.Options()
    sections = clip_scores.named_sections(run.labelled)
    found = {name: next(iter(bootstrap.by_part(own, run.rule, options).values())) for name, own in sections.items()}
    parts = [part for part in _PARTS if not run.own or any(not math.isnan(one[part].score) for one in found.values())]
    lines = []
    for name, clips in sections.items():
        whole = bootstrap.interval(clips, run.rule, options)
        lines.append([name, *(_with_ends(found[name][part]) for part in parts), _with_ends(whole)])
    whole = bootstrap.interval(run.labelled, run.rule, options)
    note = "In percent, with 95 % intervals; the score is the harmonic mean of the others over the machines."
    titles = {**_PARTS, "auc_source": "AUC"} if run.own and "auc_target" not in parts else _PARTS
    if run.own:
        note += " AUC: how often an anomalous clip scores above a normal one; 50 is chance. pAUC: at rare alarms."
    headers = ["machine", *(titles[part] for part in parts), "score" if run.own else "official score"]
    table = Table(headers, lines, [["all", *("" for _ in parts), _with_ends(whole)]], note)
    decisions = None if run.own else decisions_table(clip_scores.measure(run.labelled))
    return [table] if decisions is None else [table, decisions]


def _with_ends(one: bootstrap.Interval) -> str:
    if math.isnan(one.score):
        return "-"
    return f"{percent(one.score)} ({percent(one.low, 1)} to {percent(one.high, 1)})"


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
    drawn = training_curves(run.curves, folder / "curves.png", score_name(run))
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
