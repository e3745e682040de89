"""Published weights: the cards, the cache folder, and what is said when a file is not there."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from asd import cli
from asd.encoders import Encoder, WeightsCard, weights_cache
from asd.encoders.weights_card import State
from asd.errors import UserError

CONTENT = b"weights of a published model" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "weights"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    served = tmp_path / "served"
    served.mkdir()
    (served / "model.pt").write_bytes(CONTENT)
    (served / "config.json").write_text("{}")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/model.pt"
    server.shutdown()
    server.server_close()
    thread.join()


def publish(monkeypatch: pytest.MonkeyPatch, card: WeightsCard) -> WeightsCard:
    monkeypatch.setattr(weights_cache, "cards", lambda: {card.name: card})
    return card


@pytest.fixture
def card(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> WeightsCard:
    one = WeightsCard("published_model", "model.pt", "MIT", "arXiv:0000.00000", url, len(CONTENT), SHA256)
    return publish(monkeypatch, one)


def test_fetched_weights_are_found_by_name(card: WeightsCard, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["weights", "fetch", "published_model"]) == 0
    assert "(verified)" in capsys.readouterr().out
    found = weights_cache.find("published_model")
    assert found == cache / "model.pt"
    assert found.read_bytes() == CONTENT


def test_what_is_there_is_not_fetched_again(card: WeightsCard, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "model.pt").write_bytes(CONTENT)
    before = (cache / "model.pt").stat().st_mtime_ns
    weights_cache.fetch(card)
    assert (cache / "model.pt").stat().st_mtime_ns == before


def test_a_broken_file_is_fetched_again(card: WeightsCard, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "model.pt").write_bytes(CONTENT[:-1] + b"?")
    weights_cache.fetch(card)
    assert (cache / "model.pt").read_bytes() == CONTENT


def test_a_path_beats_a_name(card: WeightsCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "published_model").write_bytes(b"mine")
    assert weights_cache.find("published_model").read_bytes() == b"mine"


def test_offline_the_error_says_what_to_get_and_where_to_put_it(card: WeightsCard, cache: Path) -> None:
    with pytest.raises(UserError) as caught:
        weights_cache.find("published_model")
    for part in (
        "model.pt",
        f"{len(CONTENT):,} bytes",
        SHA256,
        str(cache),
        "asd weights fetch published_model",
        "127.0.0.1",
    ):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_in_the_cache_is_not_used(card: WeightsCard, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "model.pt").write_bytes(CONTENT[:100])
    with pytest.raises(UserError, match=r"has 100 bytes, expected 28,000; run `asd weights fetch published_model`"):
        weights_cache.find("published_model")


def test_a_missing_path_is_said_as_a_path(card: WeightsCard) -> None:
    with pytest.raises(UserError, match=r"weights some/folder: no such file; `asd weights list`"):
        weights_cache.find("some/folder")
    with pytest.raises(UserError, match=r"no such file; `asd weights fetch published_model` gets it"):
        weights_cache.find("downloads/model.pt")


def test_a_misspelt_name_is_guessed(card: WeightsCard) -> None:
    with pytest.raises(UserError, match=r"'publishd_model'\. Did you mean published_model\? Known: .*published_model"):
        weights_cache.find("publishd_model")


def test_what_nobody_published_is_said_so(cache: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = publish(monkeypatch, WeightsCard("bare", "model.pt", "MIT", "arXiv:0000.00000", url))
    with pytest.raises(UserError, match="size not published, checksum not published"):
        weights_cache.find("bare")
    weights_cache.fetch(bare)
    assert weights_cache.check(bare) == State.UNKNOWN


def test_an_older_checksum_is_heeded(cache: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    md5 = hashlib.md5(CONTENT).hexdigest()
    card = publish(monkeypatch, WeightsCard("old", "model.pt", "MIT", "arXiv:0000.00000", url, md5=md5))
    with pytest.raises(UserError, match=f"size not published, md5 {md5}"):
        weights_cache.find("old")
    weights_cache.fetch(card)
    assert weights_cache.check(card) == State.RIGHT
    (cache / "model.pt").write_bytes(CONTENT[::-1])
    assert weights_cache.check(card) == State.WRONG_CHECKSUM


def test_weights_without_an_address_say_where_to_put_them(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = publish(monkeypatch, WeightsCard("by_hand", "hand.pt", "MIT", "arXiv:0000.00000"))
    with pytest.raises(UserError, match=f"no direct address for hand.pt .* put it at {cache / 'hand.pt'}"):
        weights_cache.fetch(card)
    with pytest.raises(UserError, match=r"get it from the project page of arXiv:0000\.00000 and put it there"):
        weights_cache.find("by_hand")
    cache.mkdir(parents=True)
    (cache / "hand.pt").write_bytes(CONTENT)
    assert weights_cache.fetch(card) == weights_cache.find("by_hand")


def test_what_no_program_can_fetch_says_its_page(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page, beside = "https://example.org/share/1", ("config.json",)
    card = WeightsCard("shared", "model.pt", "MIT", "arXiv:0000.00000", page=page, beside=beside)
    publish(monkeypatch, card)
    with pytest.raises(UserError, match=f"get model.pt and config.json from {page} and put it at {cache / 'shared'}"):
        weights_cache.fetch(card)
    with pytest.raises(UserError, match=f"; get it from {page} and put it there"):
        weights_cache.find("shared")
    assert cli.main(["weights", "list"]) == 0
    assert page in capsys.readouterr().out


def test_weights_of_several_files_are_a_folder(cache: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    card = WeightsCard("folder", "model.pt", "MIT", "arXiv:0000.00000", url, beside=("config.json",))
    publish(monkeypatch, card)
    with pytest.raises(UserError, match=r"model\.pt and config\.json not in"):
        weights_cache.find("folder")
    weights_cache.fetch(card)
    assert sorted(path.name for path in weights_cache.find("folder").iterdir()) == ["config.json", "model.pt"]
    (cache / "folder" / "config.json").unlink()
    assert weights_cache.check(card) == State.MISSING


def test_the_cache_is_in_the_home_folder_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASD_CACHE", raising=False)
    assert weights_cache.cache_folder() == Path.home() / ".cache" / "asd" / "weights"


def test_every_card_is_whole_and_names_are_used_once() -> None:
    from asd.plugins import known

    ours = [cls for cls in known(Encoder).values() if cls.__module__.startswith("asd_plugins.")]  # type: ignore[type-abstract]
    every = [card for cls in ours for card in cls.cards]
    assert {card.name for card in every} >= {"mn04_as", "ast_audioset"}
    assert len(weights_cache.cards()) == len(every), "two cards have the same name"
    files = [weights_cache.file_of(card) for card in every]
    assert len(set(files)) == len(files), "two cards have the same file"
    for card in every:
        assert card.licence
        assert card.paper
        assert (card.url or card.page or "").startswith(("https://", "the package "))
        assert card.sha256 is None or len(bytes.fromhex(card.sha256)) == 32
        assert card.md5 is None or len(bytes.fromhex(card.md5)) == 16
