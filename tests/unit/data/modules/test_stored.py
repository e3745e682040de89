"""Training on stored vectors is training beside a frozen encoder, and the checkpoint scores recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from asd_plugins.dasheng import CED
from asd_plugins.dual_branch import DualBranchCNN
from torch import Tensor

import asd
from asd.data import ClipDataModule, Stored, ToyADMOS2
from asd.encoders import Adapter, Mixup
from asd.errors import UserError
from asd.evaluation import embedding_store
from asd.heads import FeatureExchange, SubclusterAdaCos
from asd.run_folder import RunFolder
from asd.testing import write_dataset
from asd.training import WarmUp
from asd.training.callbacks import RunOutputs
from asd.training.module import AnomalyDetector
from asd.training.optim import OptimizerOptions
from asd.training.restore import restore
from asd.training.restore_data import data_of
from tests.unit.conftest import ENCODER, small_trainer

OPTIONS: dict[str, Any] = {"seconds": 1.0, "batch_size": 4, "clean_class": "none", "noise_class": "none"}


def detector(seed: int = 0, **changed: Any) -> AnomalyDetector:
    torch.manual_seed(seed)
    parts: dict[str, Any] = {"encoder": CED(shape=CED.tiny().shape), "adapter": Adapter(embedding_dim=6)}
    optimizer = OptimizerOptions("AdamW", lr=1e-2)
    return AnomalyDetector(**{**parts, "head": SubclusterAdaCos(2, trainable=True), "optimizer": optimizer, **changed})


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("sound"), seconds=0.5)  # so that none is cropped at random


@pytest.fixture(scope="module")
def store(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    outputs = RunOutputs(folder=folder, also=["pooled"])
    trainer = small_trainer(folder, callbacks=[outputs])
    trainer.predict(detector(), datamodule=ToyADMOS2(sound, **OPTIONS), return_predictions=False)
    return folder


def fitted(folder: Path, model: AnomalyDetector, data: ClipDataModule) -> AnomalyDetector:
    pl.seed_everything(1, verbose=False)
    trainer = small_trainer(folder, max_epochs=3, callbacks=[WarmUp(-1)], num_sanity_val_steps=0)
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(folder / "last.ckpt")
    return model


def test_it_is_the_training_beside_a_frozen_encoder(sound: Path, store: Path, tmp_path: Path) -> None:
    ((heard, first), (given, second)) = (
        (fitted(tmp_path, model := detector(), data), model.trainer.callback_metrics["train/loss"])
        for data in (ToyADMOS2(sound, **OPTIONS), Stored(store, **OPTIONS))
    )
    torch.testing.assert_close(first, second)
    assert heard.classes == given.classes
    state = given.state_dict()
    for name, value in heard.state_dict().items():
        if name.startswith(("encoder.", "adapter.", "head.")):
            torch.testing.assert_close(value, state[name], rtol=1e-3, atol=1e-5)
    assert [one.name for one in heard.scores] == [one.name for one in given.scores]
    scores = [torch.tensor([one.score for one in model.scores]) for model in (heard, given)]
    torch.testing.assert_close(*scores, rtol=1e-3, atol=1e-5)


def test_the_encoder_is_not_heard_and_yet_the_checkpoint_scores(
    sound: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    forward = CED.forward

    def counted(self: CED, waveform: Tensor) -> Tensor:
        heard.append(len(waveform))
        return forward(self, waveform)

    monkeypatch.setattr(CED, "forward", counted)
    model = fitted(tmp_path, detector(), Stored(store, **OPTIONS))
    assert heard == [1], "once, to know it"
    clip = next(iter(sorted((sound / "dev_data/raw/fan/test").iterdir())))
    result = asd.Detector.load(tmp_path / "last.ckpt").score(clip, machine="fan")
    assert result.score == pytest.approx(next(one.score for one in model.scores if one.name == clip.name), rel=1e-3)


def test_what_needs_the_sound_itself_is_told_that_there_is_none(store: Path, tmp_path: Path) -> None:
    fitted(tmp_path, detector(), Stored(store, **OPTIONS))
    _, config = restore(tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"the data are vectors in .*, not the sound that is needed here"):
        data_of(config, 16000)


def test_a_checkpoint_is_tested_on_stored_vectors_and_on_sound(sound: Path, store: Path, tmp_path: Path) -> None:
    fitted(tmp_path, detector(), Stored(store, **OPTIONS))
    tables = []
    for data in (ToyADMOS2(sound, **OPTIONS), Stored(store, **OPTIONS)):
        model = detector(seed=5)
        small_trainer(tmp_path).test(model, datamodule=data, ckpt_path=tmp_path / "last.ckpt", verbose=False)
        tables.append(torch.tensor([one.score for one in model.scores]))
    torch.testing.assert_close(*tables, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mixup": Mixup(1.0)}, "mixup is of waveforms; set model.mixup to null"),
        ({"exchange": FeatureExchange(), "encoder": DualBranchCNN(**ENCODER)}, "set model.exchange to null"),
        ({"adapter": Adapter(pooling="attentive_statistics", embedding_dim=6)}, "pooling has parameters of its own"),
        ({"adapter": Adapter(embedding_dim=6, embedding="pooled")}, "training changes nothing of what is scored; set"),
        ({"adapter": Adapter()}, "training changes nothing of what is scored; set .*, and give embedding_dim"),
        ({"adapter": Adapter(embedding_dim=6, embedding="tokens")}, "adapter.embedding is tokens.*; set it to proj"),
        ({"adapter": Adapter(pooling="mean_max", embedding_dim=6)}, r"vectors of 16 numbers, but .* pool to 32; store"),
        ({"adapter": Adapter(pooling="max", embedding_dim=6)}, "is of other weights than this encoder, or was pooled"),
        ({"encoder": DualBranchCNN(**ENCODER)}, "front end of this one is fitted on waveforms, which are not there"),
        ({"seed": 5}, "is of other weights than this encoder, or was pooled otherwise; give the same"),
    ],
)
def test_what_needs_the_encoder_or_another_one(store: Path, tmp_path: Path, changed: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fitted(tmp_path, detector(**changed), Stored(store, **OPTIONS))


def test_the_encoder_has_to_be_frozen(store: Path, tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, callbacks=[WarmUp(0)])
    with pytest.raises(UserError, match=r"the encoder is not heard there; set warmup\.epochs to -1"):
        trainer.fit(detector(), datamodule=Stored(store, **OPTIONS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 2.0}, "set data.seconds to 1.0"),
        ({"pad": "zeros"}, "set data.pad to repeat"),
        ({"channels": "near"}, "set data.channels to mean"),
        ({"band": 4000.0}, "set data.band to None"),
        ({"crop_seconds": 0.5}, "data.crop_seconds changes what is heard, but Stored holds no sound; leave it out"),
    ],
)
def test_clips_that_were_heard_otherwise(store: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Stored(store, **{**OPTIONS, **options}).setup("fit")


def test_a_store_without_pooled_vectors(store: Path, tmp_path: Path) -> None:
    for kind in embedding_store.SUBSETS:
        stored = embedding_store.read_file(RunFolder(store).embeddings / f"{kind}.safetensors")
        embedding_store.write(tmp_path / f"{kind}.safetensors", stored.of("projected"))
    with pytest.raises(UserError, match="no pooled vectors whose origin is known; write it anew with `asd predict"):
        Stored(tmp_path, **OPTIONS).setup("fit")
    with pytest.raises(UserError, match="no folder"):
        Stored(tmp_path / "nothing", **OPTIONS).setup("fit")


def test_names_of_test_clips_change_nothing(store: Path, tmp_path: Path) -> None:
    reference, query = (RunFolder(store).embeddings / f"{kind}.safetensors" for kind in embedding_store.SUBSETS)
    stored = embedding_store.read_file(query)
    neutral = [
        replace(clip, name=f"{number}.wav", domain=None, condition=None, attributes="")
        for number, clip in enumerate(stored.clips)
    ]
    embedding_store.write(tmp_path / query.name, replace(stored, clips=tuple(neutral)))
    embedding_store.write(tmp_path / reference.name, embedding_store.read_file(reference))
    found = []
    for folder in (store, tmp_path):
        data = Stored(folder, **OPTIONS)
        data.setup("fit")
        found.append((data.classes.names, torch.cat([batch.waveform for batch in data.val_dataloader()[1]])))
    (names, vectors), (others, renamed) = found
    assert names == others
    assert torch.equal(vectors.sort(0).values, renamed.sort(0).values)
