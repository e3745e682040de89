"""Submission folders, and what the organisers' evaluator would misread in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from asd_plugins.dual_branch import DualBranchCNN
from torch import Tensor, nn

from asd.encoders.base import Encoder
from asd.errors import UserError
from asd.evaluation import submission
from asd.training.complexity import count
from asd.training.module import AnomalyDetector
from asd.utils.pairs import write_pairs

LABEL = "Surname_Institute_task2_1"
FACTS = {"name": "A system", "abbreviation": "sys", "authors": [{"lastname": "Surname"}]}
NAMES = [f"section_00_{n:04d}.wav" for n in range(6)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "scores"
    folder.mkdir(parents=True)
    for machine in ("AutoTrash", "HomeCamera"):
        write_pairs(
            folder / f"anomaly_score_{machine}_section_00_test.csv", [(n, str(i / 7)) for i, n in enumerate(NAMES)]
        )
        write_pairs(
            folder / f"decision_result_{machine}_section_00_test.csv", [(n, str(i % 2)) for i, n in enumerate(NAMES)]
        )
    return tmp_path / "run"


@pytest.fixture
def home(run: Path, tmp_path: Path) -> Path:
    return submission.write(tmp_path / "submission", run, LABEL, FACTS, submission.Complexity(10, 20))


def test_a_submission_is_whole(home: Path) -> None:
    assert len(list(home.glob("*.csv"))) == 4
    meta = yaml.safe_load((home / "meta.yaml").read_text())
    assert meta["submission"]["label"] == home.name
    assert meta["system"]["complexity"] == {"total_parameters": 10, "MACS": 20}
    assert submission.check(home) == []
    assert submission.check(home, clips={"AutoTrash": NAMES, "HomeCamera": NAMES}) == []


SPOILED = {
    "a clip missing": (lambda h: cut(h / "anomaly_score_AutoTrash_section_00_test.csv"), "paired by position"),
    "a machine missing": (lambda h: [p.unlink() for p in h.glob("*HomeCamera*")], "no files of HomeCamera"),
    "no decisions": (
        lambda h: (h / "decision_result_AutoTrash_section_00_test.csv").unlink(),
        "no decision_result file of AutoTrash",
    ),
    "a header": (
        lambda h: put(h / "anomaly_score_AutoTrash_section_00_test.csv", "file,score\n"),
        "is not a finite number",
    ),
    "a decision of 2": (
        lambda h: put(h / "decision_result_AutoTrash_section_00_test.csv", "x.wav,2\n"),
        "is not a decision",
    ),
    "twice": (lambda h: put(h / "anomaly_score_AutoTrash_section_00_test.csv", NAMES[0] + ",1\n"), "doubled"),
    "nan": (lambda h: put(h / "anomaly_score_AutoTrash_section_00_test.csv", "x.wav,nan\n"), "is not a finite number"),
    "a path": (
        lambda h: put(h / "anomaly_score_AutoTrash_section_00_test.csv", "test/x.wav,1\n"),
        "with a folder in the name",
    ),
    "another name": (
        lambda h: (h / "anomaly_score_AutoTrash_section_00_test.csv").rename(h / "scores_AutoTrash.csv"),
        "not anomaly_score_",
    ),
    "constant": (
        lambda h: write_pairs(h / "anomaly_score_AutoTrash_section_00_test.csv", [(n, "1") for n in NAMES]),
        "the same",
    ),
    "no meta": (lambda h: (h / "meta.yaml").unlink(), "no meta.yaml"),
    "meta is no YAML": (lambda h: (h / "meta.yaml").write_text("{"), "meta.yaml is not YAML"),
    "meta is empty": (lambda h: (h / "meta.yaml").write_text("a: 1"), "submission and system must be there"),
    "typed complexity": (lambda h: edit(h, ("system", "complexity", "MACS"), "45 G"), "MACS is no number"),
    "another label": (
        lambda h: edit(h, ("submission", "label"), "Other_Institute_task2_1"),
        "not the name of its folder",
    ),
    "no authors": (lambda h: edit(h, ("submission", "authors"), []), "submission.authors is empty"),
}


def cut(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


def put(path: Path, line: str) -> None:
    path.write_text(line + path.read_text())


def edit(home: Path, place: tuple[str, ...], value: object) -> None:
    meta = yaml.safe_load((home / "meta.yaml").read_text())
    at = meta
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    (home / "meta.yaml").write_text(yaml.safe_dump(meta))


@pytest.mark.parametrize("name", SPOILED)
def test_what_would_be_misread_is_found(home: Path, name: str) -> None:
    spoil, message = SPOILED[name]
    spoil(home)
    faults = submission.check(home, clips={"AutoTrash": NAMES, "HomeCamera": NAMES})
    assert any(message in fault for fault in faults), faults


def test_a_truth_list_tells_what_must_be_there(home: Path, tmp_path: Path) -> None:
    truth = tmp_path / "eval_data_list_2025.csv"
    lines = ["AutoTrash", *(f"{n},section_00_source_test_normal_{n[-8:]}" for n in NAMES), "BandSealer"]
    lines += [f"{n},section_00_source_test_normal_{n[-8:]}" for n in NAMES]
    truth.write_text("\n".join(lines) + "\n")
    assert submission.check(home, truth) == ["no files of BandSealer"]


def test_writing_refuses(run: Path, home: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is there already"):
        submission.write(tmp_path / "submission", run, LABEL, FACTS, None)
    with pytest.raises(UserError, match="Surname_Institute_task2_N"):
        submission.write(tmp_path / "submission", run, "me", FACTS, None)
    (run / "scores" / "decision_result_AutoTrash_section_00_test.csv").unlink()
    with pytest.raises(UserError, match="no decision file of AutoTrash"):
        submission.write(tmp_path / "elsewhere", run, LABEL, FACTS, None)


class _Dense(Encoder):
    """Multiplies 100 samples by a matrix of 100 x 7."""

    sample_rate, feature_dim = 100, 7

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Linear(100, 7, bias=False)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        return waveform[:, None]

    def encode(self, spectrogram: Tensor) -> Tensor:
        return self.matrix(spectrogram)[:, None]

    def stages(self) -> list[nn.Module]:
        return [self.matrix]


def test_complexity_is_counted() -> None:
    assert count(AnomalyDetector(_Dense()), 1.0) == submission.Complexity(700, 700)
    cnn = AnomalyDetector(DualBranchCNN(seconds=1.0))
    found = count(cnn, 1.0)
    assert found.parameters == sum(p.numel() for p in [*cnn.encoder.parameters(), *cnn.adapter.parameters()])
    assert found.macs > 1_000_000


def test_from_the_command_line(here, home: Path, tmp_path: Path) -> None:
    assert "nothing found" in here("submit", "check", home).stdout
    cut(home / "anomaly_score_AutoTrash_section_00_test.csv")
    done = here("submit", "check", home, expect=1)
    assert "differ in 1 clip" in done.stdout
    facts = tmp_path / "facts.yaml"
    facts.write_text("name: A system")
    refused = here("submit", "write", tmp_path / "run", "--label", LABEL, "--facts", facts, expect=2)
    assert "abbreviation, authors not given" in refused.stderr
