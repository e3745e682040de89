"""What `asd compare` refuses: one line, before any work."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["MobileNett"], "MobileNett: unknown encoder 'MobileNett'. Did you mean MobileNet?"),
        (["MobileNet:block=2"], "MobileNet:block=2: encoder: MobileNet has no argument block; it has width,"),
        (["MobileNet:blocks"], "MobileNet:blocks: 'blocks' is no argument; give MobileNet:NAME=VALUE,NAME=VALUE"),
        (["MobileNet:rows=some"], "MobileNet:rows=some: encoder MobileNet: "),
        (["MobileNet:blocks=two"], "MobileNet:blocks=two: "),
        (["MobileNet:blocks=[2"], "MobileNet:blocks=[2: MobileNet:blocks= [2: "),
        (["encoder/mobilnet"], "encoder/mobilnet: no config file encoder/mobilnet"),
        (["grid/compare"], "grid/compare: it names no encoder"),
        (["MobileNet", "--what", "band"], "'band' is no embedding; choose"),
        (["MobileNet", "--what", "pooled"], "--what pooled: nothing is trained beside the encoders"),
        (["MobileNet", "--what", "bands@-1@each"], "is no embedding"),
        (["MobileNet", "--processes", "0"], "--processes is 0; give 1 or more"),
        (["MobileNet", "--grid", "grid/none"], "no grid file grid/none"),
        (["MobileNet", "--set", "seconds"], "--set seconds: give NAME=VALUE"),
        (["MobileNet", "--set", "second=1"], "has no argument second; it has "),
        (["MobileNet", "--set", "machines=[pump]"], "pump"),
        (["MobileNet", "--config", "recipe/nothing"], "no config file recipe/nothing"),
        (["MobileNet", "--config", "encoder/mobilenet"], "encoder/mobilenet names no data"),
    ],
)
def test_what_is_refused(arguments: list[str], said: str, synthetic: Path, here) -> None:
    done = here("compare", *arguments, "--data", synthetic, expect=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("asd: error: ")
    assert said in line
    assert done.stdout == ""


def test_no_data_is_refused(here, tmp_path: Path) -> None:
    assert "no data: add --data ROOT, or --config data/synthetic" in here("compare", "MobileNet", expect=2).stderr
    assert "no data folder gone" in here("compare", "MobileNet", "--data", "gone", expect=2).stderr
    (tmp_path / "empty").mkdir()
    done = here("compare", "MobileNet", "--data", "empty", expect=2)
    assert len(done.stderr.splitlines()) == 1
    (tmp_path / "file").touch()
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written_is_refused(here, synthetic: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = here("compare", "DualBranchCNN", "--data", synthetic, "--out", "file/there", expect=2)
    assert "file/there" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_is_one_screen(here, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        here("compare", "--help")
    assert len(capsys.readouterr().out.splitlines()) <= 40
