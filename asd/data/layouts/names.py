"""The grammar of file names in DCASE Task 2, 2020 to 2026.

Tokens are parsed, not positions: years and machines differ in which tokens they give and in their order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from asd.data.clip import Condition, Domain, Kind, Split

EXPECTED = "section_00_source_train_normal_0000_<attributes>.wav"

# 2021 on: section_NN, words, index, attributes. 2020: normal_id_NN_index. Words hold no digit, an index nothing else.
_GRAMMAR = re.compile(
    r"(?:section|(?:(?P<condition>normal|anomaly)_)?id)_(?P<section>[0-9]+)_(?P<words>(?:[^0-9_]+_)*)"
    r"(?P<index>[0-9]+)(?:_(?P<attributes>.*))?",
    re.IGNORECASE | re.DOTALL,  # what stands last may be the name of anybody's file
)
_HIDDEN = "noattribute"
_DOMAINS = {str(one): one for one in Domain}
_CONDITIONS = {str(one): one for one in Condition}
_SPLITS = {str(one): one for one in (Split.TRAIN, Split.TEST)}
_KNOWN = {*_DOMAINS, *_CONDITIONS, *_SPLITS}
_CLEAN = {"machine", "clean"}
_NOISE = {"noise"}
_SUPPLEMENTAL = _CLEAN | _NOISE | {"supplemental"}


class ParsedName(NamedTuple):
    """What a file name says; ``None`` or empty where it does not say.

    Attributes:
        section: Digits of the section.
        split: The split that is named.
        domain: The domain that is named.
        condition: The condition that is named.
        kind: Of a supplemental clip: `Kind.MACHINE` where the name does not tell what can be heard.
        attributes: The attribute string, opaque; empty where hidden.
    """

    section: str
    split: Split | None
    domain: Domain | None
    condition: Condition | None
    kind: Kind
    attributes: str


def parse_name(stem: str, supplemental: bool = False) -> ParsedName | None:
    """Read a file name without its suffix; ``None``: it does not follow the grammar.

    Args:
        stem: The name without folder and suffix.
        supplemental: The clip lies in the folder of supplemental clips, whose names are not settled: any words may
            stand before the index.
    """
    found = _GRAMMAR.fullmatch(stem)
    if found is None:
        return None
    words = found["words"].casefold().split("_")[:-1]
    condition = found["condition"]
    if condition:
        words.append(condition.casefold())
    if not supplemental and not _KNOWN.issuperset(words):
        return None
    try:
        domain, state, split = (_only(words, group) for group in (_DOMAINS, _CONDITIONS, _SPLITS))
    except ValueError:
        return None
    attributes = (found["attributes"] or "").strip("_")
    return ParsedName(
        found["section"],
        Split.SUPPLEMENTAL if _SUPPLEMENTAL.intersection(words) else None if split is None else _SPLITS[split],
        None if domain is None else _DOMAINS[domain],
        None if state is None else _CONDITIONS[state],
        _kind(words),
        "" if attributes.casefold() == _HIDDEN else attributes,
    )


def is_hidden(attributes: str) -> bool:
    """Whether an attribute string says that the attributes are hidden."""
    return attributes.strip("_ ").casefold() in ("", _HIDDEN)


def _only(words: list[str], group: Mapping[str, object]) -> str | None:
    named = {word for word in words if word in group}
    if len(named) > 1:
        raise ValueError(f"{' and '.join(sorted(named))} exclude each other")
    return next(iter(named), None)


def _kind(words: list[str]) -> Kind:
    if _NOISE.intersection(words):
        return Kind.NOISE
    return Kind.CLEAN if _CLEAN.intersection(words) else Kind.MACHINE
