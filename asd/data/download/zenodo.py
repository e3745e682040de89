"""Where each year's data are: records on Zenodo, and what the names of their archives say."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from asd.errors import UserError

ZENODO = "https://zenodo.org"
SUBSETS = ("dev_data", "eval_data")
# Development data; additional training data and evaluation test data, which together are the evaluation set.
RECORDS: Mapping[int, Mapping[str, tuple[int, ...]]] = {
    2020: {"dev_data": (3678171,), "eval_data": (3727685, 3841772)},
    2021: {"dev_data": (4562016,), "eval_data": (4660992, 4884786)},
    2022: {"dev_data": (6355122,), "eval_data": (6462969, 6586456)},
    2023: {"dev_data": (7882613,), "eval_data": (7830345, 7860847)},
    2024: {"dev_data": (10902294,), "eval_data": (11259435, 11363076)},
    2025: {"dev_data": (15097779,), "eval_data": (15392814, 15519362)},
    2026: {"dev_data": (19336329,), "eval_data": (20151556, 20437238)},
}
# dev_fan.zip, dev_data_fan.zip, eval_data_fan_train.zip, eval_data_train_fan.zip, dev_ToyCar_r2.zip
_ARCHIVE = re.compile(
    r"(?:dev_data|dev|eval_data_train|eval_data_test|eval_data)_(?P<machine>[^_]+)(?:_(?:train|test))?"
    r"(?:_r(?P<revision>\d+))?\.zip"
)


@dataclass(frozen=True)
class Archive:
    """One archive of a record.

    Attributes:
        subset: ``dev_data`` or ``eval_data``.
        machine: The machine whose clips are in it.
        name: File name.
        url: Where it is.
        size: Bytes, as the record's listing has them; ``None``: not listed.
        checksum: ``md5:...``, likewise.
    """

    subset: str
    machine: str
    name: str
    url: str
    size: int | None
    checksum: str | None


def machine_of(name: str) -> str | None:
    """The machine of an archive by its file name; ``None`` for other files of a record."""
    found = _ARCHIVE.fullmatch(name)
    return None if found is None else found["machine"]


def list_record(record: int, subset: str, server: str = ZENODO, timeout: float = 30.0) -> list[Archive]:
    """The archives of a record, the newest revision of each.

    Raises:
        UserError: The record cannot be reached, or its listing cannot be understood.
    """
    url = f"{server}/api/records/{record}"
    try:
        request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "asd"})
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            content = json.load(answer)
        return newest(_archive(entry, subset, record, server) for entry in content["files"])
    except urllib.error.HTTPError as error:
        raise UserError(f"{url}: the server answers {error.code} {error.reason}") from error
    except OSError as error:
        raise UserError(f"{url} cannot be reached ({getattr(error, 'reason', error)})") from error
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{url}: the listing cannot be understood ({type(error).__name__})") from error


def newest(archives: Iterable[Archive | None]) -> list[Archive]:
    """Of archives that differ in their revision alone, the newest."""
    best: dict[str, tuple[int, Archive]] = {}
    for archive in archives:
        if archive is None:
            continue
        plain, revision = re.sub(r"_r\d+(?=\.zip$)", "", archive.name), re.search(r"_r(\d+)\.zip$", archive.name)
        number = int(revision[1]) if revision else 1
        if plain not in best or number > best[plain][0]:
            best[plain] = (number, archive)
    return [archive for _, archive in best.values()]


def _archive(entry: Mapping[str, Any], subset: str, record: int, server: str) -> Archive | None:
    name = str(entry["key"])
    machine = machine_of(name)
    if machine is None:
        return None
    links = entry.get("links") or {}
    url = links.get("content") or links.get("self") or f"{server}/records/{record}/files/{name}"
    size, checksum = entry.get("size"), entry.get("checksum")
    return Archive(subset, machine, name, url, None if size is None else int(size), checksum)
