"""What the check counts, for who knows the challenge and for who does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asd.data.check.check import Group, Report
from asd.data.check.counts import counts

GROUP = Group(
    "dev_data", "fan", "00", "train", "source", 12, 12, 0, 3, 1, (16000, 44100), (1,), (1.0, 10.0), (-31.4, -25.0)
)


def report(groups: Sequence[Group], own: bool = False) -> Report:
    return Report(Path("data"), own, tuple(groups), (), (), ())


def test_every_count_stands_under_its_name() -> None:
    headers, rows, names = counts(report([GROUP]))
    assert list(headers[:names]) == ["machine", "section", "split", "domain"]
    assert dict(zip(headers, rows[0], strict=True)) == {
        "machine": "fan", "section": "00", "split": "train", "domain": "source", "clips": "12", "normal": "12",
        "anomaly": "0", "attributes": "3", "hidden": "1", "Hz": "16000, 44100", "channels": "1",
        "seconds": "1.00 to 10.00", "level in dB": "-31 to -25",
    }  # fmt: skip


def test_of_several_subsets_each_is_named() -> None:
    _, rows, _ = counts(report([GROUP, replace(GROUP, subset="eval_data")]))
    assert [row[0] for row in rows] == ["dev_data/fan", "eval_data/fan"]


def test_own_recordings_have_no_columns_of_the_challenge() -> None:
    own = replace(GROUP, part="-")
    headers, rows, names = counts(report([own], own=True))
    assert list(headers[:names]) == ["machine", "split"]
    assert "hidden" not in headers
    assert len(rows[0]) == len(headers)
    headers, _, names = counts(report([own, GROUP], own=True))
    assert list(headers[:names]) == ["machine", "split", "domain"], "where their table of attributes names domains"
    assert counts(report([])).rows == []
