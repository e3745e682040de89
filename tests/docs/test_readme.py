"""The README's words hold: commands, also of other pages, are parsed, its table is current, its plug-in works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from asd import plugins
from asd.cli import TRAINER_COMMANDS, main, parser_of
from asd.cli.search import asks_for_search
from asd.cli.search import parse as parse_search
from asd.cli.search_space import as_options, extremes, read_space
from asd.encoders.base import Encoder
from tests.docs.pages import Block, blocks
from tests.quick import QUICK

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# What the guides named `add_` show is run in whole, with the classes that they define: see test_add.
OTHERS = [path for path in sorted((ROOT / "docs").rglob("*.md")) if not path.name.startswith("add_")]
COMMANDS = [
    command
    for block in blocks(ROOT / "README.md", *OTHERS)
    if block.language == "bash"
    for command in block.commands
    if command.startswith("asd ")
]
SHOWN_PLUGIN = re.search(r"<!-- plugin:begin -->\n```python\n(.*?)```", README, re.S).group(1)


def reads(block: Block, command: str) -> str:
    """Commands, and the plug-in."""
    if block.text == SHOWN_PLUGIN:
        return "run"
    return "parsed" if block.language == "bash" and command in COMMANDS else ""


def test_the_readme_stays_short() -> None:
    assert len(README.splitlines()) <= 150


def test_the_table_of_encoders_is_current(asd, tmp_path: Path) -> None:
    shown = re.search(r"<!-- encoders:begin .*?-->\n(.*?)\n<!-- encoders:end -->", README, re.S).group(1)
    assert shown == asd("encoders", cwd=tmp_path).stdout.strip()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:configs|tests)/[\w/.]+\w", README))))
def test_files_that_are_named_exist(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood(command: str, parse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainer commands are parsed in full; the small ones against their own parsers."""
    program, name, *rest = shlex.split(command)
    assert program == "asd"
    if "--help" in (name, *rest):
        assert main([name, *rest]) == 0
        return
    monkeypatch.chdir(ROOT)
    if asks_for_search(rest):
        asked = parse_search(rest)
        rest = [*asked.fit, *as_options(next(extremes(read_space(asked.space))))]
    if name in TRAINER_COMMANDS:
        if "--ckpt_path" in rest:  # whose configuration is in the file
            rest = ["--config", "configs/quickstart.yaml"]
        assert parse([name, *rest]).model is not None
    else:
        assert parser_of(name).parse_args(rest) is not None


@pytest.fixture
def shown_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(plugins.FOLDERS_VARIABLE, str(tmp_path))
    (tmp_path / "tiny_mel.py").write_text(SHOWN_PLUGIN)
    plugins.load_all.cache_clear()
    yield tmp_path
    plugins.load_all.cache_clear()


def test_the_plug_in_shown_passes_every_contract_check(shown_plugin: Path) -> None:
    from asd.testing import check_encoder

    check_encoder(plugins.resolve("TinyMel", Encoder)())


def test_the_plug_in_shown_trains_with_warm_up(asd, synthetic: Path, shown_plugin: Path, tmp_path: Path) -> None:
    done = asd(
        "fit", "--config", ROOT / "configs/quickstart.yaml", "--data", "ToyADMOS2", "--data.root", synthetic,
        "--data.seconds=1", "--data.machines=null", "--model.encoder", "TinyMel", "--model.adapter",
        "Adapter", "--model.adapter.embedding_dim=16",
        "--warmup.epochs=1", "--trainer.max_epochs=2", *QUICK,
        cwd=tmp_path, ASD_PLUGINS=str(shown_plugin),
    )  # fmt: skip
    assert "official" in done.stdout
    checkpoint = sorted(tmp_path.rglob("last.ckpt"))[0]
    again = asd("test", "--ckpt_path", checkpoint, cwd=tmp_path, ASD_PLUGINS=str(shown_plugin))
    assert "official" in again.stdout
