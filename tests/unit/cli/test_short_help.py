"""The short help of the trainer's commands tells of options that there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asd import cli
from asd.cli.search import asks_for_search
from asd.cli.short_help import OPTIONS
from asd.cli.training import run_trainer

VALUES = {
    "--config": "quickstart", "--ckpt_path": None, "--data": "Recordings", "--data.root": "plant",
    "--data.machines": "[fan]", "--model.encoder": "MobileNet", "--model.scorer": "NeighboursScorer",
    "--trainer.logger.name": "mine", "--false-alarms": "1/day", "--outputs.pictures": "false",
    "--trainer.precision": "32", "--out": "there", "--outputs.also": "[pooled]", "--data.calibration": "0.1",
    "--model.optimizer.lr": "1e-4",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:no checkpoint is given")
@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_of_it_is_one(command: str, monkeypatch: pytest.MonkeyPatch, parse: Callable[..., Any]) -> None:
    options = [option.split()[0] for option, _ in OPTIONS[command]]
    words = [word for option in options if not asks_for_search([option]) for word in given(option)]
    understood: list[Any] = []
    monkeypatch.setattr("asd.cli.training.training_cli", lambda plain: understood.append(parse(plain)))
    assert run_trainer([command, *words]) == 0
    (config,) = understood
    assert config.data.init_args.root == Path("plant")
    if "--false-alarms" in words:
        assert config.model.threshold.init_args.false_alarms == "1/day"


def given(option: str) -> list[str]:
    value = VALUES.get(option, "2")
    return [] if value is None else [option, value]


@pytest.mark.parametrize("command", cli.TRAINER_COMMANDS)
def test_it_is_one_screen(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--config", "quickstart", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"usage: asd {command} [OPTIONS]"
    assert len(lines) < 32
    assert max(map(len, lines)) <= 112


def test_all_options_are_shown_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["fit", "--help-all"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "--trainer.gradient_clip_val" in shown
    for option, _ in OPTIONS["fit"]:
        assert option.split()[0].split(".")[0] in shown or option.startswith(("--false-alarms", "--search"))


def test_a_class_tells_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["fit", "--model.encoder.help", "DualBranchCNN"])
    assert stop.value.code == 0
    assert "spectrum_points" in capsys.readouterr().out
