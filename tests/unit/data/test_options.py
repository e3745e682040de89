"""Every data module names its options: for people, type checkers, the command line and the configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack, get_type_hints

import pytest

from asd.data.clip import Clip
from asd.data.datamodule import ClipDataModule
from asd.data.options import Options
from asd.plugins import known
from asd.testing.contract import check_described
from asd.utils.signatures import arguments

COMMON = inspect.signature(ClipDataModule).parameters
FOUND = {name: cls for name, cls in known(ClipDataModule).items() if cls.__module__.startswith("asd.")}


def test_the_types_are_those_of_the_data_module() -> None:
    hints = get_type_hints(ClipDataModule.__init__)
    assert get_type_hints(Options) == {name: hint for name, hint in hints.items() if name != "return"}
    assert get_type_hints(Options).keys() == COMMON.keys()


@pytest.mark.parametrize("name", FOUND)
def test_every_option_is_a_parameter_with_its_type_default_and_description(name: str) -> None:
    cls, hints = FOUND[name], get_type_hints(ClipDataModule.__init__)
    signature = inspect.signature(cls, eval_str=True)
    assert not [one for one in signature.parameters.values() if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    for option, usual in COMMON.items():
        assert signature.parameters[option].default == usual.default
        assert signature.parameters[option].annotation == hints[option]
    assert arguments(cls).keys() == signature.parameters.keys()
    check_described(cls)
    assert "common:" not in (cls.__doc__ or "")


@pytest.mark.parametrize("name", FOUND)
def test_every_option_is_in_the_help(name: str, here: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        here("fit", "--data.help", name)
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for option in inspect.signature(FOUND[name]).parameters:
        assert f"--data.{option} " in text
    assert "repeats." in text, "options are described"


def test_config_keys_and_defaults_are_as_before(parse: Callable[[list[str]], Any]) -> None:
    data = parse(["fit", "--model.encoder", "DualBranchCNN", "--data.root", "x", "--data.pad=zeros"]).data
    given = {"root": "x", "subsets": ["dev_data"], "machines": None, "test_subsets": None}
    usual = {name: one.default for name, one in COMMON.items()}
    assert {**vars(data.init_args), "root": "x", "subsets": ["dev_data"]} == {**given, **usual, "pad": "zeros"}


class _Own(ClipDataModule):
    """A layout of one's own.

    Args:
        place: Where it is.
        pad: Here the zeros are usual.
        common: What every data module takes,
            see there.
        depth: What comes after it.
    """

    def __init__(self, place: Path, pad: Any = "zeros", depth: int = 1, **common: Unpack[Options]) -> None:  # type: ignore[misc]
        super().__init__(pad=pad, **common)
        self.place, self.depth = place, depth

    def clips(self) -> list[Clip]:
        return []


class _Loose(ClipDataModule):
    """Whatever it gets."""

    def __init__(self, place: Path, **anything: Any) -> None:
        super().__init__(**anything)

    def clips(self) -> list[Clip]:
        return []


def test_a_module_of_ones_own_names_its_options_in_the_same_way() -> None:
    parameters = inspect.signature(_Own).parameters
    assert list(parameters)[:3] == ["place", "pad", "depth"]
    assert set(parameters) == {"place", "depth", *COMMON}
    assert parameters["pad"].default == "zeros"
    text = inspect.getdoc(_Own) or ""
    assert "see there" not in text
    assert text.index("seconds: Length") < text.index("depth: What comes")
    assert text.count("pad: ") == 1
    made = _Own(Path("x"), batch_size=3)
    assert (made.pad, made.batch_size, made.seconds) == ("zeros", 3, 10.0)
    with pytest.raises(TypeError, match="seconds_"):
        _Own(Path("x"), seconds_=3)  # type: ignore[call-arg]
    assert list(inspect.signature(_Loose).parameters) == ["place", "anything"], "what is not said is not guessed"
