"""What loggers get beside the metrics: the configuration, tables of scores, and pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from asd.evaluation import ClipScore, SectionMetrics


def wandb_run(loggers: Iterable[Logger]) -> str | None:
    """By which id wandb knows the run."""
    return next((one.version for one in loggers if isinstance(one, WandbLogger)), None)


def log_config(loggers: Iterable[Logger], config: Mapping[str, Any]) -> None:
    """Give the configuration of a run to the loggers that show one."""
    for one in loggers:
        if isinstance(one, WandbLogger):
            one.log_hyperparams(dict(config))
        elif isinstance(one, TensorBoardLogger):
            one.experiment.add_text("config", _verbatim(yaml.safe_dump(dict(config), sort_keys=False)))


def log_test(
    loggers: Iterable[Logger],
    scores: Sequence[ClipScore],
    metrics: Mapping[str, SectionMetrics],
    table: str,
    pictures: Sequence[Path],
) -> None:
    """Give what a test gave to the loggers that show tables and pictures.

    Args:
        loggers: Of the run.
        scores: Of the test clips.
        metrics: Of each machine and section.
        table: The same as it is printed.
        pictures: PNG files.
    """
    for one in loggers:
        if isinstance(one, WandbLogger):
            columns = [field.name for field in dataclasses.fields(ClipScore)]
            one.log_table("test/scores", columns, [[getattr(score, name) for name in columns] for score in scores])
            rows = [{"machine": machine, **of.parts} for machine, of in metrics.items()]
            if rows:
                one.log_table("test/machines", list(rows[0]), [list(row.values()) for row in rows])
            for path in pictures:
                one.log_image(f"test/{path.stem}", [str(path)])
        elif isinstance(one, TensorBoardLogger):
            from matplotlib.image import imread

            one.experiment.add_text("test", _verbatim(table))
            for path in pictures:
                one.experiment.add_image(f"test/{path.stem}", imread(path), dataformats="HWC")


def _verbatim(text: str) -> str:
    """As Markdown that keeps its columns."""
    return "".join(f"    {line}\n" for line in text.splitlines())
