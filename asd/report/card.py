"""The model card of a run: a page of Markdown to keep beside a checkpoint that is given away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from asd.encoders.weights_cache import cards
from asd.errors import UserError
from asd.evaluation.tables import Table
from asd.report import sections, verdicts
from asd.report.gather import Run, gather
from asd.report.html import Block, Scores
from asd.run_folder import RunFolder
from asd.utils.files import replace_text

_UNKNOWN = "not known"
_LIMITS = (
    "It names no fault and tells no remaining life.",
    "It hears what differs from the normal sound that it was trained on, also where that is harmless: another "
    "microphone, a new product, a neighbour. What was not tested here is not known.",
    "What is promised follows from the clips kept aside; another day or place may differ until it is calibrated there.",
)


def write_card(folder: Path, out: Path | None = None) -> Path:
    """Write the model card of a run.

    Args:
        folder: The run.
        out: The file; ``None``: ``model_card.md`` in the run.

    Raises:
        UserError: No run, a file of it that cannot be understood, or a place that cannot be written.
    """
    place = RunFolder(folder).card if out is None else out
    text = _text(gather(folder))
    try:
        replace_text(place, text)
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror or error}; choose another file with --out") from error
    return place


def _text(run: Run) -> str:
    own = run.environment
    seconds = own.get("trained_seconds")
    facts = {
        "version": f"asd {own.get('asd', _UNKNOWN)}",
        "weights that it began with": ", ".join(_weights(run.config.get("model", {}).get("encoder"))) or "none: random",
        "training": _UNKNOWN if seconds is None else f"{seconds:,.0f} s on {own.get('device')}",
        "score": "" if run.labelled else "not measured: no test clip has a known label",
    }
    parts = [
        f"# {RunFolder(run.folder).title}",
        *_shown(sections.headline(run)),
        "\n".join(f"- {name}: {text}" for name, text in facts.items() if text),
        "## False alarms and misses",
        *_shown(verdicts.section(run)),
        "## Ranking",
        *_shown(sections.ranking(run)),
        "## Limits of use",
        "\n".join(f"- {one}" for one in _LIMITS),
    ]
    return "\n\n".join(parts) + "\n"


def _shown(blocks: Sequence[Block]) -> Iterator[str]:
    for one in blocks:
        if isinstance(one, Scores):
            yield "\n".join(f"- **{score.score}** {score.text}" for score in one.values)
        elif isinstance(one, Table):
            yield one.render("markdown")
        else:
            yield str(one)


def _weights(encoder: Any) -> Iterator[str]:
    """Every file of weights that a configuration names, with its licence."""
    if isinstance(encoder, dict):
        for name, one in encoder.items():
            if name == "weights" and isinstance(one, str):
                card = cards().get(one)
                yield f"{one} ({f'licence of its own, {_UNKNOWN} here' if card is None else card.licence})"
            else:
                yield from _weights(one)
    elif isinstance(encoder, list):
        for one in encoder:
            yield from _weights(one)
