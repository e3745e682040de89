"""The LightningModule: what it builds, learns, collects, fits and keeps, by one epoch on short clips."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from asd_plugins.beats import BEATs

from asd.data.classes import ClassTable
from asd.data.clip import ClipBatch
from asd.described import described
from asd.errors import Notice, UserError
from asd.evaluation import embedding_store
from asd.heads import AdaCos
from asd.scoring import KMeansScorer, Scorer, ZFusion
from asd.scoring.threshold import GammaThreshold
from asd.training import checkpoints as kept
from asd.training.module import AnomalyDetector
from asd.training.optim import OptimizerOptions
from asd.utils.fingerprint import fingerprint
from tests.unit.conftest import SmallRun, small_data, small_model, small_trainer

NAMES = ("fan_section_00", "valve_section_00")
WAVES = torch.randn(5, 16000, generator=torch.Generator().manual_seed(0)) / 10


def attached(model: AnomalyDetector, data: object, folder: Path) -> AnomalyDetector:
    trainer = small_trainer(folder)
    trainer.datamodule = data  # type: ignore[attr-defined]
    model.trainer = trainer
    return model


# -- building


def test_what_is_not_given_is_the_challenge_baseline() -> None:
    model = AnomalyDetector(small_model().encoder)
    assert isinstance(model.head, AdaCos)
    assert isinstance(model.scorer, KMeansScorer)
    assert isinstance(model.threshold, GammaThreshold) and model.threshold.quantile == 0.9
    assert model.mixup is None
    assert not model.fitted


def test_building_twice_for_the_same_data_changes_nothing() -> None:
    model = small_model()
    model.build(["b", "a"], ["valve", "fan"])
    head, sections = copy.deepcopy(model.head.state_dict()), model.sections
    model.build(["b", "a"], ["valve", "fan"])
    assert all(torch.equal(model.head.state_dict()[key], value) for key, value in head.items())
    assert model.sections is sections
    assert model.classes == ("b", "a")
    model.build(["b", "a"], ["fan"])
    assert model.sections.names == ("fan",)


def test_it_trains_on_a_clip_data_module_alone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs a ClipDataModule: trainer\.fit\(detector, datamodule=\.\.\.\)"):
        attached(small_model(), None, tmp_path).setup("fit")


def test_lengths_that_do_not_fit_are_said(small_run: SmallRun, tmp_path: Path) -> None:
    data = small_data(small_run.data.root, crop_seconds=0.5, seconds=2.0)
    data.setup("fit")
    model = attached(small_model(), data, tmp_path)
    said = pytest.warns(UserWarning, match=r"clips of 2 s .* to the 1 s that DualBranchCNN is built for")
    with said, pytest.raises(UserError, match=r"crop_seconds is 0\.5 but DualBranchCNN is built for 1 s.*to null"):
        model.setup("fit")
    with pytest.warns(UserWarning, match="clips of 2 s"):
        model.setup("test")  # crops are of training alone
    assert model.sections.names == NAMES


def test_a_single_class_is_warned_of(small_run: SmallRun, tmp_path: Path) -> None:
    data = small_data(small_run.data.root)
    data.setup("fit")
    data.classes = ClassTable(("one",))
    with pytest.warns(Notice, match=r"a single auxiliary class \(one\)"):
        attached(small_model(), data, tmp_path).setup("fit")


def test_training_goes_on_with_the_same_classes_alone(small_run: SmallRun, tmp_path: Path) -> None:
    model = small_model()
    model.build(["another"], NAMES)
    with pytest.raises(UserError, match="another"):
        attached(model, small_run.data, tmp_path).setup("fit")
    attached(model, small_run.data, tmp_path).setup("test")
    assert model.classes == ("another",), "nothing is built anew"


# -- one batch


def test_embeddings_and_scores_have_a_row_for_each_clip(small_run: SmallRun) -> None:
    model = small_run.model.eval()
    with torch.no_grad():
        embeddings = model.embed(WAVES)
        scores = model(WAVES, torch.tensor([0, 1, 0, 1, 1]))
        assert embeddings.shape == (5, model.adapter.scored_dim)
        assert embeddings.dtype == torch.float32
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert model.embed(WAVES).dtype == torch.float32
        torch.testing.assert_close(scores[1], model(WAVES[1:2], torch.tensor([1]))[0])
    torch.testing.assert_close(scores, model.sections(embeddings, torch.tensor([0, 1, 0, 1, 1])))


def stepped(model: AnomalyDetector, label: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
    logged: dict[str, Any] = {}
    model.log = lambda name, value, **options: logged.update({name: value, **options})  # type: ignore[method-assign]
    return model.training_step(ClipBatch(WAVES, label, torch.arange(5)), 0), logged


def test_a_step_gives_the_loss_of_the_labels_and_a_gradient_to_all() -> None:
    model = small_model(mixup=None)
    model.build(["a", "b", "c"], ["fan"])
    label = torch.tensor([0, 1, 2, 0, 1])
    torch.manual_seed(0)
    loss, logged = stepped(model.eval(), label)
    targets = torch.eye(3)[label]
    torch.testing.assert_close(loss, model.head(model.adapter(model.encoder(WAVES)), targets))
    assert torch.equal(logged["train/loss"], loss)
    assert (logged["on_epoch"], logged["on_step"], logged["batch_size"]) == (True, False, 5)
    loss.backward()
    assert all(one.grad is not None and bool(one.grad.isfinite().all()) for one in model.encoder.parameters())


def test_mixup_mixes_sound_and_labels_alike() -> None:
    seen = []

    class Recorded(torch.nn.Module):
        def forward(self, waveform: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            seen.append((waveform, targets))
            return waveform.flip(0), targets.flip(0)

    model = small_model(mixup=Recorded())
    model.build(["a", "b"], ["fan"])
    label = torch.tensor([0, 1, 1, 0, 1])
    mixed, _ = stepped(model.eval(), label)
    model.mixup = None
    plain, _ = stepped(model, label)
    torch.testing.assert_close(mixed, plain)
    assert torch.equal(seen[0][0], WAVES)
    assert torch.equal(seen[0][1], torch.eye(2)[label])


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    model = small_model(mixup=None)
    model.build(["a", "b"], ["fan"])
    batch = ClipBatch(WAVES * math.nan, torch.zeros(5, dtype=torch.int64), torch.arange(5))
    with pytest.raises(UserError, match="the loss is nan in epoch 0, batch 7"):
        model.training_step(batch, 7)


@pytest.mark.parametrize("keep", [lambda model: model.on_save_checkpoint({}), lambda model: model.on_train_epoch_end()])
def test_nothing_is_kept_of_a_step_whose_loss_nobody_looked_at(keep: Callable[[AnomalyDetector], None]) -> None:
    model = small_model()
    model._losses._held = torch.tensor(torch.nan), lambda: None, "epoch 3, batch 9"
    with pytest.raises(UserError, match="the loss is nan in epoch 3, batch 9"):
        keep(model)


def test_each_batch_and_seed_draws_its_own_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    model, drawn = small_model(), []
    batch = ClipBatch(WAVES, torch.arange(5), torch.arange(5))
    for seed, number in (("1", 0), ("1", 0), ("2", 0), ("1", 1)):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        model.on_train_batch_start(batch, number)
        drawn.append((float(torch.rand(())), float(np.random.random()), random.random()))
    assert drawn[0] == drawn[1]
    for numbers in zip(*drawn[1:], strict=True):
        assert len(set(numbers)) == 3


def test_the_optimizer_holds_every_parameter_and_its_schedule_goes_by_step(
    small_run: SmallRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pl.Trainer, "estimated_stepping_batches", 4)
    model = attached(small_model(optimizer=OptimizerOptions(schedule="cosine")), small_run.data, tmp_path)
    model.setup("fit")
    found = model.configure_optimizers()
    held = {id(one) for group in found["optimizer"].param_groups for one in group["params"]}
    assert held == {id(one) for one in model.parameters()}
    assert found["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(5):
        rates.append(found["lr_scheduler"]["scheduler"].get_last_lr()[0])
        found["optimizer"].step()
        found["lr_scheduler"]["scheduler"].step()
    assert rates[0] > rates[2] > rates[4] == 0
    model.optimizer_options = OptimizerOptions()
    assert isinstance(model.configure_optimizers(), torch.optim.Adam)


# -- a run


def test_a_fit_scores_every_test_clip_once(small_run: SmallRun) -> None:
    model = small_run.model
    assert model.fitted
    assert model.sections.names == NAMES
    assert [score.name for score in model.scores] == [clip.title for clip in small_run.data.query_clips]
    assert all(math.isfinite(score.score) for score in model.scores)
    for score in model.scores:
        number = NAMES.index(f"{score.machine}_section_{score.section}")
        alarm, doubt = model.sections.limits(number)
        assert doubt < alarm
        assert (score.decision, score.abstain) == (score.score > alarm, doubt < score.score <= alarm)
    assert set(model.metrics) == {"fan", "valve"}
    logged = small_run.trainer.callback_metrics
    assert {"train/loss", "val/official_score", "val/fan/auc_source", "val/valve/pauc"} <= set(logged)
    assert float(logged["val/fan/auc_source"]) == pytest.approx(model.metrics["fan"].auc_source)


def test_the_bank_is_the_normal_training_clips_in_order(small_run: SmallRun) -> None:
    model, data = small_run.model, small_run.data
    reference, query = model.embedded["reference"], model.embedded["query"]
    assert [clip.name for clip in reference.clips] == [clip.title for clip in data.reference_clips]
    assert [clip.name for clip in query.clips] == [clip.title for clip in data.query_clips]
    assert len(reference.embeddings) == 14
    for number in range(2):
        scores, target = model.sections.training_scores(number)
        assert (len(scores), int(target.sum())) == (7, 2)
    assert model.sections.knows_spectra
    known = torch.tensor([model.sections.index(clip.machine_section) for clip in data.query_clips])
    again = model.sections(query.embeddings, known)
    assert again.tolist() == pytest.approx([score.score for score in model.scores], rel=1e-5)


def test_a_fitted_one_is_tested_without_a_new_fit(small_run: SmallRun, tmp_path: Path) -> None:
    model = copy.deepcopy(small_run.model)
    sections = model.sections
    before = [score.score for score in model.scores]
    trainer = small_trainer(tmp_path)
    trainer.test(model, datamodule=small_data(small_run.data.root), verbose=False)
    assert model.sections is sections
    assert [score.score for score in model.scores] == pytest.approx(before, rel=1e-4)
    assert "test/official_score" in trainer.callback_metrics


def test_an_unfitted_one_is_fitted_for_the_test(small_run: SmallRun, tmp_path: Path) -> None:
    model = small_model()
    small_trainer(tmp_path).test(model, datamodule=small_data(small_run.data.root, batch_size=4), verbose=False)
    assert model.fitted
    assert len(model.scores) == 16


def test_predict_embeds_each_clip_once(small_run: SmallRun, tmp_path: Path) -> None:
    model = copy.deepcopy(small_run.model)
    small_trainer(tmp_path).predict(model, datamodule=small_data(small_run.data.root), return_predictions=False)
    assert set(model.embedded) == set(embedding_store.SUBSETS)
    for part in embedding_store.SUBSETS:
        found, before = model.embedded[part], small_run.model.embedded[part]
        assert found.clips == before.clips
        torch.testing.assert_close(found.embeddings, before.embeddings, rtol=1e-4, atol=1e-5)
        assert found.fingerprint == fingerprint([model.encoder, model.adapter])
        assert found.seconds == 1.0
        assert (found.what, found.bands, dict(found.others)) == (model.adapter.embedding, 1, {})


def test_predict_keeps_other_vectors_of_the_same_pass(small_run: SmallRun, tmp_path: Path) -> None:
    model = copy.deepcopy(small_run.model)
    model.also = ("pooled", "tokens/rdp4")
    small_trainer(tmp_path).predict(model, datamodule=small_data(small_run.data.root), return_predictions=False)
    for found in model.embedded.values():
        assert found.names == (model.adapter.embedding, *model.also)
        pooled, bands = found.others["pooled"]
        assert bands == 1
        # Each row is of the same clip: the projection makes of it what is scored.
        with torch.no_grad():
            torch.testing.assert_close(model.adapter.projection(pooled), found.embeddings, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.others["tokens/rdp4"][0], pooled)  # a single frame, whatever the pooling


# -- the checkpoint


def saved(run: SmallRun) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(run.checkpoint, weights_only=True)
    return content


def test_a_checkpoint_says_what_it_holds(small_run: SmallRun) -> None:
    described = kept.read_description(saved(small_run))
    assert tuple(described["classes"]) == small_run.data.classes.names
    assert tuple(described["sections"]) == NAMES
    assert described["config"]["model"] == small_run.config["model"]


def test_a_loaded_one_scores_as_the_saved_one(small_run: SmallRun) -> None:
    content, model = saved(small_run), small_model()
    model.config = small_run.config
    model.on_load_checkpoint(content)
    model.load_state_dict(content["state_dict"])
    numbers = torch.zeros(5, dtype=torch.int64)
    with torch.no_grad():
        assert torch.equal(model.eval()(WAVES, numbers), small_run.model.eval()(WAVES, numbers))


@pytest.mark.parametrize("scorer", [KMeansScorer(1), ZFusion()], ids=["of the same parts", "of others"])
def test_other_scoring_leaves_the_fitted_scorers_of_the_file_out(scorer: Scorer, small_run: SmallRun) -> None:
    content = saved(small_run)
    model = small_model(scorer=scorer)
    model.config = {**small_run.config, "model": {**small_run.config["model"], "scorer": described(scorer)}}
    model.on_load_checkpoint(content)
    model.load_state_dict(content["state_dict"])
    assert not model.fitted
    assert model.sections.names == NAMES
    assert torch.equal(model.encoder.state_dict()["statistics.mean"], content["state_dict"]["encoder.statistics.mean"])


def test_a_file_of_other_classes_is_refused_where_training_goes_on(small_run: SmallRun, tmp_path: Path) -> None:
    content = saved(small_run)
    content[kept.KEY]["classes"] = ["something else"]
    model = attached(small_model(), small_run.data, tmp_path)
    model.trainer.training = True
    with pytest.raises(UserError, match="something else"):
        model.on_load_checkpoint(content)
    model.trainer.training = False
    model.on_load_checkpoint(content)
    assert model.classes == ("something else",)


def test_a_run_whose_groups_decayed_all_but_vectors_goes_on(small_run: SmallRun, tmp_path: Path) -> None:
    encoder = BEATs.tiny()
    wide = [[p.ndim > 1 for p in stage.parameters()] for stage in reversed(encoder.stages())]
    earlier = [count for one in wide for count in (sum(one), len(one) - sum(one))]
    runs = []
    for epochs in (1, 2):
        model = small_model(encoder=BEATs.tiny(), optimizer=OptimizerOptions("AdamW", weight_decay=0.1))
        model._group_sizes = [*earlier, 1, 1, 1] if epochs == 1 else None  # then adapter and head
        trainer = small_trainer(tmp_path, max_epochs=epochs, limit_val_batches=0)
        path = tmp_path / "earlier.ckpt" if epochs == 2 else None
        trainer.fit(model, datamodule=small_data(small_run.data.root), ckpt_path=path)
        trainer.save_checkpoint(tmp_path / "earlier.ckpt")
        runs.append([(len(one["params"]), one["weight_decay"]) for one in trainer.optimizers[0].param_groups])
    assert runs[0] == runs[1]
    assert [count for count, _ in runs[1]][: len(earlier)] == earlier


def test_a_foreign_file_is_named() -> None:
    with pytest.raises(UserError, match="was not written by asd"):
        small_model().on_load_checkpoint({"state_dict": {}})


def test_two_fits_from_one_seed_are_the_same(small_run: SmallRun, tmp_path: Path) -> None:
    pl.seed_everything(1, verbose=False)
    model = small_model()
    small_trainer(tmp_path).fit(model, datamodule=small_data(small_run.data.root))
    for key, value in small_run.model.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[key], value), key
