"""The main job: fit, test, and a checkpoint that is enough by itself."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from asd.evaluation import calibration
from asd.training.restore import restore

SMALL = [
    "--trainer.max_epochs=2", "--trainer.accelerator=cpu",
    "--data.init_args.machines=null", "--data.init_args.seconds=1",
    "--data.init_args.batch_size=8", "--model.encoder.init_args.seconds=1", "--model.encoder.init_args.width=4",
]  # fmt: skip
DRAWN_NO_MORE = "--outputs.pictures=false"


def run_folder(output: str) -> Path:
    return Path(output.strip().splitlines()[-1])


def scores(folder: Path) -> dict[str, list[tuple[str, str]]]:
    return {
        path.name: [tuple(row) for row in csv.reader(path.open())] for path in sorted((folder / "scores").glob("*.csv"))
    }


def table(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith(("bearing", "fan", "official"))]


@pytest.fixture(scope="module")
def fitted(asd, synthetic: Path, tmp_path_factory: pytest.TempPathFactory):
    """A finished run: its working folder, its run folder and what it printed."""
    cwd = tmp_path_factory.mktemp("run")
    data = cwd / "data"
    shutil.copytree(synthetic, data)
    config = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
    done = asd(
        "fit", "--config", config, "--data", "ToyADMOS2", "--data.init_args.root", data, *SMALL, cwd=cwd
    )  # fmt: skip
    (cwd / "said").write_text(done.stderr)
    return cwd, cwd / run_folder(done.stdout), done.stdout


def test_it_says_first_what_it_does_and_nothing_of_its_inner_life(fitted) -> None:
    cwd, folder, _ = fitted
    said = (cwd / "said").read_text()
    lines = [line for line in said.splitlines() if not line.startswith("asd: warning")]
    opening = (
        r"trains DualBranchCNN \([\d.]+ M parameters\) on cpu for 2 epochs of \d+ clips of 2 machines; results are in "
    )
    assert re.fullmatch(opening + re.escape(str(folder.relative_to(cwd))), lines[0])
    for noise in ("FLOPs", "Seed set", "GPU available", "TPU", "rank:", "train_dataloader", "max_epochs"):
        assert noise not in said


def test_a_run_leaves_all_that_is_promised(fitted) -> None:
    _, folder, output = fitted
    for name in ("config.yaml", "metrics.csv", "results.json", "checkpoints/last.ckpt"):
        assert (folder / name).is_file(), name
    drawn = {p.stem for p in (folder / "pictures").glob("*.png")}
    assert drawn == {
        "score_histograms", "roc_curves", "det_curves", "embeddings_condition", "embeddings_attributes", "centres",
    }  # fmt: skip
    known = calibration.read(folder)
    content = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    for number, name in enumerate(sorted(known.machines)):
        own = known.machines[name]
        assert own.threshold == pytest.approx(float(content["sections.thresholds"][number]))
        assert (len(own.source), len(own.target)) == (3, 1), "of 12 and 3 clips, those kept for calibration"
    assert "false alarms promised" in output
    for machine in ("fan", "bearing"):
        assert len(scores(folder)[f"anomaly_score_{machine}_section_00_test.csv"]) == 16
        decisions = scores(folder)[f"decision_result_{machine}_section_00_test.csv"]
        assert {value for _, value in decisions} <= {"0", "1"}
        assert machine in output
    official = json.loads((folder / "results.json").read_text())["official_score"]
    assert f"{100 * official:.2f}" in output


def test_a_checkpoint_alone_gives_the_same_table_without_training_clips(fitted, here) -> None:
    cwd, folder, output = fitted
    before, runs = scores(folder), sorted(folder.parent.iterdir())
    train = cwd / "data/dev_data/raw/fan/train"
    train.rename(cwd / "away")
    try:
        again = here("test", "--ckpt_path", folder / "checkpoints/last.ckpt", DRAWN_NO_MORE, cwd=cwd)
    finally:
        (cwd / "away").rename(train)
    assert table(again.stdout) == table(output)
    assert cwd / run_folder(again.stdout) == folder, "results lie where the run is"
    assert sorted(folder.parent.iterdir()) == runs
    assert scores(folder) == before


def test_embeddings_of_a_checkpoint_score_as_the_checkpoint_does(fitted, here) -> None:
    """`asd predict`, then `asd rescore` with the scorer of the run: the same score files, without audio."""
    cwd, folder, _ = fitted
    done = here("predict", "--ckpt_path", folder / "checkpoints/last.ckpt", cwd=cwd)
    assert cwd / run_folder(done.stdout) == folder / "embeddings"
    assert "embeddings of 30 reference clips and 32 query clips" in done.stdout
    for store in (folder, folder / "embeddings"):
        done = here("rescore", store, "--scorer", "KMeansScorer", "--no-pictures", cwd=cwd)
        assert run_folder(done.stdout) == folder / "rescored"
    again = scores(folder / "rescored")
    for file, rows in scores(folder).items():
        assert [name for name, _ in again[file]] == [name for name, _ in rows]
        assert [float(v) for _, v in again[file]] == pytest.approx([float(v) for _, v in rows], rel=1e-4, abs=1e-6)


def test_a_run_is_restored_and_submitted(fitted, here) -> None:
    cwd, folder, _ = fitted
    detector, config = restore(folder / "checkpoints/last.ckpt")
    assert detector.fitted
    assert not detector.training
    assert float(config["data"]["init_args"]["seconds"]) == 1.0
    (cwd / "facts.yaml").write_text("{name: A system, abbreviation: sys, authors: [{lastname: Surname}]}")
    label = "Surname_Institute_task2_1"
    done = here("submit", "write", folder, "--label", label, "--facts", "facts.yaml", "--out", "submission", cwd=cwd)
    meta = yaml.safe_load((cwd / "submission" / label / "meta.yaml").read_text())
    assert f"{meta['system']['complexity']['total_parameters']:,} parameters" in done.stdout
    assert meta["system"]["complexity"]["MACS"] > 1_000_000
    assert set(meta["results"]["development_dataset"]) == {"fan", "bearing"}
    assert "nothing found" in here("submit", "check", cwd / "submission" / label, cwd=cwd).stdout


def test_the_saved_config_runs_again(fitted, here) -> None:
    cwd, folder, output = fitted
    config = folder / "config.yaml"
    before = config.stat().st_mtime_ns
    checkpoint = folder / "checkpoints/last.ckpt"
    again = here("test", "--config", config, "--ckpt_path", checkpoint, DRAWN_NO_MORE, cwd=cwd)
    assert table(again.stdout) == table(output)
    assert config.stat().st_mtime_ns == before


def test_names_of_test_clips_never_reach_the_scorer(fitted, here) -> None:
    """Labelled names give the answer away: renamed as in an evaluation set, the scores must be the same."""
    cwd, folder, _ = fitted
    renamed = cwd / "renamed"
    shutil.copytree(cwd / "data", renamed)
    names: dict[str, dict[str, str]] = {}
    for machine in ("fan", "bearing"):
        test = renamed / "dev_data/raw" / machine / "test"
        names[machine] = {}
        # In another order too, so that position says nothing either.
        for number, path in enumerate(sorted(test.iterdir(), key=lambda p: p.name[::-1])):
            names[machine][f"section_00_{number:04d}.wav"] = path.name
            path.rename(test / f"section_00_{number:04d}.wav")
        (renamed / "dev_data/raw" / machine / "attributes_00.csv").unlink()
    again = here(
        "test", "--ckpt_path", folder / "checkpoints/last.ckpt", "--data.init_args.root", renamed,
        DRAWN_NO_MORE, "--out", cwd / "renamed scores", cwd=cwd,
    )  # fmt: skip
    assert "nothing is measured" in again.stdout
    assert run_folder(again.stdout) == cwd / "renamed scores"
    found = scores(cwd / "renamed scores")
    for file, rows in scores(folder).items():
        machine = file.split("_")[2]
        back = {names[machine][name]: value for name, value in found[file]}
        assert {name: float(v) for name, v in rows} == pytest.approx({n: float(v) for n, v in back.items()}, rel=1e-5)


def test_another_scorer_at_test_is_fitted_anew(fitted, here) -> None:
    cwd, folder, _ = fitted
    again = here(
        "test",
        "--ckpt_path",
        folder / "checkpoints/last.ckpt",
        "--model.scorer",
        "KMeansScorer",
        "--model.scorer.k=1",
        DRAWN_NO_MORE,
        "--out=elsewhere",
        cwd=cwd,
    )
    assert run_folder(again.stdout) == Path("elsewhere")
    assert scores(cwd / "elsewhere") != scores(folder)


def test_the_checkpoint_holds_no_code(fitted) -> None:
    _, folder, _ = fitted
    content = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert content["asd"]["sections"] == ["bearing_section_00", "fan_section_00"]
    assert content["asd"]["classes"] == sorted(content["asd"]["classes"])


def test_training_on_other_classes_is_refused(fitted, here, tmp_path: Path) -> None:
    cwd, folder, _ = fitted
    done = here(
        "fit", "--ckpt_path", folder / "checkpoints/last.ckpt", "--data.init_args.machines=[fan]",
        "--trainer.max_epochs=3", cwd=cwd, expect=2,
    )  # fmt: skip
    assert "clean_class" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("asd: error:")
