"""What is compared: encoders as they are named on the command line, and the vectors that are made of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asd.configured import completed
from asd.encoders import Adapter, Encoder
from asd.encoders.scored import Tokens
from asd.encoders.weights_cache import cards, file_of
from asd.errors import UserError
from asd.utils import configs
from asd.utils.yaml_file import parsed

EACH = "@each"
"""After a vector: one of each layer that the encoder returns."""

_FILES = (".yaml", ".yml")
_NEXT = re.compile(r",(?=\s*[^\W\d]\w*=)")
_FOLDERS = re.compile(r"[^\s=,:'\"\[\]{}]*[/\\]")


@dataclass(frozen=True)
class Choice:
    """An encoder to compare.

    Attributes:
        name: How it was given, with the names of files alone; as it is told.
        spec: Class and all arguments, those included that were not given.
    """

    name: str
    spec: dict[str, Any]

    @property
    def title(self) -> str:
        """The name of its class."""
        return str(self.spec["class_path"]).rpartition(".")[2]


def choices(texts: Sequence[str]) -> list[Choice]:
    """The encoders of a command line.

    Args:
        texts: ``CLASS``; ``CLASS:NAME=VALUE,NAME=VALUE``, with values as in YAML; or a config, by file or name, that
            says of an encoder what ``model.encoder`` does.

    Raises:
        UserError: One that is not known, or arguments that it does not take.
    """
    found: list[Choice] = []
    for text in texts:
        spec = _completed(text)
        found += [] if any(spec == one.spec for one in found) else [Choice(text, spec)]
    short = [_FOLDERS.sub("", one.name) for one in found]
    return [replace(one, name=name) if short.count(name) == 1 else one for one, name in zip(found, short, strict=True)]


def _completed(text: str) -> dict[str, Any]:
    try:
        return completed(_spec(text), Encoder, importing=True)
    except UserError as error:
        raise UserError(f"{text}: {error}") from error


def _spec(text: str) -> Any:
    name, colon, rest = text.partition(":")
    if text.endswith(_FILES) or "/" in name:
        content = configs.read(text)
        model = content.get("model") if isinstance(content, dict) else None
        spec = model.get("encoder") if isinstance(model, dict) else content
        if not isinstance(spec, dict | str) or (isinstance(spec, dict) and "class_path" not in spec):
            raise UserError("it names no encoder; give `class_path` and `init_args`, or these under model.encoder")
        return spec
    arguments = {}
    for part in _NEXT.split(rest) if colon else ():
        key, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"{part!r} is no argument; give {name}:NAME=VALUE,NAME=VALUE")
        arguments[key.strip()] = parsed(value, f"{name}:{key}=")
    return {"class_path": name, "init_args": arguments} if arguments else name


def weights_files(spec: Any) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of change of the files of weights that a spec names, those in its parts included."""
    if isinstance(spec, Mapping):
        weights = spec.get("weights")
        if isinstance(weights, str):
            place = Path(weights).expanduser()
            if not place.exists() and weights in cards():
                place = file_of(cards()[weights])
            for file in sorted(place.iterdir()) if place.is_dir() else [place]:
                if file.is_file():
                    yield file.name, file.stat().st_size, file.stat().st_mtime_ns
        for part in spec.values():
            yield from weights_files(part)
    for part in spec if isinstance(spec, list) else ():
        yield from weights_files(part)


def random_parts(encoder: Encoder) -> list[str]:
    """The classes of those parts of an encoder, or its own, whose weights are random."""
    found = [one for one in encoder.modules() if isinstance(one, Encoder)]
    leaves = [one for one in found if not any(isinstance(part, Encoder) for part in list(one.modules())[1:])]
    random = [type(one).__name__ for one in leaves if vars(one)["_arguments"].get("weights") is None]
    return list(dict.fromkeys(random))


def check_vectors(words: Sequence[str]) -> None:
    """Raise `UserError` for a word that names no vector of an encoder that nothing was trained beside."""
    for word in words:
        if Tokens.parse(re.sub(f"{EACH}$", "@-1", word)) is None:
            raise UserError(f"--what {word}: nothing is trained beside the encoders; choose tokens or bands")


def vectors(words: Sequence[str], encoder: Encoder) -> tuple[list[str], list[str]]:
    """Which vectors to make of an encoder, and which words ask for layers that it does not return.

    A vector that two words ask for is made once: with the deepest layer named and without, and with bands kept where
    the encoder has one.

    Args:
        words: As `Adapter` takes them, or with `EACH` behind them.
        encoder: The encoder.

    Raises:
        UserError: There is none that it could give.
    """
    adapter = Adapter().build(encoder.layers, encoder.feature_dim, encoder.layout, encoder.members)
    banded = adapter.size_of("bands") != adapter.size_of("tokens")
    found: dict[Tokens | None, str] = {}
    missing: list[str] = []
    for word in words:
        stem = word.removesuffix(EACH)
        layers = range(1, encoder.layers + 1) if word != stem else ()
        for name in [f"{stem}@-{number}" for number in layers] or [word]:
            tokens = Tokens.parse(name)
            try:
                adapter.size_of(name)
            except UserError:
                missing.append(name)
                continue
            found.setdefault(tokens and replace(tokens, bands=tokens.bands and banded), name)
    if not found:
        raise UserError(f"it returns {encoder.layers} of its layers, so there is no {' or '.join(missing)}")
    return list(found.values()), missing
