"""What every data module takes: written once, spelled out in the signature and the description of each class."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, get_args, get_origin, get_type_hints

from asd.data.audio.channels import Channels
from asd.data.classes import SupplementalClasses
from asd.data.dataset import Pad
from asd.data.mixing import NoiseMix
from asd.data.sampling import Balance
from asd.errors import UserError

_INDENT = " " * 4
"""Of what stands below ``Args:``."""

OnBadFile = Literal["stop", "skip"]


class Options(TypedDict, total=False):
    """The types of what `asd.data.datamodule.ClipDataModule` takes and describes."""

    seconds: float
    batch_size: int
    workers: int
    pad: Pad
    channel: Channels | None
    clean_class: SupplementalClasses
    noise_class: SupplementalClasses
    cache_gb: float
    on_bad_file: OnBadFile
    crop_seconds: float | None
    labels: Path | str | None
    balance: Balance
    noise_mix: NoiseMix | None
    disk_cache: Path | str | None
    calibration: float
    band: float | Literal["shared"] | None
    channels: Channels | None
    far_noise: float
    domain_classes: bool


def check_option(name: str, value: object, holds: bool, allowed: str) -> None:
    """Raise `UserError` for the value of an option that cannot be."""
    if not holds:
        raise UserError(f"data.{name} must be {allowed}, got {value!r}")


def spell_out(cls: type, base: type) -> None:
    """Put the options of `base` into the signature and the description of a class that takes them as ``**common``.

    Type checkers follow ``**common: Unpack[Options]``; what reads signatures as the program runs, such as ``help``, the
    command line and documentation, does not.
    """
    init = vars(cls).get("__init__")
    taken = _unpacked(init)
    if init is None or taken is None:
        return
    signature, hints = inspect.signature(init), get_type_hints(init)
    own = [one for one in signature.parameters.values() if one.kind != one.VAR_KEYWORD]
    free = taken - {one.name for one in own}
    usual = inspect.signature(base).parameters.values()
    common = [one.replace(kind=one.KEYWORD_ONLY) for one in usual if one.name in free]
    types = {**get_type_hints(base.__init__), **hints}  # type: ignore[misc]
    every = [one.replace(annotation=types.get(one.name, one.annotation)) for one in (*own, *common)]
    init.__dict__["__signature__"] = inspect.Signature(every, return_annotation=None)
    init.__annotations__ = {one.name: types[one.name] for one in every if one.name in types} | {"return": None}
    described = _described(base)
    text = "".join(described.get(one.name, "") for one in common)
    cls.__doc__ = re.sub(
        r"^( +)common:.*(?:\n|\Z)(?:\1 +.*(?:\n|\Z))*",
        lambda found: textwrap.indent(text, found[1][len(_INDENT) :]),
        cls.__doc__ or "",
        flags=re.M,
    )


def _unpacked(init: Any) -> set[str] | None:
    """The names that ``**common: Unpack[...]`` of a constructor stands for; ``None``: it has no such thing."""
    if not inspect.isfunction(init):
        return None
    keywords = [one.name for one in inspect.signature(init).parameters.values() if one.kind == one.VAR_KEYWORD]
    try:
        hint = get_type_hints(init).get(keywords[0]) if keywords else None
    except NameError:  # a name that is there for type checkers alone
        return None
    return set(get_type_hints(get_args(hint)[0])) if get_origin(hint) is Unpack else None


def _described(base: type) -> dict[str, str]:
    """The lines of each argument in the description of a class."""
    plain = f"{inspect.cleandoc(base.__doc__ or '')}\n"  # Python 3.13 takes the indentation away by itself
    found = re.finditer(rf"^{_INDENT}(\w+):.*\n(?:{_INDENT} +.*\n)*", plain, flags=re.M)
    return {one[1]: one[0] for one in found}
