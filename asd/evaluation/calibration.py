"""What is known of a detector's scores on normal training clips: thresholds, and the false alarms to be expected.

A run folder holds it as ``calibration.json``, for the tables of decisions and for ensembles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asd.errors import UserError
from asd.evaluation.false_alarms import FalseAlarms
from asd.machine import MachineSection
from asd.run_folder import RunFolder
from asd.scoring.limits import Limits
from asd.utils import strict_json

if TYPE_CHECKING:
    from asd.scoring.sections import SectionScorers


@dataclass(frozen=True)
class Calibration:
    """Of one machine and section.

    Attributes:
        threshold: Above it, an alarm.
        abstain: Above it and up to the threshold, no decision.
        source: Held-out scores of the normal clips of the source domain that the threshold is set by.
        target: The same of the target domain.
        source_blocks: The block of each of the first; empty: each is its own.
        target_blocks: The same of the others.
    """

    threshold: float
    abstain: float
    source: tuple[float, ...]
    target: tuple[float, ...]
    source_blocks: tuple[int, ...] = ()
    target_blocks: tuple[int, ...] = ()

    @property
    def limits(self) -> Limits:
        """Where decisions change."""
        return Limits(self.threshold, self.abstain)

    def expected(self, domain: str | None = None, limit: float | None = None) -> FalseAlarms:
        """What the clips of a domain, or of both, let expect of new ones, above the threshold or another limit."""
        limit = self.threshold if limit is None else limit
        scores, blocks = list[float](), list[int]()
        for name in ("source", "target") if domain is None else (domain,):
            own: tuple[float, ...] = getattr(self, name)
            scores += own
            # Without blocks, each clip gets a number of its own.
            blocks += getattr(self, f"{name}_blocks") or [-1 - len(blocks) - row for row in range(len(own))]
        return FalseAlarms.of([score > limit for score in scores], blocks)


@dataclass(frozen=True)
class Calibrations:
    """Of all machines of a run.

    Attributes:
        machines: By machine and section, such as ``fan_section_00``.
        seconds: Length of a clip; nan where it is not known.
    """

    machines: Mapping[str, Calibration]
    seconds: float

    def of(self, name: str) -> Calibration | None:
        """That of a machine by the name that results go by: the machine alone, where it has one section."""
        if name in self.machines:
            return self.machines[name]
        own = [one for key, one in self.machines.items() if MachineSection.parse(key).machine == name]
        return own[0] if len(own) == 1 else None


def of_scorers(scorers: SectionScorers, seconds: float) -> Calibrations:
    """What the fitted scorers of a run know."""
    machines = {}
    for number, name in enumerate(scorers.names):
        clips = scorers.normal_clips(number)
        target = clips.target.bool()
        scores = [tuple(clips.scores[flags].tolist()) for flags in (~target, target)]
        blocks = [tuple(clips.block[flags].tolist()) if len(clips.block) else () for flags in (~target, target)]
        machines[name] = Calibration(*scorers.limits(number), *scores, *blocks)
    return Calibrations(machines, seconds)


def to_text(calibrations: Calibrations) -> str:
    """As JSON."""
    machines = {name: asdict(one) for name, one in calibrations.machines.items()}
    return strict_json.dumps({"seconds": calibrations.seconds, "machines": machines})


def read(folder: Path) -> Calibrations | None:
    """Those of a run folder, or of the run whose folder of scores it is; ``None`` where there are none.

    Raises:
        UserError: The file cannot be understood, or holds a number that is not finite.
    """
    places = (RunFolder(one).calibration for one in (folder, folder.parent))
    path = next((one for one in places if one.is_file()), None)
    if path is None:
        return None
    try:
        content: Any = strict_json.loads(path.read_text(encoding="utf-8"))
        number = strict_json.finite
        machines = {
            name: Calibration(
                number(one["threshold"]), number(one["abstain"] if "abstain" in one else one["doubt"]),
                tuple(map(number, one["source"])), tuple(map(number, one["target"])),
                *(_blocks(one, domain) for domain in ("source", "target")),
            )
            for name, one in content["machines"].items()
        }  # fmt: skip
        seconds = content["seconds"]
        return Calibrations(machines, math.nan if seconds is None else number(seconds))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}); write it anew with `asd test`") from error


def _blocks(machine: dict[str, Any], domain: str) -> tuple[int, ...]:
    found = tuple(map(int, machine.get(f"{domain}_blocks", ())))
    if found and len(found) != len(machine[domain]):
        raise ValueError(f"{len(found)} blocks of {len(machine[domain])} clips")
    return found


def merged(folders: Sequence[Path]) -> Calibrations | None:
    """Those of several runs on different machines; ``None`` where one of them keeps none."""
    found = [read(folder) for folder in folders]
    known = [one for one in found if one is not None]
    if len(known) < len(found) or not known:
        return None
    return Calibrations({name: own for one in known for name, own in one.machines.items()}, known[0].seconds)
