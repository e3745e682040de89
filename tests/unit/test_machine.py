"""A machine and its section: one noun, one way to find it."""

from __future__ import annotations

import pytest

from asd.errors import UserError
from asd.machine import MachineSection, find, titles

NAMES = ("bearing_section_00", "fan_section_00", "fan_section_02", "my_section_x_section_01")
KNOWN = tuple(map(MachineSection.parse, NAMES))


@pytest.mark.parametrize(
    ("text", "machine", "section"),
    [("fan_section_00", "fan", "00"), ("a_section_b_section_03", "a_section_b", "03"), ("pump 3", "pump 3", "")],
)
def test_text_goes_there_and_back(text: str, machine: str, section: str) -> None:
    found = MachineSection.parse(text)
    assert found == (machine, section)
    assert str(found) == text


def test_they_are_sorted_as_their_names() -> None:
    assert sorted([KNOWN[2], KNOWN[3], KNOWN[0], KNOWN[1]]) == list(KNOWN)


@pytest.mark.parametrize(
    ("asked", "number"), [("bearing", 0), ("fan_section_02", 2), ("my_section_x", 3), ("my_section_x_section_01", 3)]
)
def test_a_machine_is_found_by_either_name(asked: str, number: int) -> None:
    assert find(asked, KNOWN) == number


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (None, "name the machine, one of bearing, fan_section_00, fan_section_02"),
        ("fan", "fan has several sections: fan_section_00, fan_section_02; name one"),
        ("bering", "does not know 'bering'. Did you mean bearing. It knows bearing, fan, my_section_x"),
        ("zzz", "does not know 'zzz'. It knows bearing"),
    ],
)
def test_what_is_not_there_is_told(asked: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        find(asked, KNOWN)


def test_the_only_one_need_not_be_named() -> None:
    assert find(None, KNOWN[:1]) == 0
    with pytest.raises(UserError, match="one of none"):
        find(None, ())


def test_titles_name_the_section_where_there_are_several() -> None:
    assert list(titles(KNOWN).values()) == ["bearing", "fan_section_00", "fan_section_02", "my_section_x"]
