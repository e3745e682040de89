"""The check finds what is there twice, what is offset, and what no class can be learned from; and writes a page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.cli import main
from asd.data.check.check import check
from asd.data.check.page import page, write_page
from asd.errors import UserError

RATE = 16000
FAN = "dev_data/raw/fan"


def hum(seed: int, seconds: float = 6.0) -> np.ndarray:
    """A machine: steady tones, which all recordings share, in noise of its own."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * 50 * k * time + rng.uniform(0, 6)) / k for k in range(1, 9))
    return 0.05 * tones + 0.05 * rng.standard_normal(len(time))


def write(root: Path, name: str, samples: np.ndarray, rate: int = RATE, **options: str) -> Path:
    path = root / FAN / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(12):
        write(tmp_path, f"train/section_00_source_train_normal_{number:04d}_n_A.wav", hum(number))
    write(tmp_path, "test/section_00_source_test_normal_0000_n_A.wav", hum(50))
    return tmp_path


def test_recordings_of_one_machine_are_no_doubles(root: Path) -> None:
    report = check(root)
    assert not report.faults
    assert not report.remarks


def test_the_same_samples_twice_are_found_and_in_training_and_test_must_be_mended(root: Path) -> None:
    copied = write(root, "train/section_00_source_train_normal_0100_n_A.wav", hum(3))
    leaked = write(root, "test/section_00_source_test_anomaly_0001_n_A.wav", hum(4))
    report = check(root)
    assert any(line.startswith(f"{copied}: the same samples as") and "_0003_" in line for line in report.remarks)
    (fault,) = report.faults
    assert "in the other of training and test; remove one" in fault
    assert str(leaked) in fault
    assert main(["data", "check", str(root)]) == 1


def resampled(samples: np.ndarray) -> tuple[np.ndarray, int, dict[str, str]]:
    import soxr

    return soxr.resample(samples, RATE, 44100), 44100, {}


@pytest.mark.parametrize(
    "change",
    [
        lambda x: (0.3 * x, RATE, {}),
        lambda x: (x + 0.002 * np.random.default_rng(0).standard_normal(len(x)), RATE, {}),
        lambda x: (x[160:], RATE, {}),
        lambda x: (x, RATE, {"format": "OGG"}),
        resampled,
    ],
    ids=["quieter", "noisier", "shifted", "ogg", "resampled"],
)
def test_nearly_the_same_sound_is_found(change, root: Path) -> None:
    samples, rate, options = change(hum(7))
    path = write(root, "test/section_00_source_test_normal_0009_n_A.wav", samples, rate, **options)
    near = [line for line in check(root).remarks if "nearly the same sound" in line]
    assert len(near) == 1
    assert str(path) in near[0]
    assert "normal_0007_n_A" in near[0]
    assert "in the other of training and test" in near[0]


def test_an_offset_is_remarked(root: Path) -> None:
    path = write(root, "train/section_00_source_train_normal_0200_n_A.wav", hum(30) + 0.05)
    assert any(line.startswith(f"{path}: DC offset of +0.05") for line in check(root).remarks)


def test_classes_of_one_clip_and_attributes_only_tested_are_remarked(root: Path) -> None:
    write(root, "train/section_00_source_train_normal_0300_n_B.wav", hum(31))
    write(root, "test/section_00_target_test_anomaly_0003_n_C.wav", hum(32))
    remarks = check(root).remarks
    assert "fan: a single training clip of n_b; too few to learn a class from" in remarks
    assert "fan: in the test but not in training: n_c" in remarks


def test_own_recordings_are_checked(tmp_path: Path) -> None:
    for number in range(6):
        path = tmp_path / "pump/normal" / f"day {number}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, hum(number), RATE)
    report = check(tmp_path)
    assert not report.faults
    assert [(group.machine, group.split, group.clips) for group in report.groups] == [
        ("pump", "test", 2), ("pump", "train", 4),
    ], "as training would hold them out"  # fmt: skip
    (tmp_path / "pump/normal/day 2.flac").write_text("no sound\n")
    assert any("day 2.flac" in fault for fault in check(tmp_path).faults)


class _Balanced(HTMLParser):
    """Every element that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_holds_everything_and_needs_nothing(root: Path, here, tmp_path: Path) -> None:
    bad = root / FAN / "train/section_00_source_train_normal_0400_<b>&.wav"
    bad.write_text("no sound\n")
    done = here("data", "check", root, "--html", "out/check.html", expect=1)
    assert done.stdout.strip().endswith("out/check.html")
    text = (tmp_path / "out/check.html").read_text()
    parser = _Balanced()
    parser.feed(text)
    assert not parser.open
    assert not parser.links, "nothing is fetched"
    assert "1 to mend" in text
    assert "&lt;b&gt;&amp;.wav" in text, "names are text, never markup"
    assert text.count("<rect") >= 2
    readable = len(list((root / FAN).rglob("*.wav"))) - 1
    assert f'aria-label="{readable} values"' in text
    assert "built-in" not in text


def test_a_page_without_a_readable_file_is_written_all_the_same(root: Path) -> None:
    for path in (root / FAN).rglob("*.wav"):
        path.write_text("no sound\n")
    assert "No file can be read" in page(check(root))


def test_a_page_that_cannot_be_written_is_named(root: Path) -> None:
    with pytest.raises(UserError, match="cannot write"):
        write_page(root / "dev_data" / "raw" / "fan", check(root))
