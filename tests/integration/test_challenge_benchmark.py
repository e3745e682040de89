"""The benchmark on the challenge's own data: seldom run, and by hours, so that it must be right before."""

from __future__ import annotations

import argparse
import dataclasses
import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from asd.data.synthesis.dataset import synthesize
from asd.errors import UserError
from asd.evaluation import embedding_store
from asd.evaluation.embedding_store import Store, Stored, StoredClip
from asd.evaluation.metrics import Rule
from asd.run_folder import RunFolder
from tests.benchmarks import challenge
from tests.forked import Forked

MACHINES = {"dev_data": ["fan"], "eval_data": ["valve"]}


def stored(folder: Path, dev: float, test: float | None) -> None:
    """What is measured of a run, each row a point above the one before."""
    known = {
        row: {"dev_data": dev + at, **({} if test is None else {"eval_data": test + at})}
        for at, row in enumerate(challenge.LADDER)
    }
    folder.mkdir(parents=True)
    (folder / "known.json").write_text(json.dumps(known))


def row(shown: str, system: str, name: str) -> list[str]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown.splitlines()]
    return next(cells for cells in lines if cells[:2] == [system, name])


def test_the_table_is_that_of_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def known(system: str, seed: int, given: argparse.Namespace, arguments: list[str]) -> challenge.Scores:
        found: challenge.Scores = json.loads((given.out / f"{system.replace(', ', '_')}_{seed}/known.json").read_text())
        return found

    monkeypatch.setattr(challenge, "scores", known)
    stored(tmp_path / "2026_tiny/BEATs_frozen_1", 50.0, None)
    stored(tmp_path / "2025_tiny/BEATs_frozen_1", 99.0, 99.0)
    for seed, dev in enumerate((60.0, 61.0, 65.0), 1):
        stored(tmp_path / f"2026_tiny/BEATs_tuned_{seed}", dev, dev + 2)
    options = ["--root", str(tmp_path), "--tiny", "--systems", "BEATs, frozen", "BEATs, tuned"]
    challenge.main(["2026", *options, "--out", str(tmp_path)])
    shown = capsys.readouterr().out
    assert shown.startswith("Small random encoders: ")
    assert row(shown, "BEATs, frozen", "global mean") == [
        "BEATs, frozen", "global mean", "1", "50.00", "57.16", "-"
    ]  # fmt: skip
    assert row(shown, "BEATs, frozen", "RDP 8, BEAM, VarMin")[3:5] == ["54.00", "62.02"]
    assert row(shown, "BEATs, tuned", "bands")[2:] == ["3", "63.00 ± 2.65", "", "65.00 ± 2.65"]
    assert "| BEATs tuned with LoRA, both channels (kasahart) | 69.53 | 70.66 |" in shown
    assert "| challenge, first place | - | 70.24 |" in shown


@pytest.mark.parametrize("year", challenge.YEARS)
def test_every_year_has_figures_beside(year: int) -> None:
    assert Rule.of_year(year) == Rule.ACROSS_2022
    shown = challenge.lines(year, {})
    assert len(shown) > 5
    assert {place for known in challenge.ROWS.values() for place in known} <= {
        (system, name) for system in challenge.SYSTEMS for name in challenge.LADDER
    }


def test_what_it_runs_can_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parse: Any) -> None:
    commands: list[list[str]] = []

    def run(*arguments: object) -> int:
        command = list(map(str, arguments))
        commands.append(command)
        if command[0] == "fit":
            folder = tmp_path / command[command.index("--trainer.logger.name") + 1] / "version_0"
            RunFolder(folder).results.parent.mkdir(parents=True)
            RunFolder(folder).results.write_text("{}")
        if command[-1] == "[bands/mean]":
            folder = RunFolder(Path(command[command.index("--outputs.folder") + 1])).embeddings
            folder.mkdir(parents=True)
            for name, part in zip(embedding_store.SUBSETS, (hidden.reference, hidden.query), strict=True):
                embedding_store.write(folder / f"{name}.safetensors", part)
        return 0

    hidden = made(labels=True)
    monkeypatch.setattr(challenge, "asd", run)
    arguments = ["--data.root", str(tmp_path)]
    for system, (recipe, _) in challenge.SYSTEMS.items():
        challenge.embedded(system, 2, tmp_path, [*challenge.tiny(tmp_path, recipe), *arguments])
    wanted = [["fit", "predict"] if tuned else ["predict"] for _, tuned in challenge.SYSTEMS.values()]
    # The recipe by LoRA has clusters of the frozen encoder's bands first, in the place of attributes that are hidden.
    at = list(challenge.SYSTEMS).index("BEATs, LoRA")
    wanted[at] = ["predict", "data", *wanted[at]]
    assert [command[0] for command in commands] == list(chain.from_iterable(wanted))
    labels = str(tmp_path / "labels.csv")
    for command in commands:
        if "--ckpt_path" in command:
            assert Path(command[2]).parent.parent.name == "version_0"
        elif command[0] == "data":
            assert command[1:] == [
                "pseudo-label", str(tmp_path / "BEATs_LoRA_frozen"), "--what", "bands/mean", "--clusters", "0.008",
                "--out", labels,
            ]  # fmt: skip
        else:
            found = parse(command)
            frozen = command[-1] == "[bands/mean]"
            assert found.seed_everything == 2 or frozen
            if command[0] == "predict":
                assert list(found.outputs.also) == (["bands/mean"] if frozen else challenge.ALSO)
            by_lora = command[0] == "fit" and "recipe/beats_lora" in command
            assert found.data.init_args.get("labels") == (labels if by_lora else None)
    done = len(commands)
    RunFolder(tmp_path / "CNN_2/version_0").embeddings.mkdir()
    (RunFolder(tmp_path / "CNN_2/version_0").embeddings / "query.safetensors").touch()
    assert challenge.embedded("CNN", 2, tmp_path, arguments) == tmp_path / "CNN_2/version_0"
    assert len(commands) == done, "a store that is there is not made again"


def test_a_system_without_weights_is_left_out_and_the_others_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def run(*arguments: object) -> int:
        asked.append(" ".join(map(str, arguments)))
        return 2 if arguments[-1] == "beats_iter3_as2m" else 0

    def known(system: str, seed: int, given: argparse.Namespace, arguments: list[str]) -> challenge.Scores:
        assert arguments[-2:] == ["--trainer.precision", "32"]
        return {row: {"dev_data": 60.0} for row in challenge.LADDER}

    monkeypatch.setattr(challenge, "asd", run)
    monkeypatch.setattr(challenge, "scores", known)
    command = ["2026", "--root", str(tmp_path), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        challenge.main([*command, "--", "--trainer.precision", "32"])
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert asked == [f"weights fetch {name}" for name in challenge.WEIGHTS.values()]
    assert "left out, for want of weights: BEATs, LoRA" in shown.err
    measured = {line.split(" | ")[0].strip("| ") for line in shown.out.splitlines() if " | global mean | " in line}
    assert measured == set(challenge.SYSTEMS) - {"BEATs, LoRA"}
    with pytest.raises(SystemExit) as ended:
        challenge.main([*command, "--systems", "CNN"])
    assert ended.value.code == 2
    assert "has runs of other data or arguments, see made_of.json; give another --out" in capsys.readouterr().err


def test_the_program_has_the_last_word(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        challenge.must("configs", "show", "none")
    assert ended.value.code == 2
    assert "asd: error: " in capfd.readouterr().err


def made(labels: bool) -> Store:
    """A machine of each subset, of which the second is heard by the vector with bands alone."""
    generator = torch.Generator().manual_seed(2)
    parts = []
    for query in (False, True):
        clips, rows, bands = [], [], []
        for machine in ("fan", "valve"):
            for number in range(24):
                domain, anomaly = "source" if number % 2 else "target", query and number >= 12
                known = (
                    (domain, "anomaly" if anomaly else "normal")
                    if labels or not query or machine == "fan"
                    else (None, None)
                )
                clips.append(StoredClip(f"{number}.wav", machine, "00", *known, "", ""))
                noise = 0.1 * torch.randn(8, generator=generator)
                rows.append(torch.eye(8)[0] + noise - 2.0 * torch.eye(8)[0] * (anomaly and machine == "fan"))
                bands.append(torch.eye(8)[0] + noise - 2.0 * torch.eye(8)[0] * anomaly)
        others = {name: (torch.stack(bands), 2) for name in challenge.ALSO if name != "tokens"}
        parts.append(Stored(torch.stack(rows), tuple(clips), "a", 10.0, "tokens", 1, others))
    return Store(*parts)


def test_each_row_is_of_its_vector_and_each_subset_of_its_machines(tmp_path: Path) -> None:
    found = challenge.measured(made(labels=True), MACHINES)
    assert {name for name, row in found.items() if row["dev_data"] > 99} == set(challenge.LADDER)
    heard = {name for name, row in found.items() if row["eval_data"] > 99}
    assert heard == set(challenge.LADDER) - {"global mean", challenge.OWN}
    blind = made(labels=False)
    assert set(challenge.measured(blind, MACHINES)["bands"]) == {"dev_data"}
    truth = tmp_path / "truth.csv"
    names = [(clip, made_so) for clip, made_so in zip(blind.query.clips, made(True).query.clips, strict=True)]
    listed = [
        f"{clip.name},section_00_{so.domain}_test_{so.condition}_{at:04d}.wav"
        for at, (clip, so) in enumerate(names)
        if clip.machine == "valve"
    ]
    truth.write_text("\n".join(["valve", *listed]))
    assert challenge.measured(blind, MACHINES, truth) == found
    other = dataclasses.replace(blind.query, clips=tuple(dataclasses.replace(c, name=c.name[1:]) for c, _ in names))
    with pytest.raises(UserError, match=r"valve against .*truth\.csv"):
        challenge.measured(Store(blind.reference, other), MACHINES, truth)


def test_frozen_and_trained_systems_run_to_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for subset, machine in (("dev_data", "fan"), ("eval_data", "valve")):
        synthesize(
            tmp_path / "data", [machine], seconds=1.0, subset=subset, train_source=12, train_target=3, test=4,
            supplemental=4,
        )  # fmt: skip
    ran: list[str] = []

    def program(*arguments: object) -> int:
        ran.append(str(arguments[0]))
        return Forked(*arguments, cwd=tmp_path).ended().returncode

    monkeypatch.setattr(challenge, "asd", program)
    options = ["--root", str(tmp_path / "data"), "--tiny", "--seeds", "1", "--systems", "BEATs, frozen", "CNN"]
    challenge.main(["2025", *options, "--out", str(tmp_path)])
    shown = capsys.readouterr().out
    assert ran == ["predict", "fit", "predict"]
    for system in ("BEATs, frozen", "CNN"):
        for name in challenge.LADDER:
            dev, test = (float(row(shown, system, name)[at]) for at in (3, 5))
            assert 0 < dev < 100 and 0 < test < 100
    challenge.main(["2025", *options, "--out", str(tmp_path)])
    assert (capsys.readouterr().out, len(ran)) == (shown, 3)
