"""What a file says is data: registered classes of the contract of their place, values, and nothing else."""

from __future__ import annotations

import importlib
import sys
import types
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import yaml
from asd_plugins.dual_branch import DualBranchCNN

from asd import plugins
from asd.cli.kept import _BLOCKS
from asd.data.datamodule import ClipDataModule
from asd.encoders import Augmentation, Encoder
from asd.encoders.augment import SpecAugment
from asd.errors import UserError
from asd.heads import Head
from asd.scoring import Scorer
from asd.scoring.threshold import Threshold
from asd.training.module import AnomalyDetector
from asd.trust import _is_plain, trusted_arguments, trusted_class
from asd.utils.signatures import arguments, members


@dataclass
class Options:
    size: int = 1
    pair: tuple[int, float] = (1, 1.0)


class _Broad(Encoder):
    def __init__(self, augment: torch.nn.Module | None = None, free: Any = None, options: Options | None = None):
        super().__init__()


RUN = {"class_path": "subprocess.getoutput", "init_args": {"cmd": "touch x-was-here"}}
TRACE = {
    "class_path": "torch.fx.symbolic_trace",
    "init_args": {"root": "subprocess.getoutput", "concrete_args": {"cmd": "touch x-was-here"}},
}
CNN = "asd_plugins.dual_branch.DualBranchCNN"
GOOD = {
    "encoder": {"class_path": CNN, "init_args": {"augment": {"class_path": "SpecAugment"}}},
    "scorer": "KMeansScorer",
}


def encoder(**arguments: Any) -> dict[str, Any]:
    return {"encoder": {"class_path": CNN, "init_args": arguments}}


@pytest.mark.parametrize(
    "given",
    [
        encoder(augment=TRACE),
        encoder(augment=RUN),
        encoder(augment="torch.nn.Linear"),
        encoder(augment={"class_path": "torch.nn.Linear", "init_args": {"in_features": 1, "out_features": 1}}),
        encoder(augment=[RUN]),
        encoder(augment={"class_path": CNN}),
        encoder(augment={"class_path": "SpecAugment", "dict_kwargs": {"x": RUN}}),
        encoder(augment={"init_args": {"root": RUN}}),
        encoder(width=RUN),
        encoder(width="subprocess.getoutput"),
        encoder(nothing_like_it=1),
        {"encoder": RUN},
        {"encoder": "os.system"},
        {"encoder": "/etc/passwd"},
        {"encoder": [RUN]},
        {"encoder": {"class_path": ["os.system"]}},
        {"encoder": {"class_path": "asd.encoders.augment.SpecAugment"}},
        {"encoder": {"class_path": "Fusion", "init_args": {"encoders": [CNN, RUN]}}},
        {"encoder": {"class_path": "Fusion", "init_args": {"encoders": [{"class_path": CNN, "init_args": "a.yaml"}]}}},
        {"encoder": {"class_path": "Fusion", "init_args": {"encoders": "encoders.yaml"}}},
        {"encoder": {"class_path": "LoRA", "init_args": {"encoder": TRACE}}},
        {"encoder": {"class_path": "TransformersAudio", "init_args": {"config": {"x": RUN}}}},
        {"encoder": {"class_path": "TransformersAudio", "init_args": {"config": {"x": [{"y": RUN}]}}}},
        {"encoder": {"class_path": "TransformersAudio", "init_args": {"config": {"x": yaml.safe_dump(RUN)}}}},
        {"encoder": {"class_path": "TransformersAudio", "init_args": {"config": {"init_args": {}}}}},
        {"encoder": CNN, "encoder.init_args.augment": RUN},
        {"encoder": CNN, "encoder.init_args.augment.class_path": "os.system"},
        {"encoder": CNN, "optimizer": RUN},
        {"encoder": CNN, "optimizer": "options.yaml"},
        {"encoder": CNN, "optimizer": {"name": RUN}},
        {"encoder": CNN, "optimizer": {"lr": "1e-3"}},
        {"encoder": CNN, "scorer": {"class_path": "LocalDensity", "init_args": {"scorer": RUN}}},
        {"encoder": CNN, "scorer": {"class_path": "LocalDensity", "init_args": {"scorer": "GammaThreshold"}}},
        {"encoder": CNN, "threshold": "KMeansScorer"},
        {"encoder": CNN, "head": "asd.training.module.AnomalyDetector"},
        {"encoder": CNN, "mixup": "asd.encoders.augment.SpecAugment"},
        {"encoder": torch.ones(1)},
        "model.yaml",
        [],
    ],
    ids=lambda given: str(given)[:90],
)
def test_a_model_that_asks_for_more_is_refused(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []
    monkeypatch.setattr("subprocess.getoutput", called.append)
    monkeypatch.setattr("os.system", called.append)
    with pytest.raises(UserError, match=r"^model"):
        trusted_arguments(given, AnomalyDetector, "model")
    assert not called


def test_classes_of_their_contract_pass_by_name_and_by_path() -> None:
    found = trusted_arguments(GOOD, AnomalyDetector, "model")
    assert found["encoder"]["init_args"]["augment"] == {"class_path": "asd.encoders.SpecAugment"}
    assert found["scorer"] == {"class_path": "asd.scoring.KMeansScorer"}
    by_door = {"class_path": "asd.scoring.KMeansScorer", "init_args": {"k": 4}}
    assert trusted_class(by_door, Scorer, "scorer") == by_door


@pytest.mark.parametrize("base", [Encoder, Augmentation, Head, Scorer, Threshold, ClipDataModule])
def test_every_place_for_a_class_has_a_contract(base: type) -> None:
    importlib.import_module("asd.cli.training")  # with every data module
    ours = [cls for cls in plugins.known(base).values() if cls.__module__.startswith("asd")]
    assert ours
    for cls in ours:
        for name, hint in arguments(cls).items():
            for kind in members(hint):
                is_class = isinstance(kind, type) and not _is_plain(kind)
                assert not is_class or plugins.is_contract(kind), f"{cls.__name__}.{name}: {kind}"
                assert kind is not Any, f"{cls.__name__}.{name} takes anything"


def test_every_registered_encoder_may_be_named() -> None:
    for cls in plugins.known(Encoder).values():  # type: ignore[type-abstract]
        assert trusted_class(cls.__name__, Encoder, "encoder")["class_path"] == f"{cls.__module__}.{cls.__qualname__}"


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ({"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"dirpath": "/tmp"}}, pl.Callback),
        ({"class_path": "lightning.pytorch.loggers.WandbLogger"}, pl.loggers.Logger),
        ({"class_path": "torch.nn.ReLU"}, torch.nn.Module),
        ({"class_path": "asd.data.datamodule.ClipDataModule"}, ClipDataModule),
        ({"class_path": "asd.__main__"}, ClipDataModule),
    ],
)
def test_of_contracts_that_are_not_ours_our_classes_alone_count(given: Any, base: type) -> None:
    with pytest.raises(UserError, match="no registered"):
        trusted_class(given, base, "place")
    ours = trusted_class("asd.training.averaging.AveragedWeights", pl.Callback, "trainer.callbacks")
    assert ours["class_path"] == "asd.training.AveragedWeights"


def test_nothing_is_imported_because_a_file_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no registered Encoder"):
        trusted_class("antigravity.Encoder", Encoder, "encoder")
    assert "antigravity" not in sys.modules


def test_a_class_of_ones_own_is_registered_by_its_import_or_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(Augmentation):
        def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
            return spectrogram

    Mine.__module__, Mine.__qualname__ = "my_own", "Mine"
    module = types.ModuleType("my_own")
    module.Mine = Mine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_own", module)
    assert trusted_class("my_own.Mine", Augmentation, "augment")["class_path"] == "my_own.Mine"

    class Callback(pl.Callback):
        pass

    Callback.__module__, Callback.__qualname__ = "my_own", "Callback"
    module.Callback = Callback  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="no registered Callback"):
        trusted_class("my_own.Callback", pl.Callback, "callbacks")
    assert trusted_class("my_own.Callback", pl.Callback, "callbacks", {"my_own.Callback"}) == {
        "class_path": "my_own.Callback"
    }
    with pytest.raises(UserError, match="subclass"):
        trusted_class("my_own.Callback", Augmentation, "augment", {"my_own.Callback"})


def test_places_without_a_contract_take_values_alone() -> None:
    given = {"free": {"a": [1, "two", None]}, "options": {"size": 2, "pair": [3, 4.0]}}
    assert trusted_arguments(given, _Broad, "encoder") == given
    for bad in ({"augment": "SpecAugment"}, {"augment": {"class_path": "SpecAugment"}}, {"free": {"a.b": 1}}):
        with pytest.raises(UserError):
            trusted_arguments(bad, _Broad, "encoder")


def test_the_blocks_of_a_run_pass_as_they_are_kept(parse: Any, shared_config: Any) -> None:
    for name, cls in _BLOCKS.items():
        assert trusted_arguments(shared_config[name], cls, name).keys() == shared_config[name].keys()
    assert SpecAugment.__name__ in plugins.known(Augmentation)  # type: ignore[type-abstract]
    assert DualBranchCNN in plugins.known(Encoder).values()  # type: ignore[type-abstract]


@pytest.fixture
def shared_config(trained: Any) -> Any:
    content = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    return content["asd"]["config"]
