"""A comparison from its plan: what is there already is found again by what it was made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from asd._version import __version__
from asd.comparison.embedding import SEED, Pass, embed, read_facts
from asd.comparison.encoders import Choice, weights_files
from asd.comparison.results import Compared, Comparison
from asd.comparison.scoring import Scoring, read_rows, score
from asd.comparison.sharing import Part, Telling, share
from asd.data.datamodule import ClipDataModule
from asd.described import described
from asd.evaluation.back_ends import describe
from asd.evaluation.embedding_store import StoredClip

_LETTERS = 12
"""Of a checksum in the name of a folder or a file."""


@dataclass(frozen=True)
class Plan:
    """What is compared on what, and how.

    Attributes:
        encoders: The encoders.
        data: The data module, set up.
        what: Words for the vectors of each clip, see `asd.comparison.encoders.vectors`.
        back_ends: As a grid has them; encoders are compared by the last.
        out: Gets a folder for each encoder.
        precision: Of the trainer.
        processes: How many encoders are worked at at a time.
        bar: Show how far the one that is worked at is.
    """

    encoders: Sequence[Choice]
    data: ClipDataModule
    what: Sequence[str]
    back_ends: Sequence[dict[str, Any]]
    out: Path
    precision: str = "32-true"
    processes: int = 1
    bar: bool = False

    @cached_property
    def folders(self) -> dict[str, Path]:
        """The folder of each encoder by its name: of other weights, data or settings it is another one."""
        return {one.name: self.out / f"{one.title}-{self._made_of(one)}" for one in self.encoders}

    @property
    def there(self) -> int:
        """How many encoders have embedded the data already."""
        return sum(read_facts(folder) is not None for folder in self.folders.values())

    def _made_of(self, one: Choice) -> str:
        options = described(self.data)
        options["init_args"].pop("root", None)  # what lies there counts, not where that is
        weights = sorted(weights_files(one.spec))
        return _checksum([__version__, one.spec, weights, options, self._clips, list(self.what), self.precision, SEED])

    @cached_property
    def _clips(self) -> str:
        clips = [*self.data.train_clips, *self.data.reference_clips, *self.data.query_clips]
        files = [Path(clip.path if clip.member is None else clip.member.archive) for clip in clips]
        states = {file: _state(file) for file in set(files)}
        facts = [(asdict(StoredClip.of(clip)), clip.start, clip.seconds) for clip in clips]
        return _checksum([[*fact, *states[file]] for fact, file in zip(facts, files, strict=True)])


def _checksum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:_LETTERS]


def _state(file: Path) -> tuple[int, int]:
    """Size and time of change; zeros for what is no file of this machine."""
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def compare(plan: Plan, telling: Telling) -> Comparison:
    """Embed with every encoder and score its vectors, but for what is there; several programs may share a plan.

    Raises:
        OSError: The folder cannot be written.
    """
    beside = min(plan.processes, len(plan.encoders))
    parts = []
    for one in plan.encoders:
        folder = plan.folders[one.name]
        job = Pass(folder, one.spec, described(plan.data), plan.what, plan.precision, beside, plan.bar)
        done = partial(_has, read_facts, folder)
        parts.append(Part(one.name, f"embedding {one.name}", folder, done, embed, job))
    failed = share(parts, plan.processes, telling)
    folders = {name: folder for name, folder in plan.folders.items() if name not in failed}
    stores = sorted(folders.values())
    made_of = _checksum([__version__, plan.back_ends, [store.name for store in stores]])
    files = {name: folder / f"scored-{made_of}.json" for name, folder in folders.items()}
    parts = []
    for name, folder in folders.items():
        task = Scoring(folder, stores, plan.back_ends, files[name], beside)
        done = partial(_has, read_rows, files[name])
        parts.append(Part(name, f"scoring {name}", folder, done, score, task))
    failed |= share(parts, plan.processes, telling)
    found = []
    for one in plan.encoders:
        rows = None if one.name in failed else read_rows(files[one.name])
        facts = read_facts(plan.folders[one.name])
        found.append(Compared(one.name, facts, rows or (), failed.get(one.name, "")))
    word = "ranking score" if getattr(plan.data, "own", False) else "official score"
    return Comparison(sorted(found, key=lambda one: one.rank), [describe(spec) for spec in plan.back_ends], word)


def _has(read: Any, place: Path) -> bool:
    return read(place) is not None
