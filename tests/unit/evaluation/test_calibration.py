"""What a run tells of its thresholds: kept, read, merged, and the false alarms to be expected."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
import torch

from asd.errors import UserError
from asd.evaluation import calibration
from asd.evaluation.calibration import Calibration, Calibrations
from asd.scoring import KMeansScorer
from asd.scoring.reference_bank import Bank
from asd.scoring.sections import SectionScorers
from asd.scoring.threshold import QuantileThreshold

FAN = Calibration(0.5, 0.25, (0.125, 0.5, 0.75, 1.0), (0.25,))
PUMP = Calibration(2.0, 2.0, (1.0,), ())


def kept(folder: Path, calibrations: Calibrations) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "calibration.json").write_text(calibration.to_text(calibrations))
    return folder


def test_false_alarms_are_the_scores_above_the_threshold() -> None:
    source = FAN.expected("source")
    assert (source.rate, source.clips, source.blocks) == (0.5, 4, 4), "a score at the threshold is no alarm"
    assert (FAN.expected("target").rate, FAN.expected("target").clips) == (0.0, 1)
    assert (FAN.expected().rate, FAN.expected().clips) == (0.4, 5)
    assert FAN.expected(limit=0.1).rate == 1.0
    assert math.isnan(PUMP.expected("target").rate)
    assert PUMP.expected("target").clips == 0


def test_the_clips_of_a_block_count_as_one_together() -> None:
    known = Calibration(0.5, 0.5, (0.1, 0.9, 0.9, 0.9), (0.9,), (3, 7, 7, 7), (7,))
    assert known.expected("source").rate == 0.5
    assert known.expected("source").blocks == 2
    assert (known.expected().rate, known.expected().blocks, known.expected().clips) == (0.5, 2, 5)


def test_what_is_known_stays_as_it_is() -> None:
    with pytest.raises(FrozenInstanceError):
        FAN.threshold = 1.0  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Calibrations({}, 1.0).seconds = 2.0  # type: ignore[misc]


def test_a_machine_of_one_section_is_known_by_its_own_name() -> None:
    known = Calibrations({"fan_section_00": FAN, "pump_section_00": PUMP, "pump_section_01": FAN}, 1.0)
    assert known.of("fan") is FAN
    assert known.of("pump_section_01") is FAN
    assert known.of("pump") is None
    assert known.of("valve") is None


def test_what_is_written_is_read(tmp_path: Path) -> None:
    both = Calibrations({"fan_section_00": FAN, "pump_section_00": PUMP}, 10.0)
    blocks = Calibrations({"fan": replace(FAN, source_blocks=(0, 0, 1, 2), target_blocks=(2,))}, 10.0)
    assert calibration.read(kept(tmp_path / "blocks", blocks)) == blocks
    folder = kept(tmp_path / "run", both)
    assert json.loads((folder / "calibration.json").read_text())["machines"]["fan_section_00"] == {
        "threshold": 0.5, "abstain": 0.25, "source": [0.125, 0.5, 0.75, 1.0], "target": [0.25],
        "source_blocks": [], "target_blocks": [],
    }  # fmt: skip
    assert calibration.read(folder) == both
    (folder / "scores").mkdir()
    assert calibration.read(folder / "scores") == both, "the folder of scores is the run's"
    assert calibration.read(tmp_path) is None


def test_a_length_that_is_not_known_stays_unknown(tmp_path: Path) -> None:
    folder = kept(tmp_path, Calibrations({"fan": FAN}, math.nan))
    assert json.loads((folder / "calibration.json").read_text())["seconds"] is None
    read = calibration.read(folder)
    assert read is not None and math.isnan(read.seconds)


ONE = '{"seconds": 1, "machines": {"fan": {"threshold": %s, "doubt": 1, "source": [%s], "target": []}}}'


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("no json", "JSONDecodeError"),
        ('{"seconds": 1}', "KeyError"),
        ('{"seconds": 1, "machines": 3}', "AttributeError"),
        ('{"seconds": 1, "machines": {"fan": 3}}', "TypeError"),
        (ONE % ("NaN", "1"), "ValueError"),
        (ONE % ("1", '"x"'), "ValueError"),
        ('{"seconds": "long", "machines": {}}', "ValueError"),
        ((ONE % ("1", "1")).replace("}}}", ', "source_blocks": [1, 2]}}}'), "ValueError"),
    ],
)
def test_what_cannot_be_understood_is_named(text: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(UserError, match=rf"calibration\.json cannot be read \({kind}\); write it anew with `asd test`"):
        calibration.read(tmp_path)


def test_runs_on_different_machines_are_taken_together(tmp_path: Path) -> None:
    one = kept(tmp_path / "one", Calibrations({"fan": FAN}, 2.0))
    two = kept(tmp_path / "two", Calibrations({"pump": PUMP}, 3.0))
    assert calibration.merged([one, two]) == Calibrations({"fan": FAN, "pump": PUMP}, 2.0)
    assert calibration.merged([one, tmp_path / "none"]) is None
    assert calibration.merged([]) is None


def test_a_fitted_population_tells_its_limits_and_the_scores_of_each_domain() -> None:
    row = torch.arange(40)
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    rows[1::2] *= 3
    bank = Bank(rows, row % 2, row >= 35, row, row)
    sections = SectionScorers(KMeansScorer(3), QuantileThreshold(0.9, abstain=0.3), ["fan", "valve"]).fit(bank)
    known = calibration.of_scorers(sections, 4.0)
    assert known.seconds == 4.0
    assert list(known.machines) == ["fan", "valve"]
    for number, own in enumerate(known.machines.values()):
        scores, target = sections.training_scores(number)
        assert own.threshold == float(sections.thresholds[number])
        assert own.abstain == float(sections.abstain_above[number]) < own.threshold
        assert own.source == tuple(scores[~target].tolist())
        assert own.target == tuple(scores[target].tolist())
    assert [len(own.target) for own in known.machines.values()] == [2, 3]
