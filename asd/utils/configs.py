"""Configurations by file or by name, and what they build on.

Those that come with the program are the package `asd_configs`: the folder ``configs`` of a checkout, known by their
place in it, such as ``quickstart`` or ``recipe/beats``. A config may name others under ``base``; it overrides them. The
folder ``deploy`` holds what other programs read: containers, services, dashboards.
"""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from asd.errors import UserError
from asd.utils.files import replace_text
from asd.utils.yaml_file import read_yaml

BASE = "base"
"""The key that names what a config builds on."""

DEPLOYMENT = "deploy"
"""The folder of what other programs read."""

_PACKAGE = "asd_configs"
_ENDING = ".yaml"


def packaged() -> dict[str, Path]:
    """The configs that come with the program, by name.

    Raises:
        UserError: The program was installed without them.
    """
    root = _root()
    names = {path.relative_to(root).with_suffix("").as_posix(): path for path in sorted(root.rglob(f"*{_ENDING}"))}
    return {name: path for name, path in names.items() if not name.startswith(f"{DEPLOYMENT}/")}


def deployment() -> dict[str, Path]:
    """The files of the folder `DEPLOYMENT`, by their place in it.

    Raises:
        UserError: As of `packaged`.
    """
    root = _root() / DEPLOYMENT
    return {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}


def _root() -> Path:
    try:
        return Path(str(resources.files(_PACKAGE)))
    except ModuleNotFoundError as error:
        raise UserError(
            "the configs that come with the program are not installed; install it anew, in a checkout with "
            "`pip install -e .`"
        ) from error


def find(name: Path | str, kind: str = "config file") -> Path:
    """The file of a config: a file that is there, or else one that comes with the program.

    Args:
        name: A path, or a name with or without ``configs/`` before and ``.yaml`` behind it.
        kind: What messages call it.

    Raises:
        UserError: Neither the one nor the other.
    """
    path = Path(name)
    if _is_file(path):
        return path
    known = packaged()
    wanted = path.as_posix().removeprefix("configs/").removesuffix(_ENDING)
    if wanted in known:
        return known[wanted]
    last = wanted.rpartition("/")[2]
    near = [one for one in known if one.rpartition("/")[2] == last] or difflib.get_close_matches(wanted, known, n=1)
    guess = f"; did you mean {' or '.join(near)}?" if near else "."
    raise UserError(f"no {kind} {name}, and none of that name comes with asd{guess} `asd configs list` shows those")


def read(name: Path | str, kind: str = "config file") -> Any:
    """What a config says, after what it builds on, in plain values; it need not be a mapping.

    Args:
        name: As of `find`.
        kind: What messages call it.

    Raises:
        UserError: No such config, no YAML, or it builds on what it may not build on.
    """
    return _read(find(name, kind), kind, ())


def text(name: Path | str) -> str:
    """A config as it can stand alone.

    One that builds on no other is left as it is; else its opening comment, those of what it builds on, and all values.

    Raises:
        UserError: As of `read`.
    """
    path = find(name)
    content = read(path)
    bases = _bases(path, read_yaml(path))
    if not bases:
        return path.read_text(encoding="utf-8-sig")
    comments = _opening(path)
    for base in bases:
        comments += [f"# Built on {base.stem}:", *_opening(base)]
    return "\n".join([*comments, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)])


def standalone(name: Path | str, folder: Path) -> Path:
    """The file of a config for a reader that knows nothing of `base`; one that builds on others is written to `folder`.

    Raises:
        UserError: As of `read`.
    """
    path = find(name)
    if not _bases(path, read_yaml(path)):
        return path
    alone = folder / path.name
    replace_text(alone, text(path))
    return alone


def summary(path: Path) -> str:
    """What a config is: the first sentence of its opening comment, as far as the first line has it."""
    return next(iter(_opening(path)), "").lstrip("# ").partition(". ")[0].removesuffix(".")


def merged(base: Any, over: Any) -> Any:
    """`base` with what `over` says put over it; mappings are merged, all else is replaced.

    A mapping of another ``class_path`` replaces the whole: arguments of one class are not those of the other.
    """
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    if "class_path" in over and over["class_path"] != base.get("class_path"):
        return over
    return {**base, **{key: merged(base[key], value) if key in base else value for key, value in over.items()}}


def _read(path: Path, kind: str, above: tuple[Path, ...]) -> Any:
    content = read_yaml(path, kind)
    bases = _bases(path, content)
    if not bases:
        return content
    above = (*above, path.resolve())
    below: dict[str, Any] = {}
    for base in bases:
        if base.resolve() in above:
            raise UserError(f"{path}: it builds on {base}, which builds on itself; take one `{BASE}` out")
        part = _read(base, kind, above)
        if not isinstance(part, dict):
            raise UserError(f"{path}: it builds on {base}, which holds no mapping; name another `{BASE}`")
        below = merged(below, part)
    return merged(below, {key: value for key, value in content.items() if key != BASE})


def _bases(path: Path, content: Any) -> list[Path]:
    """The files that a config names as what it builds on."""
    if not isinstance(content, dict) or BASE not in content:
        return []
    given = content[BASE]
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names or not all(isinstance(one, str) and one for one in names):
        raise UserError(f"{path}: `{BASE}` is {given!r}; give the file or the name of a config, or a list of them")
    return [_base(path, one) for one in names]


def _base(path: Path, name: str) -> Path:
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or "\\" in name or name.startswith("~"):
        raise UserError(f"{path}: `{BASE}` names {name}; give a path relative to this file, with /")
    beside = path.parent / name
    if _is_file(beside):
        return beside
    found = packaged().get(name.removesuffix(_ENDING))
    if found is None:
        raise UserError(
            f"{path}: it builds on {name}, but there is no file {beside}, and no config of that name comes with asd; "
            "`asd configs list` shows those"
        )
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except OSError:  # such as a name that is too long
        return False


def _opening(path: Path) -> list[str]:
    """The lines of comment that a file begins with."""
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line)
    return lines
