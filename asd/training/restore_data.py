"""Build the data that a detector was trained on again from what its checkpoint says."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jsonargparse

from asd.data.datamodule import ClipDataModule
from asd.errors import UserError
from asd.trust import trusted_class

_AWAY = re.compile(r"://|^[\\/]{2}")
"""Addresses, and the shares of a network, which a path on Windows may name."""


def data_of(config: dict[str, Any], sample_rate: int, root: Path | str | None = None) -> ClipDataModule:
    """The data module of a configuration, set up for testing.

    Args:
        config: As `restore` returns it.
        sample_rate: Hz of the encoder.
        root: Where the data lies now; ``None``: where it lay.

    Raises:
        UserError: The data cannot be listed, its class is not known, they are no sound, or they lie at an address that
            nobody gave but the configuration.
    """
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ClipDataModule, "data")
    try:
        given, dropped = trusted_data(config["data"])
        if root is not None:
            given["init_args"]["root"] = str(root)
        elif dropped:
            raise UserError(f"they lie at {dropped[0]}, which is not opened because a file says so; give --data ROOT")
        data: ClipDataModule = parser.instantiate_classes(parser.parse_object({"data": given}))["data"]
    except Exception as error:
        raise UserError(f"the data cannot be built again: {' '.join(str(error).split())[:400]}") from error
    data.sample_rate = sample_rate
    data.setup("test")
    if data.encoded is not None:
        raise UserError(
            f"the data are vectors in {data.encoded.place}, not the sound that is needed here; do without it"
        )
    return data


def trusted_data(given: Any, named: Collection[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """The data module that a checkpoint names, without what would be written or asked for elsewhere because it says so.

    Returns:
        Class path and arguments, and the addresses that were left out.

    Raises:
        UserError: See `asd.trust.trusted_class`.
    """
    spec = trusted_class(given, ClipDataModule, "data", named)
    arguments = spec.get("init_args", {})
    away = {name: one for name, one in arguments.items() if isinstance(one, str) and _AWAY.search(one)}
    kept_here = {name: one for name, one in arguments.items() if name not in away}
    return {**spec, "init_args": {**kept_here, "disk_cache": None}}, list(away.values())
