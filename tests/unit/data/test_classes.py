from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from asd.data.classes import ClassTable, SupplementalClasses
from asd.data.clip import Clip, Condition, Domain, Kind, Split
from asd.errors import UserError


def train(
    machine: str = "fan", attributes: str = "", domain: Domain | None = Domain.SOURCE, section: str = "00"
) -> Clip:
    return Clip(Path(f"{machine}.wav"), machine, section, Split.TRAIN, domain, Condition.NORMAL, attributes)


def supplemental(machine: str, kind: Kind) -> Clip:
    return Clip(Path(f"{machine}.wav"), machine, split=Split.SUPPLEMENTAL, kind=kind)


CLIPS = [
    train("gearbox", "pro_Y", Domain.TARGET),
    train("gearbox", "pro_y", Domain.TARGET),
    train("gearbox", "pro_A"),
    train("bearing"),
    train("bearing", domain=Domain.TARGET),
    train("fan", "n_A"),
    train("fan", "n_A", section="01"),
    train("pump", domain=None),
    supplemental("fan", Kind.CLEAN),
    supplemental("gearbox", Kind.CLEAN),
    supplemental("fan", Kind.NOISE),
    supplemental("gearbox", Kind.MACHINE),
]
MACHINES = (
    "bearing/section_00/source", "bearing/section_00/target", "fan/section_00/n_a", "fan/section_01/n_a",
    "gearbox/section_00/pro_a", "gearbox/section_00/pro_y", "pump/section_00",
)  # fmt: skip


def test_classes_are_machine_section_attributes_and_domains_where_hidden() -> None:
    table = ClassTable.build(CLIPS, "none", "none")
    assert table.names == MACHINES
    assert table.describe()[5] == ("gearbox/section_00/pro_y", 2)
    assert sum(count or 0 for _, count in table.describe()) == 8
    assert len(table) == 7


@pytest.mark.parametrize(
    ("mode", "clean", "noise"),
    [
        ("per_machine", ("fan/clean", "gearbox/clean"), ("fan/noise",)),
        ("shared", ("clean",), ("noise",)),
        ("none", (), ()),
        (False, (), ()),
    ],
)
def test_supplemental_classes(mode: SupplementalClasses, clean: tuple[str, ...], noise: tuple[str, ...]) -> None:
    assert ClassTable.build(CLIPS, clean=mode, noise="none").names == tuple(sorted(MACHINES + clean))
    assert ClassTable.build(CLIPS, clean="none", noise=mode).names == tuple(sorted(MACHINES + noise))
    table = ClassTable.build(CLIPS, mode, mode)
    expected = {"per_machine": "fan/clean", "shared": "clean"}.get(str(mode))
    label = table.label(supplemental("fan", Kind.CLEAN))
    assert (table.names[label] if label >= 0 else None) == expected
    assert table.label(supplemental("fan", Kind.MACHINE)) == -1


def test_equal_attributes_of_two_domains_are_two_classes_where_that_is_asked_for() -> None:
    clips = [train("fan", "n_A"), train("fan", "n_A", Domain.TARGET), train("fan"), train("fan", "n_B", None)]
    plain, divided = ClassTable.build(clips), ClassTable.build(clips, domains=True)
    assert plain.names == ("fan/section_00/n_a", "fan/section_00/n_b", "fan/section_00/source")
    assert divided.names == (
        "fan/section_00/n_b", "fan/section_00/source", "fan/section_00/source/n_a", "fan/section_00/target/n_a",
    )  # fmt: skip
    assert [divided.label(clip) for clip in clips] == [2, 3, 1, 0]
    assert [plain.label(clip) for clip in clips] == [0, 0, 2, 1], "a table knows how it was made"
    assert {kind for _, kind in divided.origins()} == {Kind.MACHINE}


def test_labels_are_the_positions_of_the_names() -> None:
    table = ClassTable.build(CLIPS, "per_machine", "shared")
    labels = [table.label(clip) for clip in CLIPS]
    assert labels[0] == labels[1] == table.names.index("gearbox/section_00/pro_y")
    assert set(labels) == {-1, *range(len(table))}
    assert ClassTable(table.names).label(CLIPS[8]) == labels[8], "names alone, as a checkpoint keeps them, are enough"


def test_test_clips_and_anomalies_never_make_or_get_a_class() -> None:
    table = ClassTable.build(CLIPS)
    unseen = train("fan", "n_B")
    tested = [replace(clip, split=Split.TEST) for clip in [unseen, *CLIPS]]
    anomalous = [replace(clip, condition=Condition.ANOMALY) for clip in [unseen, *CLIPS[:8]]]
    assert ClassTable.build([*CLIPS, *tested, *anomalous]) == table
    assert {table.label(clip) for clip in [unseen, *tested, *anomalous]} == {-1}


def test_the_order_of_the_clips_does_not_matter() -> None:
    tables = {ClassTable.build(order).names for order in itertools.islice(itertools.permutations(CLIPS), 200)}
    assert len(tables) == 1


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(UserError, match="noise classes must be per_machine, shared or none, got 'both'"):
        ClassTable.build(CLIPS, noise="both")  # type: ignore[arg-type]


def test_differing_tables_are_refused_with_the_classes_that_differ() -> None:
    data = ClassTable.build(CLIPS)
    data.check_same(ClassTable(data.names))
    with pytest.raises(UserError, match=r"only in the data: fan/noise; only in the checkpoint: pump/noise"):
        data.check_same(ClassTable((*(name for name in data.names if name != "fan/noise"), "pump/noise")))
    with pytest.raises(UserError, match=r"only in the data: bearing/section_00/source, .* and 6 more\)"):
        data.check_same(ClassTable(()))
    with pytest.raises(UserError, match="the same ones in another order"):
        data.check_same(ClassTable(data.names[::-1]))


def test_counts_are_unknown_for_names_alone() -> None:
    assert ClassTable(("a", "b")).describe() == [("a", None), ("b", None)]


def test_each_class_has_a_machine_and_a_kind() -> None:
    clips = [*CLIPS, train("fan", "speed/clean"), train("valve", "noise")]
    for clean, noise in itertools.product(("per_machine", "shared", "none"), repeat=2):
        table = ClassTable.build(clips, clean, noise)
        origins = dict(zip(table.names, table.origins(), strict=True))
        for clip in clips:
            if (label := table.label(clip)) >= 0:
                shared = clip.kind != Kind.MACHINE and (clean if clip.kind == Kind.CLEAN else noise) == "shared"
                assert origins[table.names[label]] == ("" if shared else clip.machine, clip.kind)
