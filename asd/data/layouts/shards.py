"""Data sets as tar archives, for clusters and object stores.

A shard is an uncompressed tar file in the format of webdataset: of each clip the audio file as it is, ``<number>.wav``,
and its facts, ``<number>.json``. ``index.jsonl`` beside the shards says where each clip lies, so that any clip is read
in place: a sampler deals rows to ranks and workers as it does with files, none is lost and none comes twice, whatever
their number. Shards that another program wrote are indexed when they are first read.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asd.data.audio.decoding import read_header
from asd.data.audio.tar_members import is_remote, read_range
from asd.data.clip import Clip, Condition, Domain, Kind, Member, Split
from asd.errors import UserError
from asd.utils.files import is_plain, replace_text, written

INDEX = "index.jsonl"
_AUDIO = (".wav", ".flac", ".ogg", ".mp3")
_AT_ONCE = 1 << 26
_SECTION = re.compile(r"\d{1,6}")
_LARGEST = 1 << 50


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        shards: Number of archives.
        clips: Number of clips.
    """

    shards: int
    clips: int


def write_shards(
    clips: Sequence[Clip], out: Path, size: int, on_clip: Callable[[int, int], None] | None = None
) -> Written:
    """Pack the files of `clips` into archives of about `size` bytes, the index last.

    A shard that a stopped run left whole is written again; without the index nothing is taken for a data set.

    Args:
        clips: The clips, in the order they are to lie in.
        out: The folder; must be new, or without index.
        size: Bytes of an archive after which the next one is begun.
        on_clip: Called with the number of clips written and of all.

    Raises:
        UserError: The folder holds shards already, a file cannot be used, or nothing can be written there.
    """
    if (out / INDEX).exists():
        raise UserError(f"{out} holds shards already; choose another folder, or remove it")
    lines: list[str] = []
    shards = 0
    try:
        out.mkdir(parents=True, exist_ok=True)
        left = list(enumerate(clips))[::-1]
        while left:
            name = f"shard-{shards:06d}.tar"
            with written(out / name) as place, tarfile.open(place, "w", format=tarfile.USTAR_FORMAT) as tar:
                while left and tar.offset < size:
                    number, clip = left.pop()
                    lines.append(_add(tar, name, number, clip))
                    if on_clip is not None:
                        on_clip(number + 1, len(clips))
            shards += 1
        replace_text(out / INDEX, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise UserError(
            f"cannot write {out}: {error.strerror or error}; free space or choose another folder"
        ) from error
    return Written(shards, len(clips))


def read_shards(root: str) -> list[Clip]:
    """Every clip of the shards in a folder or below a URL.

    Raises:
        UserError: No shards there, or an index that is broken or names shards that are not there.
    """
    root = root.rstrip("/")
    if is_remote(root):
        text = _remote_index(root)
    else:
        folder = Path(root)
        if not (folder / INDEX).is_file():
            _index(folder)
        text = _local_index(folder)
        there = {one.name for one in folder.glob("*.tar")}
    clips = []
    for number, line in enumerate(filter(None, text.split("\n")), 1):
        try:
            shard, clip = _clip(root, json.loads(line))
        except UserError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{root}/{INDEX}, line {number}: broken ({error}); write the shards anew") from error
        if not is_remote(root) and shard not in there:
            raise UserError(f"{root}/{shard} is in {INDEX} but not there; copy it again")
        clips.append(clip)
    if not clips:
        raise UserError(f"{root}/{INDEX} lists no clip; write the shards anew with `asd data shard`")
    return clips


def _add(tar: tarfile.TarFile, shard: str, number: int, clip: Clip) -> str:
    header = read_header(clip.path)
    facts = _facts(clip) | {"sample_rate": header.sample_rate, "channels": header.channels, "frames": header.frames}
    key = f"{number:09d}"
    with clip.path.open("rb") as file:
        info = tarfile.TarInfo(f"{key}{clip.path.suffix.casefold()}")
        info.size = os.fstat(file.fileno()).st_size
        offset = tar.offset + tarfile.BLOCKSIZE
        tar.addfile(info, file)
    text = json.dumps(facts, ensure_ascii=False).encode(errors="surrogateescape")
    beside = tarfile.TarInfo(f"{key}.json")
    beside.size = len(text)
    tar.addfile(beside, io.BytesIO(text))
    return json.dumps({"shard": shard, "offset": offset, "size": info.size, **facts}, ensure_ascii=False)


def _facts(clip: Clip) -> dict[str, Any]:
    return {
        "name": clip.title,
        "machine": clip.machine,
        "section": clip.section,
        "split": clip.split,
        "domain": clip.domain,
        "condition": clip.condition,
        "attributes": clip.attributes,
        "kind": clip.kind,
        "group": clip.group,
    }


def _clip(root: str, facts: dict[str, Any]) -> tuple[str, Clip]:
    shard = facts["shard"]
    # A clip's own name holds backslashes where what cannot be shown is escaped.
    called = {**facts, "name": facts["name"].replace("\\", "") if isinstance(facts["name"], str) else None}
    for name in ("shard", "machine", "name"):
        if not isinstance(called[name], str) or not is_plain(called[name]):
            raise ValueError(f"{name} is {str(facts[name])[:100]!r}, which no file can be called")
    if not _SECTION.fullmatch(str(facts["section"])):
        raise ValueError(f"section is {str(facts['section'])[:100]!r}, where digits are due")
    if not isinstance(facts["attributes"], str) or not isinstance(facts.get("group", ""), str):
        raise ValueError("attributes and group are text")
    numbers = [facts[name] for name in ("offset", "size", "sample_rate", "channels", "frames")]
    if not all(type(one) is int and 0 <= one < _LARGEST for one in numbers):
        raise ValueError(f"offset, size, sample_rate, channels and frames are {numbers}, where counts are due")
    member = Member(f"{root}/{shard}", *numbers)
    split = Split(facts["split"])
    return shard, Clip(
        Path(facts["machine"], split, facts["name"]),
        facts["machine"],
        str(facts["section"]),
        split,
        Domain(facts["domain"]) if facts["domain"] else None,
        Condition(facts["condition"]) if facts["condition"] else None,
        facts["attributes"],
        Kind(facts["kind"]),
        facts.get("group", ""),
        name=facts["name"],
        member=member,
    )


def _local_index(folder: Path) -> str:
    try:
        return (folder / INDEX).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {folder / INDEX} ({error}); remove it, and it is made anew") from error


def _remote_index(root: str) -> str:
    held = b""
    try:
        while True:
            more = read_range(f"{root}/{INDEX}", len(held), _AT_ONCE)
            held += more
            if len(more) < _AT_ONCE:
                return held.decode()
    except UserError:
        raise
    except (OSError, ImportError, ValueError) as error:
        raise UserError(f"cannot read {root}/{INDEX} ({type(error).__name__}: {error}); check the address") from error


def _index(folder: Path) -> None:
    shards = sorted(folder.glob("*.tar"))
    if not shards:
        raise UserError(f"no shards (*.tar) in {folder}; `asd data shard ROOT {folder}` writes them")
    try:
        rows = [json.dumps(row, ensure_ascii=False) for shard in shards for row in _members(shard)]
        replace_text(folder / INDEX, "".join(f"{row}\n" for row in rows))
    except UserError:
        raise
    except (OSError, tarfile.TarError, ValueError, RecursionError) as error:
        raise UserError(f"cannot index {folder} ({error}); copy the shards again") from error


def _members(shard: Path) -> Iterator[dict[str, Any]]:
    """Where each clip of a shard lies and what its facts are."""
    audio: dict[str, tarfile.TarInfo] = {}
    facts: dict[str, dict[str, Any]] = {}
    with tarfile.open(shard, "r:") as tar:
        for info in tar:
            key, _, suffix = info.name.partition(".")
            if f".{suffix}".casefold() in _AUDIO:
                audio[key] = info
            elif suffix == "json" and (file := tar.extractfile(info)) is not None:
                facts[key] = json.load(file)
                if not isinstance(facts[key], dict):
                    raise ValueError(f"{shard.name}: {info.name} holds no facts by name")
    for key, info in audio.items():
        if key not in facts:
            raise UserError(f"{shard}: no {key}.json beside {info.name}; write the shards with `asd data shard`")
        missing = {"name", "machine", "section", "split", "sample_rate", "channels", "frames"} - set(facts[key])
        if missing:
            raise UserError(f"{shard}: {key}.json lacks {', '.join(sorted(missing))}; write it with `asd data shard`")
        defaults = {"domain": None, "condition": None, "attributes": "", "kind": "machine", "group": ""}
        yield {"shard": shard.name, "offset": info.offset_data, "size": info.size, **defaults, **facts[key]}
