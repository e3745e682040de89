"""What is known of a clip beyond its score: from its name, or from a truth list for names that do not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from asd.data.layouts.names import parse_name
from asd.errors import UserError
from asd.machine import MachineSection
from asd.utils.pairs import read_pairs
from asd.utils.sheet import read_sheet

DOMAINS = ("source", "target")
CONDITIONS = ("normal", "anomaly")
_ALLOWED_VALUES = {"0": False, "1": True}


@dataclass(frozen=True)
class Label:
    """Domain and condition of a clip; ``None`` where unknown."""

    domain: str | None = None
    condition: str | None = None


def label_of(name: str) -> Label:
    """What the name of a file says, by the grammar that training reads; nothing where it does not follow it."""
    said = parse_name(PurePath(name).stem)
    if said is None:
        return Label()
    return Label(said.domain and said.domain.value, said.condition and said.condition.value)


@dataclass
class MachineTruth:
    """Labels of one machine's clips by the plain name, which is what a score file holds."""

    labels: dict[str, Label] = field(default_factory=dict)
    plain_names: dict[str, str] = field(default_factory=dict)

    def plain(self, name: str) -> str | None:
        """The plain name of a clip given by its plain or its labelled name; ``None`` if unknown."""
        return name if name in self.labels else self.plain_names.get(name)


Truth = Mapping[str, MachineTruth]


def read_truth(path: Path) -> Truth:
    """Read a truth list, or the folder of an evaluator that holds ``ground_truth_data`` and ``ground_truth_domain``.

    A line of the list with one field is a machine; the lines after it are ``plain name,labelled name``, with 0
    (normal) or 1 (anomaly) as a third field where the labelled name does not say (2020).

    Raises:
        UserError: Missing, not such a list, a label that cannot be told, or a clip listed twice.
    """
    try:
        return _read_folder(path) if path.is_dir() else _read_list(path)
    except FileNotFoundError as error:
        raise UserError(f"no truth list {error.filename or path}; give the challenge's eval_data_list file") from error


def _read_list(path: Path) -> Truth:
    truth: dict[str, MachineTruth] = {}
    current: MachineTruth | None = None
    for where, fields in read_sheet(path):
        fields = [one for one in fields if one]
        if len(fields) == 1:
            current = truth.setdefault(fields[0], MachineTruth())
            continue
        if current is None or len(fields) > 3:
            raise UserError(f"{where}: expected a machine, or `plain name,labelled name` after a machine; got {fields}")
        label = _listed_label(fields, where)
        plain, labelled = fields[:2]
        if plain in current.labels:
            raise UserError(f"{where}: {plain} is listed twice; keep one line per clip")
        current.labels[plain] = label
        current.plain_names[labelled] = plain
    if not any(one.labels for one in truth.values()):
        raise UserError(f"{path} lists no clip; expected a machine, then `plain name,labelled name` lines")
    return truth


def _listed_label(fields: list[str], where: str) -> Label:
    said = label_of(fields[1])
    condition = said.condition
    if len(fields) == 3:
        if fields[2] not in _ALLOWED_VALUES:
            raise UserError(f"{where}: the third field is 0 (normal) or 1 (anomaly), not {fields[2]!r}")
        condition = CONDITIONS[_ALLOWED_VALUES[fields[2]]]
        if said.condition not in (None, condition):
            raise UserError(f"{where}: the name says {said.condition}, the third field {condition}; mend the list")
    if condition is None:
        raise UserError(f"{where}: {fields[1]} says neither normal nor anomaly; put the labelled name there")
    return Label(said.domain or label_of(fields[0]).domain, condition)


def _read_folder(path: Path) -> Truth:
    truth: dict[str, MachineTruth] = {}
    files = sorted((path / "ground_truth_data").glob("ground_truth_*_section_*_test.csv"))
    if not files:
        raise UserError(
            f"{path} holds no ground_truth_data/ground_truth_<machine>_section_<NN>_test.csv; give a truth list"
        )
    for file in files:
        machine = MachineSection.parse(file.name.removeprefix("ground_truth_")).machine
        domain_file = path / "ground_truth_domain" / file.name
        conditions, domains = read_pairs(file, _flag), read_pairs(domain_file, _flag)
        if conditions.keys() != domains.keys():
            raise UserError(f"{file} and {domain_file} list different clips; take both from one evaluator")
        one = truth.setdefault(machine, MachineTruth())
        for name, anomalous in conditions.items():
            one.labels[name] = Label(DOMAINS[domains[name]], CONDITIONS[anomalous])
    return truth


def _flag(text: str) -> bool:
    if text not in _ALLOWED_VALUES:
        raise ValueError("0 or 1")
    return _ALLOWED_VALUES[text]
