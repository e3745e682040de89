"""A run is named as is said, whatever loggers stand beside its own."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from asd.cli.training import run_trainer

COMMON = ("fit", "--config", "quickstart", "--config", "logger/tensorboard", "--config", "logger/wandb")


def loggers(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    """What the run would log to."""
    with pytest.raises(SystemExit) as ended:
        run_trainer([*COMMON, *arguments, "--print_config"])
    assert ended.value.code == 0
    found: list[dict[str, Any]] = yaml.safe_load(capsys.readouterr().out)["trainer"]["logger"]
    return found


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--trainer.logger.name", "2026"], {"name": "2026", "save_dir": "runs"}),
        (
            ["--trainer.logger.init_args.name=pump", "--trainer.logger.save_dir=out"],
            {"name": "pump", "save_dir": "out"},
        ),
        (["--trainer.logger.version", "7"], {"version": 7}),
        (["--trainer.logger.version", "first", "--trainer.logger.version", "second"], {"version": "second"}),
    ],
)
def test_options_of_the_logger_are_those_of_the_run_s_own(
    arguments: list[str], expected: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    own, board, wandb = loggers(capsys, *arguments)
    assert expected.items() <= own["init_args"].items()
    assert board["init_args"]["name"] == "tensorboard"
    assert (wandb["init_args"]["name"], wandb["init_args"]["version"]) == (None, None)
