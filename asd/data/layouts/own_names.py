"""What one's own recordings are called where people read it: as their files are, without the challenge's form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from asd.data.clip import Domain, Split

_FORM = re.compile(rf"\Asection_\d+_(?:(?:{'|'.join(Domain)})_)?(?:{'|'.join(Split)})_[a-z]+_\d{{4,}}_")


def trains_on_own(config: Mapping[str, Any]) -> bool:
    """Whether the configuration of a run takes `Recordings`: its people need not know the challenge's words."""
    data = config.get("data")
    named = data.get("class_path") if isinstance(data, Mapping) else None
    return str(named).rpartition(".")[2] == "Recordings"


def own_name(title: str) -> str:
    """The file's own name and place in a title of `asd.data.layouts.recordings.title`; another title as it is."""
    return _FORM.sub("", title)
