"""The form of an event: what every JSON object has that `asd watch` writes or delivers."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

Event = dict[str, Any]

VERSION = 1
"""Of the schema: raised where a key changes its meaning or goes; new keys are added without."""

NOT_DELIVERED = frozenset({"score", "file", "remark"})
"""Types that are written alone: one for each window or file would be noise where alarms arrive."""


def schema() -> dict[str, Any]:
    """The JSON Schema of an event."""
    loaded: dict[str, Any] = json.loads(files("asd.events").joinpath("event.schema.json").read_text(encoding="utf-8"))
    return loaded
