"""Plug-ins are found through three doors, and a broken one breaks nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from asd import plugins
from asd.encoders.base import Encoder
from asd.errors import UserError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(plugins.FOLDERS_VARIABLE, str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    plugins.load_all.cache_clear()
    yield tmp_path
    plugins.load_all.cache_clear()


GOOD = """
from asd.encoders import Encoder

class FoundInAFolder(Encoder):
    sample_rate, feature_dim = 16000, 1
    def spectrogram(self, waveform): return waveform[:, :, None]
    def encode(self, spectrogram): return spectrogram[:, None]
    def stages(self): return []
"""


def test_a_file_in_a_folder_is_found_by_its_class_name(folder: Path) -> None:
    (folder / "found_in_a_folder.py").write_text(GOOD)
    assert plugins.resolve("FoundInAFolder", Encoder).__name__ == "FoundInAFolder"


def test_a_broken_file_is_remembered_and_shown(folder: Path) -> None:
    (folder / "broken_plug_in.py").write_text("import no_such_library_anywhere\n")
    failures = plugins.load_all()
    assert "no_such_library_anywhere" in str(failures["broken_plug_in"])
    with pytest.raises(UserError) as caught:
        plugins.resolve("MobileNet2", Encoder)
    message = str(caught.value)
    assert "Did you mean MobileNet?" in message
    assert "broken_plug_in" in message and "no_such_library_anywhere" in message
    assert "\n" not in message


def test_a_dotted_path_is_imported() -> None:
    assert plugins.resolve("asd_plugins.dual_branch.DualBranchCNN", Encoder).__name__ == "DualBranchCNN"


def test_a_dotted_path_to_another_kind_of_class_is_refused() -> None:
    with pytest.raises(UserError, match="not a subclass"):
        plugins.resolve("pathlib.Path", Encoder)


def test_a_missing_folder_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plugins.FOLDERS_VARIABLE, str(folder / "absent"))
    with pytest.raises(UserError, match="absent"):
        plugins.load_all()
