"""The challenge's layout as a data module, from Python and from a config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentParser

from asd.data.datamodule import ClipDataModule
from asd.data.modules.synthetic import Synthetic
from asd.data.modules.toyadmos2 import ToyADMOS2
from asd.errors import UserError
from asd.testing import write_dataset

pytestmark = pytest.mark.filterwarnings("ignore:.*instantiate_classes.*", "ignore:.*JsonargparseDeprecationWarning.*")
CONFIGS = Path(__file__).parents[4] / "configs" / "data"


def test_the_encoders_sample_rate_and_the_channel_count(tmp_path: Path) -> None:
    data = ToyADMOS2(write_dataset(tmp_path, ["fan"], seconds=0.5), seconds=0.5, batch_size=3)
    data.sample_rate = 8000
    data.setup("fit")
    assert next(iter(data.train_dataloader())).waveform.shape == (3, 4000)
    with pytest.raises(UserError, match="no channel 1, the file has 1"):
        ToyADMOS2(tmp_path, channel=1).setup("fit")


def test_machines_and_subsets_are_chosen(tmp_path: Path) -> None:
    write_dataset(tmp_path, ["fan", "valve"])
    (tmp_path / "eval_data").symlink_to(write_dataset(tmp_path / "other", ["pump"]) / "dev_data")
    data = ToyADMOS2(tmp_path, subsets=["dev_data", "eval_data"], machines=["pump", "fan"])
    data.setup("fit")
    assert {clip.machine for clip in data.train_clips} == {clip.machine for clip in data.query_clips} == {"pump", "fan"}
    both = ToyADMOS2(tmp_path, subsets=None, test_subsets=["dev_data"])
    both.setup("fit")
    assert {clip.machine for clip in both.reference_clips} == {"fan", "valve", "pump"}
    assert {clip.machine for clip in both.query_clips} == {"fan", "valve"}
    with pytest.raises(UserError, match="pumpp"):
        ToyADMOS2(tmp_path, machines=["pumpp"]).setup("fit")
    with pytest.raises(UserError, match="absent"):
        ToyADMOS2(tmp_path / "absent").setup("fit")


def parsed(*arguments: str) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(ClipDataModule, "data")
    return parser.instantiate_classes(parser.parse_args(list(arguments))).data


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_makes_a_data_module(config: Path) -> None:
    assert isinstance(parsed("--config", str(config)), ClipDataModule)


def test_options_from_the_command_line() -> None:
    data = parsed("--data=ToyADMOS2", "--data.root=here", "--data.machines=[fan]", "--data.clean_class=off")
    assert (data.root, data.machines, data.clean_class in ("off", False)) == (Path("here"), ["fan"], True)
    data = parsed("--data.class_path=asd.data.modules.synthetic.Synthetic", "--data.seconds=4", "--data.train_source=7")
    assert isinstance(data, Synthetic)
    assert (data.seconds, data.recipe["train_source"]) == (4.0, 7)
    assert Synthetic(subsets=None).recipe["subsets"] == ["dev_data"]
    data = parsed("--data=ToyADMOS2", "--data.root=here", "--data.channels=near_minus_far", "--data.far_noise=0.1")
    assert (data.channel, data.far_noise) == ("near_minus_far", 0.1)
    assert parsed("--data=ToyADMOS2", "--data.root=here", "--data.channels=2").channel == 2
    assert parsed("--data=ToyADMOS2", "--data.root=here", "--data.channel=far").channel == 1


def test_recipes_of_synthetic_data_stay_what_they_were() -> None:
    assert Synthetic().recipe == Synthetic(supplemental=12).recipe, "what is there is not made anew"
    assert "year" not in Synthetic().recipe
    assert (Synthetic(year=2026).recipe["supplemental"], Synthetic(year=2026).recipe["year"]) == (0, 2026)
