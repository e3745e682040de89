"""Command line over config over checkpoint over default."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.cli.arguments import configs_first, read_mapping
from asd.errors import UserError


def test_configs_come_before_flags_in_their_order() -> None:
    given = ["fit", "--a", "1", "-c", "x.yaml", "--b=2", "--config=y.yaml"]
    assert configs_first(given) == ["fit", "--config", "x.yaml", "--config", "y.yaml", "--a", "1", "--b=2"]


@pytest.mark.parametrize("content", ["- a\n- list\n", "a: [unclosed", "\x00\x01"])
def test_a_config_that_is_no_mapping_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"broken\.yaml"):
        read_mapping(str(path))


def test_a_missing_config_is_named() -> None:
    with pytest.raises(UserError, match=r"no config file absent\.yaml"):
        read_mapping("absent.yaml")
