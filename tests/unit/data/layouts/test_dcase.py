from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import pytest

from asd.data.clip import Clip, Condition, Domain, Kind, Split
from asd.data.layouts.dcase import scan
from asd.data.layouts.names import parse_name
from asd.errors import UserError

TRAIN = "section_00_source_train_normal_{:04d}_spd_{}.wav"


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def machine(root: Path, name: str = "fan", subset: str = "dev_data") -> Path:
    folder = root / subset / "raw" / name
    touch(folder / "train", TRAIN.format(0, 1))
    return folder


def one(folder: Path, split: str, name: str) -> Clip:
    """The clip of that name in a machine's folder."""
    touch(folder / split, name)
    root = folder.parents[2]
    return next(clip for clip in scan(root, [folder.parents[1].name]) if clip.path.name == name)


def refusal(root: Path, *args: object, **kwargs: object) -> str:
    with pytest.raises(UserError) as refused:
        scan(root, *args, **kwargs)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
    return str(refused.value)


N, A, S, T = Condition.NORMAL, Condition.ANOMALY, Domain.SOURCE, Domain.TARGET


@pytest.mark.parametrize(
    ("split", "name", "section", "domain", "condition", "attributes"),
    [
        ("train", "section_00_target_train_normal_0009_car_B1_spd_31V_mic_1.wav", "00", T, N, "car_B1_spd_31V_mic_1"),
        ("test", "section_00_source_normal_0035_weight15_BckgF.wav", "00", S, N, "weight15_BckgF"),
        ("test", "section_00_target_test_anomaly_0003_ac_0.03_.wav", "00", T, A, "ac_0.03"),
        ("test", "section_00_target_test_normal_0001_pro_y.wav", "00", T, N, "pro_y"),
        (
            "test",
            "section_00_source_test_anomaly_2012_mic_imp34dt05_mic_pos_A_grind_100_bkg_A.wav",
            "00", S, A, "mic_imp34dt05_mic_pos_A_grind_100_bkg_A",
        ),
        ("test", "section_05_source_test_anomaly_0000_vel_10_f-n_A.wav", "05", S, A, "vel_10_f-n_A"),
        ("test", "section_00_0200.wav", "00", None, None, ""),
        ("test", "section_00_test_0000.wav", "00", None, None, ""),
        ("test", "section_03_source_test_0000.wav", "03", S, None, ""),
        ("train", "section_00_source_train_normal_0000_noAttribute.wav", "00", S, N, ""),
        ("train", "section_00_source_train_normal_0000_.wav", "00", S, N, ""),
        ("train", "section_00_source_train_normal_00001_B1s1.wav", "00", S, N, "B1s1"),
        ("train", "normal_id_01_00000000.wav", "01", None, N, ""),
        ("test", "anomaly_id_06_00000012.wav", "06", None, A, ""),
        ("test", "id_01_00000000.wav", "01", None, None, ""),
        ("train", "section_00_source_train_normal_0001_n_A.WAV", "00", S, N, "n_A"),
    ],
)  # fmt: skip
def test_names_of_every_year(
    split: str,
    name: str,
    section: str,
    domain: Domain | None,
    condition: Condition | None,
    attributes: str,
    tmp_path: Path,
) -> None:
    clip = one(machine(tmp_path), split, name)
    found = (clip.machine, clip.section, clip.split, clip.domain, clip.condition, clip.attributes, clip.kind)
    assert found == ("fan", section, Split(split), domain, condition, attributes, Kind.MACHINE)


def test_the_published_names_of_2025_are_all_read(shared: Path) -> None:
    source = shared / "oracle"
    if not source.is_dir():
        pytest.skip(f"needs {source}")
    lists = sorted((source / "raw-k1").glob("*/anomaly_score_*.csv"))
    assert len(lists) == 15
    for path in lists:
        parsed = [parse_name(line.split(".wav")[0]) for line in path.read_text().splitlines()]
        counts = Counter((p.domain, p.condition) for p in parsed if p is not None)
        expected = {(None, None): 200} if path.parent.name == "eval" else {(d, c): 50 for d in (S, T) for c in (N, A)}
        assert counts == expected, path
    truth = [line.split(",")[1] for line in (source / "eval_data_list_2025.csv").read_text().split() if "," in line]
    counts = Counter((p.domain, p.condition) for name in truth if (p := parse_name(name.removesuffix(".wav"))))
    assert counts == {(d, c): 400 for d in (S, T) for c in (N, A)}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("section_00_machine_0001_.wav", Kind.CLEAN),
        ("section_00_machine_source_0000_noAttribute.wav", Kind.CLEAN),
        ("section_00_clean_0000_n_A.wav", Kind.CLEAN),
        ("section_00_source_supplemental_machine_0000.wav", Kind.CLEAN),
        ("section_00_noise_supplemental_normal_0000.wav", Kind.NOISE),
        ("section_00_noise_source_0001_noAttribute.wav", Kind.NOISE),
    ],
)
def test_supplemental_spellings(name: str, kind: Kind, tmp_path: Path) -> None:
    clip = one(machine(tmp_path), "supplemental", name)
    assert (clip.split, clip.kind) == (Split.SUPPLEMENTAL, kind)
    assert clip.attributes == ("n_A" if "n_A" in name else "")


def test_a_supplemental_clip_of_unknown_kind_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"section_00_hum_0001\.wav.*neither machine, clean nor noise"):
        clip = one(machine(tmp_path), "supplemental", "section_00_hum_0001.wav")
    assert (clip.split, clip.kind) == (Split.SUPPLEMENTAL, Kind.MACHINE)


def test_folder_names_do_not_decide_the_condition(tmp_path: Path) -> None:
    clip = one(
        machine(tmp_path / "normal_source_noise", "normal"), "test", "section_00_target_test_anomaly_0000_n_B.wav"
    )
    assert (clip.machine, clip.condition, clip.domain, clip.kind) == ("normal", A, T, Kind.MACHINE)


def test_test_folders_of_2021_and_other_folders(tmp_path: Path) -> None:
    folder = machine(tmp_path)
    touch(folder / "source_test", "section_00_source_test_normal_0000.wav")
    touch(folder / "target_test", "section_00_0001.wav")
    touch(folder / "test_rename", "section_00_target_test_anomaly_0001_n_B.wav")
    touch(folder / "train", "._section_00_source_train_normal_0000.wav", "notes.txt")
    clips = [clip for clip in scan(tmp_path) if clip.split == Split.TEST]
    assert [(clip.path.name, clip.domain) for clip in clips] == [
        ("section_00_source_test_normal_0000.wav", S),
        ("section_00_0001.wav", T),
    ]
    assert len(scan(tmp_path)) == 3


def test_order_is_by_subset_machine_split_and_name(tmp_path: Path) -> None:
    for name in ("valve", "bearing"):
        folder = machine(tmp_path, name)
        touch(folder / "test", "section_00_0001.wav", "section_00_0000.wav")
        touch(folder / "supplemental", "section_00_noise_0000.wav")
    machine(tmp_path, "Auto", "eval_data")
    found = [(c.machine, c.split, c.path.name[:15]) for c in scan(tmp_path, ["dev_data", "eval_data"])]
    per_machine = [
        ("train", "section_00_sour"), ("test", "section_00_0000"), ("test", "section_00_0001"),
        ("supplemental", "section_00_nois"),
    ]  # fmt: skip
    expected = [(name, split, stem) for name in ("bearing", "valve") for split, stem in per_machine]
    assert found == [*expected, ("Auto", "train", "section_00_sour")]
    assert {clip.machine for clip in scan(tmp_path, machines=["valve"])} == {"valve"}


def test_subsets_that_are_there_and_the_one_that_is_tested(tmp_path: Path) -> None:
    touch(machine(tmp_path) / "test", "section_00_0000.wav")
    assert {clip.machine for clip in scan(tmp_path, None)} == {"fan"}
    touch(machine(tmp_path, "Auto", "eval_data") / "test", "section_00_0000.wav")
    assert {clip.machine for clip in scan(tmp_path, None)} == {"fan", "Auto"}
    tested = scan(tmp_path, None, test_subsets=["eval_data"])
    assert [(clip.machine, clip.split) for clip in tested] == [("fan", "train"), ("Auto", "train"), ("Auto", "test")]
    assert "test clips of eval_data asked for, but the subsets are dev_data" in refusal(
        tmp_path, test_subsets=["eval_data"]
    )
    assert "no data folder" in refusal(tmp_path / "absent", None)


# -- attribute files


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("file_name,d1p,d1v,d2p,d2v", "/data/fan/train/{}.wav,n,A,spd,3"),
        ("file_name,d1p,d1v,d2p,d2v", "{},n,A,spd,3"),
        ("\ufefffile_name, d1p, d1v, d2p, d2v", "fan\\train\\{}.wav, n, A, spd, 3"),
    ],
)
def test_hidden_attributes_come_from_the_attribute_file(header: str, row: str, tmp_path: Path) -> None:
    folder = machine(tmp_path)
    stem = "section_00_source_train_normal_0001_noAttribute"
    named = TRAIN.format(0, 1).removesuffix(".wav")
    text = "\n".join([header, row.format(stem), row.format(named), ""])
    (folder / "attributes_00.csv").write_text(text, encoding="utf-8")
    assert one(folder, "train", f"{stem}.wav").attributes == "n_A_spd_3"
    assert one(folder, "train", f"{named}.wav").attributes == "spd_1", "the name's own attributes come first"


def test_rows_without_attributes_say_nothing(tmp_path: Path) -> None:
    folder = machine(tmp_path)
    stem = "section_00_source_train_normal_0001"
    touch(folder / "train", "section_00_source_train_normal_0002_.wav")
    rows = ["file_name,d1p,d1v", f"{stem}", "section_00_source_train_normal_0002,noAttribute,"]
    (folder / "attributes_00.csv").write_text("\n".join(rows))
    one(folder, "train", f"{stem}.wav")
    assert [clip.attributes for clip in scan(tmp_path)] == ["spd_1", "", ""]
    (folder / "attributes_00.csv").write_text(f"file_name\n{stem}\n")
    assert one(folder, "train", f"{stem}.wav").attributes == ""


def test_rows_of_a_split_that_is_not_there_are_left_alone(tmp_path: Path) -> None:
    folder = machine(tmp_path)
    rows = [
        "file_name,d1p,d1v", "section_00_target_test_anomaly_0000_spd_1,spd,1", "test/section_00_0000.wav,spd,1",
        "section_00_0001,spd,1", "section_00_noise_source_0000_noAttribute.wav,spd,1",
    ]  # fmt: skip
    (folder / "attributes_00.csv").write_text("\n".join(rows))
    assert len(scan(tmp_path)) == 1
    touch(folder / "test", "section_00_0001.wav")
    assert "unknown file section_00_target_test_anomaly_0000_spd_1 and 1 more" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "file_name,d1p,d1v\ntrain/section_00_source_train_normal_0077_spd_1.wav,spd,1\n",
            "line 2: unknown file train/sec",
        ),
        ("file_name,d1p,d1v\nwhatever.wav,spd,1\n", "line 2: unknown file whatever.wav"),
        ("", "the header must be file_name"),
        ("name,d1p,d1v\n", "the header must be file_name"),
        ("file_name,d1p\n", "only one of d1p (parameter) and d1v (value)"),
        ("file_name,d1p,d1v\na,b,c,d\n", "line 2: no file name, or more fields"),
        ("file_name,d1p,d1v\n,b,c\n", "line 2: no file name"),
        ("file_name,d1p,d1v\na,spd,1\na,spd,2\n", "line 3: other attributes for a than in"),
        (b"file_name\n\xff\xfe\n", "is not text of comma-separated values"),
    ],
)
def test_broken_attribute_files_are_named(text: str | bytes, shown: str, tmp_path: Path) -> None:
    path = machine(tmp_path) / "attributes_00.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    error = refusal(tmp_path)
    assert shown in error
    assert str(path) in error


def test_a_lost_attribute_file_is_warned_of(tmp_path: Path) -> None:
    (machine(tmp_path, "bearing") / "attributes_00.csv").write_text("file_name\n")
    machine(tmp_path, "fan")
    with pytest.warns(UserWarning, match=r"raw/fan: no attributes_00\.csv, though other machines have one"):
        assert len(scan(tmp_path)) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(scan(tmp_path, machines=["fan"])) == 1


# -- what a user gets wrong


def test_a_missing_or_empty_root_is_named(tmp_path: Path) -> None:
    assert f"no data folder {tmp_path / 'x'}; expected {tmp_path / 'x'}/dev_data/raw/<machine>/train" in refusal(
        tmp_path / "x"
    )
    (tmp_path / "empty").mkdir()
    assert "is empty; expected" in refusal(tmp_path / "empty")
    (tmp_path / "file").touch()
    assert "is a file, not a data folder" in refusal(tmp_path / "file")
    (tmp_path / "data/dev_data/raw").mkdir(parents=True)
    assert "no machines there; expected" in refusal(tmp_path / "data")


@pytest.mark.parametrize(
    "inside", ["dev_data", "dev_data/raw", "dev_data/raw/fan", "dev_data/raw/fan/train", "missing"]
)
def test_a_root_inside_or_beside_is_put_right(inside: str, tmp_path: Path) -> None:
    machine(tmp_path / "data")
    assert refusal(tmp_path / "data" / inside).endswith(f"Did you mean {tmp_path / 'data'}?")


def test_a_root_above_is_put_right(tmp_path: Path) -> None:
    machine(tmp_path / "data")
    assert refusal(tmp_path).endswith(f"Did you mean {tmp_path / 'data'}?")


def test_unknown_subsets_and_machines_are_named(tmp_path: Path) -> None:
    machine(tmp_path, "ToyCar")
    machine(tmp_path, "fan")
    assert "unknown subset 'dev_dta'" in refusal(tmp_path, ["dev_dta"])
    assert "Did you mean dev_data? There: dev_data" in refusal(tmp_path, ["dev_dta"])
    assert "no subset asked for" in refusal(tmp_path, [])
    assert "unknown machine 'toycar'. Did you mean ToyCar? In dev_data" in refusal(tmp_path, machines=["fan", "toycar"])
    assert refusal(tmp_path, machines=["pump"]).endswith("ToyCar, fan")
    assert "no machine asked for" in refusal(tmp_path, machines=[])


def test_names_that_cannot_be_parsed_are_counted_and_shown(tmp_path: Path) -> None:
    bad = [
        "a.wav",
        "b.wav",
        "section_00_source_train_broken_0000.wav",
        "section_00_source_target_train_normal_0000.wav",
    ]
    touch(machine(tmp_path) / "train", *bad)
    assert "cannot parse 4 files (train/a.wav, train/b.wav, train/section_00" in refusal(tmp_path)
    assert "expected names like section_00_source_train_normal_0000" in refusal(tmp_path)


def test_a_test_clip_in_the_training_folder_is_refused(tmp_path: Path) -> None:
    touch(machine(tmp_path) / "train", "section_00_source_test_normal_0000_spd_1.wav")
    assert "name and folder give different splits: train/section_00_source_test_normal_0000" in refusal(tmp_path)


def test_duplicate_names_are_refused(tmp_path: Path) -> None:
    folder = machine(tmp_path)
    touch(folder / "source_test", "section_00_0000.wav")
    touch(folder / "target_test", "section_00_0000.wav")
    assert "duplicate names source_test/section_00_0000.wav and target_test/section_00_0000.wav" in refusal(tmp_path)


def test_names_that_differ_by_case_or_suffix_are_duplicates(tmp_path: Path) -> None:
    name = TRAIN.format(0, 1)
    touch(machine(tmp_path, "bearing") / "train", name.upper())
    touch(machine(tmp_path, "fan") / "train", name.replace(".wav", ".flac"))
    assert "duplicate names" in refusal(tmp_path, machines=["bearing"])
    assert "duplicate names" in refusal(tmp_path, machines=["fan"])


def test_the_pro_y_trap_is_no_duplicate(tmp_path: Path) -> None:
    names = [f"section_00_target_test_{c}_0001_pro_{y}.wav" for c, y in (("normal", "y"), ("anomaly", "Y"))]
    touch(machine(tmp_path) / "test", *names)
    assert len(scan(tmp_path)) == 3


def test_a_machine_without_clips_is_named(tmp_path: Path) -> None:
    (tmp_path / "dev_data/raw/pump/train").mkdir(parents=True)
    assert "raw/pump: no clips (.wav, .flac) in train" in refusal(tmp_path)


def test_normal_training_clips_are_insisted_on_for_training_alone(tmp_path: Path) -> None:
    touch(tmp_path / "dev_data/raw/pump/test", "section_00_0000.wav")
    touch(tmp_path / "dev_data/raw/pump/train", "section_00_source_train_anomaly_0000.wav")
    assert len(scan(tmp_path)) == 2
    assert refusal(tmp_path, training=True).startswith("no normal training clips for pump, section 00; put some into")


def test_a_machine_in_both_subsets_needs_sections_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "eval_data/raw/fan"
    machine(tmp_path)
    touch(folder / "train", "section_03_source_train_normal_0000.wav")
    found = {str(clip.machine_section) for clip in scan(tmp_path, ["dev_data", "eval_data"])}
    assert found == {"fan_section_00", "fan_section_03"}
    touch(folder / "train", TRAIN.format(0, 1))
    assert "fan, section 00, is in both dev_data and eval_data" in refusal(tmp_path, ["dev_data", "eval_data"])


def test_folders_that_are_no_machines_are_left_out_with_a_warning(tmp_path: Path) -> None:
    machine(tmp_path)
    touch(tmp_path / "dev_data/raw/ToyCar/ToyCar/train", TRAIN.format(0, 1))
    (tmp_path / "dev_data/raw/__MACOSX").mkdir()
    with pytest.warns(UserWarning, match="raw/ToyCar is left out") as told:
        assert {clip.machine for clip in scan(tmp_path)} == {"fan"}
    assert len(told) == 1


def test_several_faults_point_to_the_check(tmp_path: Path) -> None:
    for name in ("fan", "pump"):
        touch(machine(tmp_path, name) / "train", "a.wav")
    assert refusal(tmp_path).endswith(f"(1 more to mend: asd data check {tmp_path})")
