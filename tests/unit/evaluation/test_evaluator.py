"""`asd evaluate`: joining on names, what is missing, doubled or unknown, and how it is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from asd.cli import main
from asd.errors import UserError
from asd.evaluation import calibration
from asd.evaluation.evaluator import evaluate

KINDS = [(domain, condition) for domain in ("source", "target") for condition in ("normal", "anomaly")]
LABELLED = [
    f"section_00_{domain}_test_{condition}_{number:04d}_spd_1.wav" for domain, condition in KINDS for number in range(8)
]
# The plain names are dealt in another order than the labelled names sort in.
PLAIN = {f"section_00_{number:04d}.wav": LABELLED[(7 * number) % 32] for number in range(32)}


def score(labelled: str, noise: float = 0.0) -> float:
    generator = np.random.default_rng(LABELLED.index(labelled))
    return float(generator.normal()) + 1.2 * ("anomaly" in labelled) + noise * float(generator.normal())


def write_machine(
    folder: Path, machine: str, plain: bool, decisions: bool = False, noise: float = 0.0, left_out: int = 0
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    values = {name: score(labelled, noise) for name, labelled in PLAIN.items()}
    named = values if plain else {PLAIN[name]: value for name, value in values.items()}
    named = dict(list(named.items())[left_out:])
    ending = f"{machine}_section_00_test.csv"
    (folder / f"anomaly_score_{ending}").write_text("".join(f"{name},{value}\n" for name, value in named.items()))
    if decisions:
        lines = [f"{name},{int(value > 0.6)}\n" for name, value in named.items()]
        (folder / f"decision_result_{ending}").write_text("".join(lines))


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "list.csv"
    path.write_text("fan\n" + "".join(f"{name},{labelled}\n" for name, labelled in PLAIN.items()))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "scores"


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["evaluate", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_plain_names_with_a_list_give_what_labelled_names_give(folder: Path, tmp_path: Path, truth: Path) -> None:
    write_machine(folder, "fan", plain=True, decisions=True)
    write_machine(tmp_path / "labelled", "fan", plain=False, decisions=True)
    # As text, because what is not measured is nan.
    labelled = str(evaluate(tmp_path / "labelled").results)
    assert str(evaluate(folder, truth).results) == labelled
    assert str(evaluate(tmp_path / "labelled", truth).results) == labelled
    assert evaluate(folder, truth).results["fan"].auc_source > 0.6


def test_the_folder_of_a_run_holds_its_scores(folder: Path, tmp_path: Path) -> None:
    write_machine(folder, "fan", plain=False)
    (tmp_path / "metrics.csv").write_text("epoch,loss\n0,1.0\n")
    assert str(evaluate(tmp_path).results) == str(evaluate(folder).results)


def test_names_without_labels_ask_for_the_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_machine(folder, "fan", plain=True)
    error = refused(capsys, folder)
    assert "fan has 32 clips (section_00_0000.wav, section_00_0001.wav, section_00_0002.wav, ...)" in error
    assert "--truth" in error


def test_some_names_without_labels_are_refused(folder: Path) -> None:
    write_machine(folder, "fan", plain=False)
    with (folder / "anomaly_score_fan_section_00_test.csv").open("a") as file:
        file.write("section_00_0099.wav,1.0\n")
    with pytest.raises(UserError, match=r"fan has 1 clip \(section_00_0099.wav\)"):
        evaluate(folder)


def test_machines_without_labels_beside_others_are_left_out_aloud(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_machine(folder, "fan", plain=True)
    write_machine(folder, "valve", plain=False)
    assert main(["evaluate", str(folder), "--json"]) == 0
    captured = capsys.readouterr()
    assert set(json.loads(captured.out)["machines"]) == {"valve"}
    assert "asd: warning: the clips' names of fan carry no labels: not measured" in captured.err


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("section_00_0003.wav", "section_00_0303.wav", ["_0303.wav) unknown", "_0003.wav) missing"]),
        ("section_00_0003.wav", PLAIN["section_00_0004.wav"], ["1 clip (section_00_0004.wav) doubled", "missing"]),
        ("section_00_0003.wav", "section_00_0004.wav", ["section_00_0004.wav is doubled"]),
        ("section_00_0003.wav", "section_00_source_test_normal_9999.wav", ["normal_9999.wav) unknown"]),
    ],
)  # fmt: skip
def test_clips_that_do_not_fit_the_list_are_named(
    old: str, new: str, shown: list[str], folder: Path, truth: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_machine(folder, "fan", plain=True)
    path = folder / "anomaly_score_fan_section_00_test.csv"
    path.write_text(path.read_text().replace(old, new))
    error = refused(capsys, folder, "--truth", truth)
    assert "fan" in error
    assert all(one in error for one in shown), error


def test_missing_clips_are_counted(folder: Path, truth: Path) -> None:
    write_machine(folder, "fan", plain=True, left_out=5)
    with pytest.raises(UserError, match=r"5 clips \(section_00_0000.wav, .*, \.\.\.\) missing"):
        evaluate(folder, truth)


def test_a_machine_that_the_list_lacks_is_named(folder: Path, truth: Path) -> None:
    write_machine(folder, "fan", plain=True)
    write_machine(folder, "valve", plain=True)
    with pytest.raises(UserError, match=r"valve not in .*list.csv"):
        evaluate(folder, truth)


def test_machines_without_a_file_are_named(folder: Path, truth: Path) -> None:
    write_machine(folder, "fan", plain=True)
    truth.write_text(truth.read_text() + "valve\nsection_00_0000.wav,section_00_source_test_normal_0000.wav\n")
    warnings = evaluate(folder, truth).warnings
    assert len(warnings) == 1
    assert "no score file for 1 of the 2 machines" in warnings[0]
    assert "valve" in warnings[0]


def test_the_list_of_2022_is_known_to_be_wrong(folder: Path, truth: Path) -> None:
    write_machine(folder, "fan", plain=True)
    warned = [line for line in evaluate(folder, truth).warnings if "wrong labels" in line]
    assert not warned
    listed = "ToyCar\nsection_03_0000.wav,section_03_source_test_normal_0000_car_A1.wav\n"
    truth.write_text(truth.read_text() + listed)
    assert any("608 clips of ToyCar and ToyTrain" in warning for warning in evaluate(folder, truth).warnings)


def test_decisions_are_measured_where_there_are_any(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_machine(folder, "fan", plain=False, decisions=True)
    write_machine(folder, "valve", plain=False)
    assert main(["evaluate", str(folder), "--json"]) == 0
    captured = capsys.readouterr()
    assert "no decision file for valve" in captured.err
    machines = json.loads(captured.out)["machines"]
    alarms = sum(score(name) > 0.6 for name in LABELLED if "target_test_normal" in name)
    assert machines["fan"]["decisions"]["target"]["false_alarm_rate"] == alarms / 8
    assert "decisions" not in machines["valve"]
    assert main(["evaluate", str(folder), "--no-decisions"]) == 0
    captured = capsys.readouterr()
    assert "false alarms" not in captured.out
    assert captured.err == ""


def test_formats(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_machine(folder, "fan_2", plain=False)
    parts = [f"{100 * value:.2f}" for value in evaluate(folder).results["fan_2"].parts.values()]
    shown = {}
    for style in ("table", "markdown", "latex"):
        assert main(["evaluate", str(folder), "--format", style]) == 0
        shown[style] = capsys.readouterr().out.splitlines()
    assert f"| fan_2 | {' | '.join(parts)} |" in shown["markdown"]
    assert f"fan\\_2 & {' & '.join(parts)} \\\\" in shown["latex"]
    assert ["fan_2", *parts] in [line.split() for line in shown["table"]]


def test_years(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_machine(folder, "fan", plain=False)
    for year, parts in ((2020, {"auc", "pauc"}), (2021, {"auc_source", "auc_target", "pauc_source", "pauc_target"})):
        assert main(["evaluate", str(folder), "--year", str(year), "--json"]) == 0
        assert set(json.loads(capsys.readouterr().out)["machines"]["fan"]) == parts
    assert "2019" in refused(capsys, folder, "--year", 2019)


def test_pictures_are_drawn_on_demand(folder: Path, tmp_path: Path) -> None:
    write_machine(folder, "fan", plain=False, decisions=True)
    assert main(["evaluate", str(folder), "--pictures", str(tmp_path / "drawn")]) == 0
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {
        "score_histograms.png",
        "roc_curves.png",
        "det_curves.png",
    }


def test_systems_on_other_clips_are_not_compared(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_machine(folder, "fan", plain=False)
    write_machine(tmp_path / "other", "fan", plain=False, left_out=2)
    assert "the two systems differ in 2 clips" in refused(capsys, folder, "--against", tmp_path / "other")
    assert "100" in refused(capsys, folder, "--bootstrap", 3)


def test_a_system_and_itself_cannot_be_told_apart(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_machine(folder, "fan", plain=False)
    write_machine(tmp_path / "other", "fan", plain=False, noise=1e-9)
    assert main(["evaluate", str(folder), "--against", str(tmp_path / "other"), "--bootstrap", "100"]) == 0
    out = capsys.readouterr().out
    assert "difference +0.00" in out
    assert "cannot be told apart" in out


def test_whole_recordings_are_drawn(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_machine(folder, "fan", plain=False)
    listed = tmp_path / "recordings.csv"
    listed.write_text("fan\n" + "".join(f"{name},{'_'.join(name.split('_')[:4])} one recording\n" for name in LABELLED))
    assert main(["evaluate", str(folder), "--groups", str(listed), "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    # One recording of each kind: there is nothing else to draw.
    assert whole["interval"]["low"] == pytest.approx(whole["official_score"])
    assert main(["evaluate", str(folder), "--bootstrap", "100", "--json"]) == 0
    apart = json.loads(capsys.readouterr().out)["interval"]
    assert apart["low"] < whole["official_score"] < apart["high"]


def test_neither_torch_nor_matplotlib_is_loaded() -> None:
    modules = "asd.evaluation.evaluator, asd.plots, asd.evaluation.bootstrap, asd.cli.evaluate"
    code = f"import {modules}, sys; print([name for name in ('torch', 'matplotlib') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_folders_of_different_machines_are_taken_together(folder: Path, tmp_path: Path, capsys) -> None:
    write_machine(folder, "fan", plain=False)
    write_machine(folder, "valve", plain=False, noise=1.0)
    write_machine(tmp_path / "one", "fan", plain=False)
    write_machine(tmp_path / "two", "valve", plain=False, noise=1.0)
    assert main(["evaluate", str(folder)]) == 0
    whole = capsys.readouterr().out
    assert main(["evaluate", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    assert capsys.readouterr().out == whole
    assert "fan, section 00, is in two of the folders" in refused(capsys, tmp_path / "one", folder)


def test_clips_in_the_band_of_abstention_are_not_measured(folder: Path, tmp_path: Path) -> None:
    write_machine(folder, "fan", plain=False, decisions=True)
    before = evaluate(folder).results["fan"]
    own = calibration.Calibration(0.6, 0.0, (0.1, 0.7), (0.2,))
    (folder / "calibration.json").write_text(
        calibration.to_text(calibration.Calibrations({"fan_section_00": own}, 10.0))
    )
    after = evaluate(folder).results["fan"]
    values = [score(name) for name in LABELLED if "source" in name]
    assert after.source.abstained == sum(0 < value <= 0.6 for value in values) / 16
    assert after.source.abstained > 0
    assert after.source.normal + after.source.anomalous == 16 - sum(0 < value <= 0.6 for value in values)
    assert after.parts == before.parts, "the scores are measured as ever"
