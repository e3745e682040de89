"""A card of each recipe, and a table of all: what the program knows of it, and what was measured (`measured.yaml`)."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from asd.cli.catalogue import recipe_rows
from asd.configured import configured
from asd.encoders import Encoder
from asd.utils import configs
from asd.utils.sizes_alone import sizes_alone

MEASURED = Path(__file__).parent / "measured.yaml"
NOT = "not measured here"
# What is looked for first stands first: on a narrow page the rest is scrolled to.
_HEADS = ("recipe", "what for", "score", "data", "weights, licence", "parameters", "training, clips/s",
          "memory in training, GB")  # fmt: skip
_NUMBERS = ("score", *_HEADS[-3:])
_ALL = "It names no fault, and hears what differs from normal sound: `docs/guides/limits_of_use.md` has figures."


def measured() -> dict[str, Any]:
    """What was measured, every value as it is written."""
    content: dict[str, Any] = yaml.load(MEASURED.read_text(encoding="utf-8"), yaml.BaseLoader)
    return content


def cards() -> Iterator[tuple[str, str]]:
    """A page for each recipe, and the table of all, which the guide to a choice includes."""
    known, rows = measured(), recipe_rows()
    lines = [_row(_HEADS), _row("---:" if one in _NUMBERS else "---" for one in _HEADS)]
    for row in rows:
        name, facts = row["recipe"], known["recipes"].get(row["recipe"], {})
        lines += [_overview(row, facts)]
        lines += [_overview(row, facts["frozen"], "the same, frozen (below)")] if "frozen" in facts else []
        yield f"cards/{name}.md", _card(row, facts, known["sets"])
    yield "included/recipes.md", "\n".join([*lines, ""])
    listed = "\n".join(row["recipe"] for row in rows)
    yield (
        "cards/index.md",
        "# Model cards\n\nOne for each recipe: what it is for, the data, weights and their licence, score, false "
        "alarms, time and memory, and where it fails. What was not measured says so.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n",
    )


def _row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _overview(row: dict[str, str], facts: dict[str, Any], name: str = "") -> str:
    training, score = facts.get("training", {}), facts.get("score")
    first = name or f"[`{row['recipe']}`](../reference/generated/cards/{row['recipe']}.md)"
    return _row(
        (first, facts.get("for", "-"), _score(score) if score else "-", facts.get("needs", "-"), _weights(row),
         parameters(row["recipe"]), "none" if name else training.get("clips", "-"), training.get("memory", "-"))
    )  # fmt: skip


def _weights(row: dict[str, str]) -> str:
    names = ", ".join(f"`{name}`" for name in row["weights"].split(", "))
    return "none" if row["weights"] == "-" else f"{names}, {row['licence']}"


def _score(score: dict[str, str]) -> str:
    return f"{score['value']} ± {score['deviation']}" if "deviation" in score else score["value"]


@functools.cache
def parameters(recipe: str) -> str:
    """Of its encoder, counted without weights."""
    spec = _without_weights(configs.read(recipe)["model"]["encoder"])
    with sizes_alone():
        encoder = configured({"class_path": spec} if isinstance(spec, str) else spec, Encoder)  # type: ignore[type-abstract]
    return f"{sum(one.numel() for one in encoder.parameters()) / 1e6:.2f} M"


def _without_weights(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: None if key == "weights" else _without_weights(one) for key, one in part.items()}
    return [_without_weights(one) for one in part] if isinstance(part, list) else part


def _card(row: dict[str, str], facts: dict[str, Any], sets: dict[str, str]) -> str:
    name, config = row["recipe"], configs.read(row["recipe"])
    fetch = [] if row["weights"] == "-" else [f"asd weights fetch {one}" for one in row["weights"].split(", ")]
    root = "" if row["data"] == "Synthetic" else " --data.root ROOT"
    commands = "\n".join([*fetch, f"asd fit --config {name}{root}"])
    on = facts.get("on", [])
    parts = [
        f"# {name}",
        f"{row['what']}. For: {facts.get('for', '-')}. Needs: {facts.get('needs', '-')}.",
        f"```bash\n{commands}\n```",
        "## The system",
        _table(_system(row, config)),
        "## Data",
        f"Trained on the normal sound that `{row['data']}` finds. "
        + ("Measured on:" if on else f"Its score was {NOT}."),
        "\n".join(f"- {one}: {sets[one]}" for one in on),
        "## Measured",
        _figures(facts),
    ]
    if own := facts.get("frozen"):
        parts += [
            "## Frozen",
            f"For: {own['for']}. Needs: {own['needs']}.",
            _figures(own),
        ]
    parts += [
        "## Limits of use",
        "\n".join(f"- {one}" for one in [*facts.get("limits", []), _ALL]),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _system(row: dict[str, str], config: dict[str, Any]) -> dict[str, str]:
    model, trainer = config["model"], config.get("trainer", {})
    return {
        "encoder": row["encoder"],
        "parameters of the encoder": parameters(row["recipe"]),
        "weights, licence": _weights(row),
        "loss": _class(model.get("head")),
        "back end": _class(model.get("scorer")),
        "limits": _class(model.get("threshold")),
        "clips": f"{_of(config['data'], 'seconds')} s, {_of(config['data'], 'batch_size')} a batch",
        "epochs": str(trainer.get("max_epochs")),
        "all settings": f"`asd configs show {row['recipe']}`",
    }


def _class(part: Any) -> str:
    found = part.get("class_path") if isinstance(part, dict) else part
    return str(found).rpartition(".")[2] if found else "the usual one"


def _of(part: Any, key: str) -> str:
    return str(part.get("init_args", {}).get(key)) if isinstance(part, dict) else "-"


def _figures(facts: dict[str, Any]) -> str:
    training, scoring = facts.get("training", {}), facts.get("scoring")
    of = f" ({training['of']})" if "of" in training else ""
    speed = f"{training['clips']} clips/s{of}" if "clips" in training else training.get("value", NOT) + of
    rows = {
        "score": f"{_score(facts['score'])}: {facts['score']['of']}" if "score" in facts else NOT,
        **{one["what"]: one["value"] for one in facts.get("others", [])},
        "time of training": speed,
        "memory in training": f"{training['memory']} GB" if "memory" in training else NOT,
        "time of scoring, a file of 10 s": f"{scoring['value']} ms" if scoring else NOT,
    }
    verdicts = facts.get("verdicts", [])
    heads = ("limits", "promised", "observed, as in training", "observed, other day or place", "faults found")
    told = [_row(heads), _row(["---"] + ["---:"] * 4)]
    told += [_row([one[key] for key in ("limits", "promised", "same", "other", "found")]) for one in verdicts]
    alarms = "False alarms in percent of the normal clips:\n\n" + "\n".join(told)
    sections = dict.fromkeys(one["section"] for one in _entries(facts))
    where = f"From `tests/benchmarks/RESULTS.md`: {', '.join(sections)}." if sections else ""
    shown = [_table(rows), alarms if verdicts else f"False alarms, promised and observed: {NOT}.", where]
    return "\n\n".join(filter(None, shown))


def _entries(facts: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Each of what was measured, with its section."""
    for value in facts.values():
        several = value if isinstance(value, list) else [value]
        yield from (one for one in several if isinstance(one, dict) and "section" in one)


def _table(rows: dict[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])
