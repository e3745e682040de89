"""Own recordings are called as their files are."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.data.clip import Clip, Condition, Domain, Kind, Split
from asd.data.layouts.own_names import own_name, trains_on_own
from asd.data.layouts.recordings import title


@pytest.mark.parametrize("domain", [None, *Domain])
@pytest.mark.parametrize("split", [Split.TRAIN, Split.TEST])
@pytest.mark.parametrize("own", ["monday.wav", "test_normal_0001_b.flac", "section_00_train_normal_0000_x.wav"])
def test_the_name_of_the_file_comes_back(domain: Domain | None, split: Split, own: str) -> None:
    clip = Clip(Path(own), "pump", "00", split, domain, Condition.NORMAL, "", Kind.MACHINE)
    assert own_name(title(12345, clip, own)) == own
    cut = Clip(Path(own), "pump", "00", split, domain, Condition.ANOMALY, "", Kind.MACHINE, start=2.5, seconds=1.0)
    assert own_name(title(3, cut, own)) == f"{Path(own).stem}@2.50s{Path(own).suffix}"


def test_other_names_stay_as_they_are() -> None:
    for name in ("monday.wav at 3 s", "a_section_00_train_normal_0000_x.wav", "section_00_0001.wav"):
        assert own_name(name) == name


def test_what_a_configuration_takes() -> None:
    for path in ("Recordings", "asd.data.Recordings", "asd.data.modules.recordings.Recordings"):
        assert trains_on_own({"data": {"class_path": path}})
    for config in ({}, {"data": None}, {"data": {}}, {"data": {"class_path": "asd.data.ToyADMOS2"}}):
        assert not trains_on_own(config)
