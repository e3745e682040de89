"""What names and truth lists say of a clip."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.errors import UserError
from asd.evaluation.ground_truth import Label, label_of, read_truth


@pytest.mark.parametrize(
    ("name", "domain", "condition"),
    [
        ("section_00_source_test_normal_0000_car_B1_spd_34V_mic_1.wav", "source", "normal"),
        ("section_00_target_test_anomaly_0012_id_C1_spd_2_mic_2.wav", "target", "anomaly"),
        ("section_00_source_normal_0035_weight15_BckgF.wav", "source", "normal"),
        ("section_00_source_test_anomaly_0003_ac_0.03_.wav", "source", "anomaly"),
        ("section_05_source_test_anomaly_0000_vel_10_f-n_A.wav", "source", "anomaly"),
        ("section_00_target_test_normal_0001_mode_anomaly_from_source.wav", "target", "normal"),
        ("section_03_source_test_0000.wav", "source", None),
        ("section_00_0000.wav", None, None),
        ("section_00_test_0000_normal.wav", None, None),
        ("anomaly_id_01_00000000.wav", None, "anomaly"),
        ("id_01_00000000.wav", None, None),
        ("source_normal.wav", None, None),
        ("section_00_Source_test_Normal_0000.wav", "source", "normal"),
        ("SECTION_00_TARGET_TEST_ANOMALY_0000_x.WAV", "target", "anomaly"),
        ("section_00_source_test_normal_0000_two\nlines.wav", "source", "normal"),
    ],
)
def test_names_of_every_year(name: str, domain: str | None, condition: str | None) -> None:
    assert label_of(name) == Label(domain, condition)


def test_lists_of_2025_and_2020(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        "ToyPet\nsection_00_0000.wav,section_00_target_test_anomaly_0012_id_C1.wav\n"
        "fan\nid_01_00000000.wav,normal_id_01_00000000.wav,0\nid_01_00000001.wav,id_01_00000001.wav,1\n"
        "pump,\nsection_03_source_test_0000.wav,section_03_source_test_normal_0007.wav\n"
    )
    truth = read_truth(path)
    assert list(truth) == ["ToyPet", "fan", "pump"]
    assert truth["ToyPet"].labels == {"section_00_0000.wav": Label("target", "anomaly")}
    assert truth["ToyPet"].plain("section_00_target_test_anomaly_0012_id_C1.wav") == "section_00_0000.wav"
    assert truth["ToyPet"].plain("section_00_0001.wav") is None
    assert truth["fan"].labels == {
        "id_01_00000000.wav": Label(None, "normal"),
        "id_01_00000001.wav": Label(None, "anomaly"),
    }
    assert truth["pump"].labels["section_03_source_test_0000.wav"] == Label("source", "normal")


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("a.wav,section_00_source_test_normal_0000.wav\n", "line 1: expected a machine"),
        ("fan\na.wav,b,0,c\n", "line 2: expected a machine"),
        ("fan\na.wav,section_00_source_test_0000.wav\n", "line 2: section_00_source_test_0000.wav says neither"),
        ("fan\na.wav,normal_id_01_00000000.wav,1\n", "line 2: the name says normal, the third field anomaly"),
        ("fan\na.wav,id_01_00000000.wav,2\n", "line 2: the third field is 0 (normal) or 1 (anomaly)"),
        ("fan\na.wav,normal_id_01_00000000.wav\na.wav,normal_id_01_00000001.wav\n", "line 3: a.wav is listed twice"),
        ("fan\nvalve\n", "lists no clip"),
        (b"RIFF\xff\xfe\x00\x81", "is not text"),
    ],
)
def test_bad_lists_are_named(content: str | bytes, shown: str, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as refused:
        read_truth(path)
    assert str(path) in str(refused.value)
    assert shown in str(refused.value)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no truth list .*absent.csv"):
        read_truth(tmp_path / "absent.csv")


@pytest.fixture
def evaluator(tmp_path: Path) -> Path:
    for folder, values in (("ground_truth_data", "01"), ("ground_truth_domain", "10")):
        (tmp_path / folder).mkdir()
        lines = [f"section_00_{number:04d}.wav,{value}\n" for number, value in enumerate(values)]
        (tmp_path / folder / "ground_truth_ToyCar_section_00_test.csv").write_text("".join(lines))
    return tmp_path


def test_the_folder_of_an_evaluator(evaluator: Path) -> None:
    assert read_truth(evaluator)["ToyCar"].labels == {
        "section_00_0000.wav": Label("target", "normal"),
        "section_00_0001.wav": Label("source", "anomaly"),
    }


def test_an_evaluators_folder_that_is_not_whole_is_named(evaluator: Path) -> None:
    (evaluator / "ground_truth_domain/ground_truth_ToyCar_section_00_test.csv").write_text("section_00_0000.wav,0\n")
    with pytest.raises(UserError, match="list different clips"):
        read_truth(evaluator)
    (evaluator / "ground_truth_domain/ground_truth_ToyCar_section_00_test.csv").unlink()
    with pytest.raises(UserError, match="no truth list"):
        read_truth(evaluator)
    with pytest.raises(UserError, match="holds no ground_truth_data"):
        read_truth(evaluator / "ground_truth_domain")
