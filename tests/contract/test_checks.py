"""The suites of checks are whole."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import asd.testing

SUITES = ("augmentation", "encoder", "head", "scorer", "threshold")


@pytest.mark.parametrize("name", SUITES)
def test_every_check_of_a_module_is_listed_once(name: str) -> None:
    module = importlib.import_module(f"asd.testing.{name}")
    there = {
        one
        for key, one in inspect.getmembers(module, inspect.isfunction)
        if key.startswith("check_")
        and key != f"check_{name}"
        and one.__module__ in (module.__name__, "asd.testing.compiling")
    }
    assert set(module.CHECKS) == there
    assert len(module.CHECKS) == len(there)


def test_every_suite_is_public() -> None:
    modules = {one.name for one in pkgutil.iter_modules(asd.testing.__path__)} - {"contract", "tiny", "compiling"}
    assert modules == {*SUITES, "datamodule"}
    for name in modules:
        assert f"check_{name}" in asd.testing.__all__
        assert callable(getattr(asd.testing, f"check_{name}"))
