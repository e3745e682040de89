"""Options of the decision threshold that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asd.errors import UserError
from asd.utils.yaml_file import parsed

if TYPE_CHECKING:
    from asd.scoring.threshold import Threshold

OPTIONS = ("threshold", "quantile", "target", "abstain", "false_alarms")
_USUAL = "gamma"


def add_threshold_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--threshold",
        metavar="NAME|YAML",
        help="what the decision threshold is a quantile of: gamma, quantile, conformal, the class name of another, or "
        "{class_path: ..., init_args: ...} as in a config (gamma)",
    )
    parser.add_argument("--quantile", type=float, help="part of the normal clips below the threshold (0.9)")
    parser.add_argument(
        "--target", choices=("pooled", "balanced", "highest"), help="what the few target clips count for (pooled)"
    )
    parser.add_argument("--abstain", type=float, help="part of the normal clips, below it, without a decision")
    add_false_alarms(parser, "instead of --quantile")


def add_false_alarms(parser: argparse.ArgumentParser, usual: str, default: str | None = None) -> None:
    """Add ``--false-alarms``."""
    parser.add_argument(
        "--false-alarms", metavar="BUDGET", default=default, help=f"how many are allowed: 1/day, 2/week, 5%% ({usual})"
    )


def build_threshold(given: Mapping[str, Any], importing: bool) -> Threshold:
    """The threshold asked for.

    Args:
        given: What is given for each of `OPTIONS`; ``None`` or left out: not given.
        importing: Whether the user named the class, so that the module of a dotted path may be imported.

    Raises:
        UserError: A class that is not known, an argument that it does not take, or a value out of range.
    """
    from asd.configured import configured
    from asd.scoring import Threshold

    named = given.get("threshold") or _USUAL
    spec = parsed(named, "--threshold") if isinstance(named, str) else named
    spec = {"class_path": spec} if isinstance(spec, str) else spec
    own = (spec.get("init_args") or {}) if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(spec.get("class_path"), str) or not isinstance(own, dict):
        raise UserError(f"threshold {named!r}: give a class name, or class_path and init_args")
    arguments = {**own, **{key: given[key] for key in OPTIONS[1:] if given.get(key) is not None}}
    whole = {**spec, "class_path": _whole_name(spec["class_path"]), "init_args": arguments}
    return configured(whole, Threshold, importing)  # type: ignore[type-abstract]


def _whole_name(name: str) -> str:
    """The class that is called so for short: ``GammaThreshold`` for ``gamma``."""
    from asd.plugins import known
    from asd.scoring import Threshold

    short = {one.removesuffix("Threshold").casefold(): one for one in known(Threshold)}  # type: ignore[type-abstract]
    return short.get(name.casefold(), name)
