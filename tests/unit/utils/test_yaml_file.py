"""YAML from outside: plain values, or one line that says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.errors import UserError
from asd.utils.yaml_file import holds_structure, parse_yaml, read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "more than 100,000 values"),
        ("a: &a [*a]", "more than 100,000 values"),
        ("a: &a {b: *a}", "more than 100,000 values"),
        ("[" * 20_000, "nested too deeply|expected"),
        ("a: [unclosed", "expected"),
        ("\x00\x01", "not allowed"),
        ("!!python/object/apply:os.system ['touch x-was-here']", "could not determine a constructor"),
        ("a: b: c", "not allowed here"),
        ("2001-99-99", "month"),
        ("a: *nothing", "undefined alias"),
    ],
    ids=lambda one: one[:20],
)
def test_what_is_no_plain_yaml_is_one_line(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=why):
        parse_yaml(text)
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"a\.yaml is not YAML.*({why}).*mend it"):
        read_yaml(path)


def test_aliases_of_a_usual_number_stay() -> None:
    assert parse_yaml("a: &a {k: 1}\nb: *a\nc: [*a, *a]") == {"a": {"k": 1}, "b": {"k": 1}, "c": [{"k": 1}, {"k": 1}]}


def test_text_and_encoding(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("a: ä".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.yaml is not YAML"):
        read_yaml(tmp_path / "latin.yaml")
    (tmp_path / "marked.yaml").write_text("a: 1", encoding="utf-8-sig")
    assert read_yaml(tmp_path / "marked.yaml") == {"a": 1}
    with pytest.raises(UserError, match="no grid file"):
        read_yaml(tmp_path, "grid file")


@pytest.mark.parametrize(
    ("text", "structured"), [("{a: 1}", True), ("[1]", True), ("a", False), ("[", False), ("", False)]
)
def test_structure_in_text_is_told(text: str, structured: bool) -> None:
    assert holds_structure(text) is structured
