"""Tables of what there is to choose from, for the command line, the README and the book."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import yaml

from asd import plugins
from asd.described import described
from asd.encoders.base import Encoder
from asd.encoders.weights_cache import cards
from asd.utils import configs
from asd.utils.columns import columns
from asd.utils.sizes_alone import sizes_alone

Row = dict[str, str]
_MOST, _FEW = 6, 3
"""Names in a cell of a table; of more than so many, so few."""
_CONTRACTS = {
    "data-modules": ("asd.data", "ClipDataModule"),
    "heads": ("asd.heads", "Head"),
    "scorers": ("asd.scoring", "Scorer"),
}
"""What each command lists the classes of; a data module takes Lightning, for which the others need not wait."""
_SIZES = ("sample rate", "width", "parameters")


def rows(command: str) -> list[Row]:
    """What one of the commands that list something lists."""
    if command in _CONTRACTS:
        package, name = _CONTRACTS[command]
        return class_rows(getattr(importlib.import_module(package), name))
    return recipe_rows() if command == "recipes" else encoder_rows()


def encoder_rows() -> list[Row]:
    """One row for every encoder that can be found. Encoders are built on the meta device, so nothing is computed."""
    return [_encoder(name, cls) for name, cls in plugins.known(Encoder).items()]  # type: ignore[type-abstract]


def _encoder(name: str, cls: type[Encoder]) -> Row:
    if cls.listing is not None:
        sizes = dict(zip(_SIZES, cls.listing, strict=True))
    else:
        with sizes_alone():
            encoder = cls()
        millions = sum(p.numel() for p in encoder.parameters()) / 1e6
        values = (f"{encoder.sample_rate} Hz", str(encoder.feature_dim), f"{millions:.2f} M")
        sizes = dict(zip(_SIZES, values, strict=True))
    scores = {"official score": ", ".join(map(str, cls.scores)) or "-"}
    return {"encoder": name, **sizes, **scores, **_weights([card.name for card in cls.cards])}


def score_sources() -> list[str]:
    """Who measured which of the scores that the table of encoders shows, and how; one line for each."""
    known = plugins.known(Encoder)  # type: ignore[type-abstract]
    return [f"{name}, {score}: {score.source}" for name, cls in known.items() for score in cls.scores]


def class_rows(base: type[Any]) -> list[Row]:
    """One row for every class of a contract: its name, what it is, and the arguments that not all of the kind have."""
    return [
        {plugins.noun(base): name, "what": _first_line(cls), "arguments": ", ".join(_arguments(cls, base)) or "-"}
        for name, cls in plugins.known(base).items()
    ]


def recipe_rows() -> list[Row]:
    """One row for every configuration that comes with the program and names both an encoder and data."""
    found = {name: (path, configs.read(path)) for name, path in configs.packaged().items()}
    return [
        _recipe(name, configs.summary(path), content)
        for name, (path, content) in found.items()
        if isinstance(content, dict) and {"model", "data"} <= content.keys() and content["model"].get("encoder")
    ]


def _recipe(name: str, what: str, content: dict[str, Any]) -> Row:
    encoder = {"class_path": content["model"]["encoder"]}  # which may be a name alone, and so may be the data
    known = plugins.known(Encoder)  # type: ignore[type-abstract]
    encoders = [one for one in _values(encoder, "class_path") if one in known]
    data = next(_values({"class_path": content["data"]}, "class_path"))
    weights = _weights(list(_values(encoder, "weights")))
    return {"recipe": name, "what": what, "encoder": ", ".join(encoders), **weights, "data": data}


def _values(part: Any, key: str) -> Iterator[str]:
    """Every text that a configuration gives `key`, from the outside in."""
    if isinstance(part, dict):
        for name, one in part.items():
            yield from [one] if name == key and isinstance(one, str) else _values(one, key)
    elif isinstance(part, list):
        for one in part:
            yield from _values(one, key)


def _weights(names: list[str]) -> Row:
    known = cards()
    licences = sorted({known[name].licence for name in names if name in known})
    return {"weights": ", ".join(names) or "-", "licence": ", ".join(licences) or "-"}


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0] or "-"


def _arguments(cls: type, base: type) -> Iterator[str]:
    common = inspect.signature(base).parameters
    for one in inspect.signature(cls).parameters.values():
        if one.name not in common and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            yield one.name if one.default is one.empty else f"{one.name}={as_yaml(one.default)}"


def as_yaml(value: Any) -> str:
    """A default as one writes it in a configuration, on one line and without spaces."""
    try:
        plain = described(value)
    except TypeError:
        return str(value)
    text = yaml.safe_dump(plain, default_flow_style=True, width=10**6).removesuffix("\n").removesuffix("\n...")
    return text.replace(", ", ",").replace(": ", ":")


def markdown_table(rows: list[Row]) -> str:
    """The rows as a Markdown table with aligned columns; `asd weights list` has all names, this the first of many."""
    headers = list(rows[0]) if rows else []
    lines = [[_few(cell) for cell in row.values()] for row in rows]
    return columns(headers, lines, style="markdown", text=range(len(headers)))


def _few(names: str) -> str:
    several = names.split(", ")
    return names if len(several) <= _MOST else f"{', '.join(several[:_FEW])} and {len(several) - _FEW} more"
