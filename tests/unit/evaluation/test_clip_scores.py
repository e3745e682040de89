"""Score and decision files: what is written can be read, and bad files are named."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from asd.data.clip import Clip, Condition, Domain, Split
from asd.errors import UserError
from asd.evaluation.clip_scores import ClipScore, clip_score, measure, read_scores, table, to_json, write_scores
from asd.scoring import Decision


def rows(machine: str = "fan", section: str = "00", decided: bool = True, shift: float = 0.0) -> list[ClipScore]:
    generator = np.random.default_rng(2)
    found = []
    for domain in ("source", "target"):
        for condition in ("normal", "anomaly"):
            for number in range(6):
                score = float(generator.normal()) + 3 * (condition == "anomaly") + shift
                name = f"section_{section}_{domain}_test_{condition}_{number:04d}_spd_1.wav"
                decision = int(score > 1.5) if decided else None
                found.append(ClipScore(name, machine, section, score, decision, domain, condition))
    return found


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    written = rows() + rows("ToyCar", decided=False)
    files = write_scores(tmp_path / "scores", written[::-1])
    assert [path.name for path in files] == [
        "anomaly_score_ToyCar_section_00_test.csv",
        "anomaly_score_fan_section_00_test.csv",
        "decision_result_fan_section_00_test.csv",
    ]
    assert set(read_scores(tmp_path / "scores")) == set(written)
    assert {path.name for path in (tmp_path / "scores").iterdir()} == {path.name for path in files}


def test_files_are_in_the_challenges_format(tmp_path: Path) -> None:
    write_scores(tmp_path, rows()[::-1])
    lines = (tmp_path / "anomaly_score_fan_section_00_test.csv").read_bytes().decode().split("\n")
    assert lines[-1] == ""
    names = [line.split(",")[0] for line in lines[:-1]]
    assert names == sorted(row.name for row in rows())
    decisions = (tmp_path / "decision_result_fan_section_00_test.csv").read_text().splitlines()
    assert {line.split(",")[1] for line in decisions} == {"0", "1"}


@pytest.mark.parametrize("score", [float(np.float32(0.1)), 1 / 3, 1e-300, 123456789.123456789, -7e30])
def test_scores_keep_every_digit(score: float, tmp_path: Path) -> None:
    write_scores(tmp_path, [ClipScore("a.wav", "fan", "00", score)])
    assert read_scores(tmp_path)[0].score == score


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scores(tmp_path, rows())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self: Path, text: str, **_: object) -> int:
        with self.open("w") as file:
            file.write(text[:10])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_scores(tmp_path, rows(shift=1.0))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_doubled_names_and_wild_scores_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fan, section 00: 1 clip \(a.wav\) doubled"):
        write_scores(tmp_path, [ClipScore("a.wav", "fan", "00", 1.0)] * 2)
    with pytest.raises(UserError, match=r"fan, section 00: the scores of 1 clip \(a.wav\) are not finite"):
        write_scores(tmp_path, [ClipScore("a.wav", "fan", "00", math.nan)])


@pytest.mark.parametrize(
    "name",
    [
        "anomaly_score_ToyCar_section_00_test.csv",
        "anomaly_score_DCASE2025T2ToyCar_section_00_test_seed13711_id(0_)_Eval.csv",
        "anomaly_score_ToyCar_section_00_source_test.csv",
        "anomaly_score_ToyCar_id_00.csv",
    ],
)
def test_names_of_score_files(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("normal_id_00_00000000.wav,0.5\n")
    (tmp_path / "notes.csv").write_text("not,scores,at all\n")
    found = read_scores(tmp_path)
    domain = "source" if "source" in name else None
    assert found == [ClipScore("normal_id_00_00000000.wav", "ToyCar", "00", 0.5, None, domain, "normal")]


def test_folders_line_ends_and_marks_of_other_systems_are_understood(tmp_path: Path) -> None:
    text = "\ufeffC:\\test\\section_00_0000.wav, 0.5\r\ndata/test/section_00_0001.wav,1e2\r\n\r\n"
    (tmp_path / "anomaly_score_fan_section_00_test.csv").write_bytes(text.encode())
    assert {row.name: row.score for row in read_scores(tmp_path)} == {
        "section_00_0000.wav": 0.5,
        "section_00_0001.wav": 100.0,
    }


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("file_name,score\na.wav,1\n", "line 1: 'score' is not a finite number"),
        ("a.wav,1\nb.wav,nan\n", "line 2: 'nan' is not a finite number"),
        ("a.wav,1\nb.wav,-inf\n", "line 2: '-inf' is not a finite number"),
        ("a.wav,1\nb.wav\n", "line 2: expected `name,value`"),
        ("a.wav,1,2\n", "line 1: expected `name,value`"),
        ("a.wav,1\na.wav,2\n", "line 2: a.wav is doubled"),
        ("\n", "is empty"),
        (b"RIFF\xff\xfe\x00\x81", "is not text"),
    ],
)
def test_bad_score_files_are_named(content: str | bytes, shown: str, tmp_path: Path) -> None:
    path = tmp_path / "anomaly_score_fan_section_00_test.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as refused:
        read_scores(tmp_path)
    assert f"{path}" in str(refused.value)
    assert shown in str(refused.value)


@pytest.mark.parametrize(
    ("files", "shown"),
    [
        ({}, "holds no anomaly_score_"),
        ({"decision_result_fan_section_00_test.csv": "a.wav,1\n"}, "holds no anomaly_score_"),
        (
            {
                "anomaly_score_fan_section_00_test.csv": "a.wav,1\n",
                "decision_result_fan_section_01_test.csv": "a.wav,1\n",
            },
            "decision_result_fan_section_01_test.csv has no anomaly_score file",
        ),
        (
            {
                "anomaly_score_fan_section_00_test.csv": "a.wav,1\n",
                "decision_result_fan_section_00_test.csv": "a.wav,2\n",
            },
            "line 1: '2' is not a decision, 0 or 1",
        ),
        (
            {
                "anomaly_score_fan_section_00_test.csv": "a.wav,1\nb.wav,1\n",
                "decision_result_fan_section_00_test.csv": "a.wav,1\nc.wav,1\n",
            },
            "differ in 2 clips (b.wav, c.wav)",
        ),
        (
            {
                "anomaly_score_fan_section_00_test.csv": "a.wav,1\n",
                "anomaly_score_DCASE2025T2fan_section_00_test_seed1_Eval.csv": "a.wav,1\n",
            },
            "same machine and section",
        ),
    ],
)
def test_files_that_do_not_fit_together_are_named(files: dict[str, str], shown: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as refused:
        read_scores(tmp_path)
    assert shown in str(refused.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        read_scores(tmp_path / "absent")


def test_a_clip_of_the_data_set_becomes_a_row() -> None:
    clip = Clip(Path("x/test/a.wav"), "fan", "01", Split.TEST, Domain.TARGET, Condition.ANOMALY)
    assert clip_score(clip, 0.25, Decision.ANOMALOUS) == ClipScore("a.wav", "fan", "01", 0.25, 1, "target", "anomaly")
    assert clip_score(Clip(Path("b.wav"), "fan"), 1.0) == ClipScore("b.wav", "fan", "00", 1.0)


def test_sections_are_named_where_a_machine_has_several() -> None:
    found = measure(rows(section="00") + rows(section="01") + rows("valve"))
    assert set(found) == {"fan_section_00", "fan_section_01", "valve"}


def test_clips_of_unknown_label_are_not_measured() -> None:
    unknown = [ClipScore(f"section_00_{n:04d}.wav", "fan", "00", 99.0, 1) for n in range(5)]
    evaluation_machine = [ClipScore("section_00_0000.wav", "ToyPet", "00", 1.0, 0)]
    # As text, because what is not measured is nan.
    assert str(measure([*rows(), *unknown, *evaluation_machine])) == str(measure(rows()))


def test_a_wild_score_is_named_with_its_machine() -> None:
    with pytest.raises(UserError, match="fan: 24 of 24 anomaly scores are not finite"):
        measure(rows(shift=math.nan))


def test_json_holds_fractions_and_null_where_unknown() -> None:
    found = to_json(measure([row for row in rows() if row.domain == "source"]))
    assert set(found) == {"official_score", "machines"}
    assert found["machines"]["fan"]["auc_target"] is None
    assert 0.5 < found["machines"]["fan"]["auc_source"] <= 1.0
    assert found["machines"]["fan"]["decisions"]["source"]["normal"] == 6
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert to_json({}) == {"official_score": None, "machines": {}}


def test_the_table_is_in_percent_with_false_alarms_by_domain() -> None:
    results = measure(rows())
    shown = table(results, "test").splitlines()
    assert shown[0] == "test"
    assert shown[2].split()[:3] == ["verdicts", "false", "alarms"], "what it decides comes first"
    cells: dict[str, list[str]] = {}
    for line in filter(None, shown):
        cells.setdefault(line.split("  ")[0].strip(), line.split())
    assert cells["fan"][1:] == [f"{100 * value:.2f}" for value in results["fan"].parts.values()]
    assert cells["official score"][-1] == f"{100 * to_json(results)['official_score']:.2f}"
    target = results["fan"].target
    assert target is not None
    assert cells["fan target"][2] == f"{100 * target.false_alarm_rate:.1f}"


def test_the_table_says_what_is_not_measurable() -> None:
    shown = table(measure([row for row in rows(decided=False) if row.domain == "source"]))
    assert "1 of 3 values cannot be measured" in shown
    assert "false alarms" not in shown
