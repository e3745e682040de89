"""`asd weights` as a user meets it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from asd import cli
from asd.encoders import WeightsCard, weights_cache

CONTENT = b"some weights"
RIGHT = WeightsCard("small", "small.pt", "MIT", "arXiv:1", None, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
UNKNOWN = WeightsCard("vague", "vague.pt", "Apache-2.0", "arXiv:2", "http://127.0.0.1:9/vague.pt")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path))
    monkeypatch.setattr(weights_cache, "cards", lambda: {card.name: card for card in (RIGHT, UNKNOWN)})
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder


def test_list_shows_every_card_and_what_is_not_known(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cache / "small.pt").write_bytes(CONTENT)
    assert cli.main(["weights", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:7] == ["small", "small.pt", "12", RIGHT.sha256, "MIT", "arXiv:1", "yes"]
    assert lines[1].endswith("  the project page of arXiv:1")
    assert lines[2].count("not published") == 2
    assert lines[2].split()[-2:] == ["no", UNKNOWN.url]
    assert lines[3] == f"cache folder: {cache}"


def test_verify_tells_right_from_wrong(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["weights", "verify"]) == 0
    assert "no published weights are in the cache folder" in capsys.readouterr().out
    (cache / "small.pt").write_bytes(CONTENT)
    (cache / "vague.pt").write_bytes(b"anything")
    assert cli.main(["weights", "verify"]) == 0
    out = capsys.readouterr().out
    assert "small.pt: right" in out
    assert "vague.pt: there; no checksum is published to verify it by" in out
    (cache / "small.pt").write_bytes(CONTENT[::-1])
    assert cli.main(["weights", "verify"]) == 2
    shown = capsys.readouterr()
    assert "small.pt: wrong checksum" in shown.out
    assert shown.err == "asd: error: not as published: small; run `asd weights fetch small`\n"
    (cache / "small.pt").write_bytes(b"short")
    assert cli.main(["weights", "verify", "small"]) == 2
    assert "small.pt: wrong size" in capsys.readouterr().out


def test_verify_of_a_named_file_that_is_missing_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["weights", "verify", "vague"]) == 2
    assert "vague.pt: missing" in capsys.readouterr().out


def test_fetch_refuses_unknown_names_before_it_fetches_any(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["weights", "fetch", "vague", "smal"]) == 2  # codespell:ignore
    expected = "asd: error: no published weights are called 'smal'. Did you mean small? Known: small, vague."
    assert capsys.readouterr().err.startswith(expected)


def test_fetch_of_weights_without_an_address(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["weights", "fetch", "small"]) == 2
    assert f"put it at {cache / 'small.pt'}" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["fetch"], ["lst"]])
def test_a_wrong_call_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["weights", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys; from asd.cli.weights import add_arguments; assert 'torch' not in sys.modules, 'torch is imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
