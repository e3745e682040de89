"""Embeddings on disk: embed once, score often.

A store is a folder with ``reference.safetensors``, the normal training clips, and ``query.safetensors``, the test
clips. Each file holds the embeddings ``(N, E)`` and, as JSON, a row of facts for each clip: in its header, or where
these are very many as the tensor ``clips`` of bytes. It may hold other embeddings of the same clips, each by its name.
Reading maps the file, which may be larger than memory; nothing in it can be run as code.
"""

from __future__ import annotations

import difflib
import json
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from asd.data.clip import Clip, Condition, Domain
from asd.errors import UserError
from asd.evaluation.clip_scores import ClipScore
from asd.machine import MachineSection, sections_of
from asd.run_folder import RunFolder
from asd.scoring.in_parts import are_finite
from asd.scoring.limits import Decision
from asd.utils import strict_json
from asd.utils.files import is_plain, written
from asd.utils.pairs import check_names, first_few

SUBSETS = ("reference", "query")
_VERSION = 1
_OTHER = "embeddings/"
"""Before the names of other vectors than that which is scored."""
_CLIPS = "clips"
_LONGEST_FACTS = 50_000_000
"""Bytes of facts in a header, which safetensors allows 100 MB."""


@dataclass(frozen=True, slots=True)
class StoredClip:
    """The facts of an embedded clip.

    Attributes:
        name: Base name of the audio file.
        machine: Machine type.
        section: Two digits.
        domain: ``source``, ``target`` or ``None``.
        condition: ``normal``, ``anomaly`` or ``None``.
        attributes: The attribute string; empty where hidden or absent.
        group: Clips of one recording share a group; empty: a recording of its own.
        calibration: The encoder was not trained on it; thresholds are set by it.
    """

    name: str
    machine: str
    section: str
    domain: str | None
    condition: str | None
    attributes: str
    group: str
    calibration: bool = False

    @property
    def machine_section(self) -> MachineSection:
        """The machine and section, whose clips are scored together."""
        return MachineSection(self.machine, self.section)

    @classmethod
    def of(cls, clip: Clip) -> StoredClip:
        """The facts of a clip of the data set."""
        domain = None if clip.domain is None else clip.domain.value
        condition = None if clip.condition is None else clip.condition.value
        return cls(
            clip.title, clip.machine, clip.section, domain, condition, clip.attributes, clip.group, clip.calibration
        )

    def scored(self, score: float, decision: Decision | None = None) -> ClipScore:
        """The clip with a score, and what was decided by it."""
        plain = ClipScore(self.name, self.machine, self.section, score, domain=self.domain, condition=self.condition)
        return plain if decision is None else plain.decided(decision)


@dataclass(frozen=True)
class Stored:
    """One file of a store.

    Attributes:
        embeddings: ``(N, E)`` float32.
        clips: Facts of the ``N`` clips.
        fingerprint: Of the weights that made the embeddings.
        seconds: Length of the clips.
        what: Which vector of a clip the embeddings are, as the adapter's `embedding` says it; empty where not known.
        bands: How many bands lie side by side in them.
        others: Other vectors of the same clips, by the same names: embeddings ``(N, E)`` and how many bands they have.
        origin: What the pooled vectors came from, as `asd.training.encoded` says it; empty where not known.
    """

    embeddings: Tensor
    clips: tuple[StoredClip, ...]
    fingerprint: str
    seconds: float
    what: str = ""
    bands: int = 1
    others: Mapping[str, tuple[Tensor, int]] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Which vectors of a clip there are, that of `embeddings` first."""
        return (self.what, *self.others)

    def of(self, what: str) -> Stored:
        """With another vector, which is there, in the place of the embeddings, and without the others."""
        embeddings, bands = (self.embeddings, self.bands) if what == self.what else self.others[what]
        return replace(self, embeddings=embeddings, what=what, bands=bands, others={})


@dataclass(frozen=True)
class Store:
    """Reference and query clips, embedded by the same weights."""

    reference: Stored
    query: Stored

    def of(self, what: str) -> Store:
        """With another vector of each clip as the embeddings.

        Raises:
            UserError: The store does not hold it.
        """
        names = self.query.names
        if what not in names:
            near = difflib.get_close_matches(what, names, n=1)
            raise UserError(
                f"the store holds no {what!r}{f'; did you mean {near[0]}?' if near else ';'} it has "
                f"{', '.join(name or 'embeddings without a name' for name in names)}; store others with "
                "`asd predict --outputs.also NAMES`"
            )
        return Store(self.reference.of(what), self.query.of(what))


def write(path: Path, stored: Stored) -> Path:
    """Write one file of a store, whole or not at all.

    Raises:
        UserError: The file cannot be written.
    """
    facts = json.dumps([asdict(clip) for clip in stored.clips], ensure_ascii=False)
    as_bytes = bytearray(facts.encode())
    header = {
        "asd_store": str(_VERSION),
        "fingerprint": stored.fingerprint,
        "seconds": repr(stored.seconds),
        _CLIPS: facts,
        "what": stored.what,
        "origin": strict_json.dumps(dict(stored.origin)),
        "bands": json.dumps({stored.what: stored.bands, **{name: one[1] for name, one in stored.others.items()}}),
    }
    tensors = {"embeddings": stored.embeddings, **{_OTHER + name: one[0] for name, one in stored.others.items()}}
    if len(as_bytes) > _LONGEST_FACTS:
        del header[_CLIPS]
        tensors[_CLIPS] = torch.frombuffer(as_bytes, dtype=torch.uint8)
    try:
        with written(path) as place:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, place, header)
            mask = os.umask(0)
            os.umask(mask)
            place.chmod(0o666 & ~mask)  # safetensors writes for the owner alone
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write {path}: {error}; free space or choose another folder") from error
    return path


def read_file(path: Path) -> Stored:
    """Map one file of a store into memory.

    Raises:
        UserError: Missing, truncated, no file of a store, or embeddings that are not finite.
    """
    if not path.is_file():
        raise UserError(f"no file {path}; `asd predict --ckpt_path CHECKPOINT` writes a folder of embeddings")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            if header.get("asd_store") != str(_VERSION):
                raise UserError(f"{path} is no file of embeddings of this version; write it anew with `asd predict`")
            embeddings = file.get_tensor("embeddings")
            seconds = float(header["seconds"])
            facts = header[_CLIPS] if _CLIPS in header else file.get_tensor(_CLIPS).numpy().tobytes()
            clips = tuple(_checked(StoredClip(**one)) for one in strict_json.loads(facts))
            mark = header["fingerprint"]
            # Files from before there were several have no names.
            what, bands = header.get("what", ""), dict(strict_json.loads(header.get("bands", "{}")))
            names = [key.removeprefix(_OTHER) for key in file.keys() if key.startswith(_OTHER)]  # noqa: SIM118
            origin = dict(strict_json.loads(header.get("origin", "{}")))
            others = {name: (file.get_tensor(_OTHER + name), int(bands[name])) for name in sorted(names)}
            stored = Stored(embeddings, clips, mark, seconds, what, int(bands.get(what, 1)), others, origin)
    except UserError:
        raise
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}); write it anew with `asd predict`") from error
    for rows, count in ((embeddings, stored.bands), *others.values()):
        if rows.ndim != 2 or len(clips) != len(rows):
            raise UserError(f"{path}: {len(rows)} embeddings for {len(clips)} clips; write it anew with `asd predict`")
        if count < 1 or rows.shape[1] % count:
            raise UserError(f"{path}: {rows.shape[1]} columns are no {count} bands; write it anew with `asd predict`")
        bad = [clip.name for clip, row in zip(clips, are_finite(rows).tolist(), strict=True) if not row]
        if bad:
            raise UserError(
                f"{path}: the embeddings of {first_few(bad)} are not finite; embed in float32, or train anew"
            )
    return stored


def _checked(clip: StoredClip) -> StoredClip:
    """The clip; raises `ValueError` for facts that no clip has: its machine becomes part of the names of files."""
    words = (clip.name, clip.machine, clip.section, clip.attributes, clip.group)
    if not all(isinstance(one, str) for one in words) or not is_plain(clip.machine) or not clip.section.isdecimal():
        raise ValueError(f"{clip.machine!r}, section {clip.section!r}, is no machine")
    if not isinstance(clip.calibration, bool):
        raise ValueError(f"{clip.name}: calibration is {clip.calibration!r}")
    if clip.domain not in (None, *Domain) or clip.condition not in (None, *Condition):
        raise ValueError(f"{clip.name}: its domain or condition is none")
    return clip


def _widths(stored: Stored) -> dict[str, tuple[int, int]]:
    every = {stored.what: (stored.embeddings, stored.bands), **stored.others}
    return {name: (rows.shape[1], bands) for name, (rows, bands) in every.items()}


def read(folder: Path) -> Store:
    """The store in a folder, or in the folder ``embeddings`` of a run.

    Raises:
        UserError: A file that cannot be used, files of different checkpoints, or test clips of a machine without
            reference clips.
    """
    if RunFolder(folder).embeddings.is_dir():
        folder = RunFolder(folder).embeddings
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; `asd predict --ckpt_path CHECKPOINT` writes one of embeddings")
    reference, query = (read_file(folder / f"{name}.safetensors") for name in SUBSETS)
    if reference.fingerprint != query.fingerprint or _widths(reference) != _widths(query):
        raise UserError(
            f"{folder}: reference and query clips were embedded by different checkpoints; write both anew with "
            "`asd predict`"
        )
    missing = set(sections_of(query.clips)) - set(sections_of(reference.clips))
    if missing:
        raise UserError(
            f"{folder}: no reference clips of {', '.join(sorted(map(str, missing)))}; add its training clips"
        )
    for part, name in ((reference, "reference"), (query, "query")):
        names = defaultdict(list)
        for clip in part.clips:
            names[clip.machine_section].append(clip.name)
        for section in sorted(names, key=str):
            check_names(names[section], f"{folder}, {name} clips of {section}")
    return Store(reference, query)
