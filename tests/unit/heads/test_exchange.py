"""Feature exchange: whose parts lie where, what the labels say of it, and what it costs nothing of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from asd_plugins.autoencoder import Autoencoder
from torch import Tensor

from asd.data.clip import ClipBatch
from asd.encoders import Adapter, Mixup
from asd.errors import UserError
from asd.heads import AdaProj, CrossEntropy, FeatureExchange, Reconstruction, SubclusterAdaCos
from asd.inference import Detector
from asd.machine import sections_of
from asd.training import checkpoints
from asd.training.module import AnomalyDetector
from asd.training.optim import parameter_groups
from tests.unit.conftest import SmallRun, small_model, small_trainer

CLIPS = 16


def exchange(branches: tuple[int, ...], **options: object) -> FeatureExchange:
    made = FeatureExchange(**options)
    made.take("It", branches, CrossEntropy())
    return made.train()


def numbered(*widths: int) -> Tensor:
    """``(B, 1, 1, D)``: in every column the number of the clip."""
    return torch.arange(float(CLIPS))[:, None, None, None].expand(-1, 1, 1, sum(widths))


@pytest.mark.parametrize("widths", [(3, 2), (2, 1, 4)])
def test_each_branch_is_of_the_clip_that_its_labels_are_of(widths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    made, labels = exchange(widths), torch.eye(CLIPS)
    features, targets = made(numbered(*widths), labels)
    assert targets.shape == (CLIPS, (1 + len(widths)) * CLIPS)
    whole, *shares = targets.split(CLIPS, 1)
    exchanged = whole.sum(1) == 0
    assert 0.2 < exchanged.float().mean() < 0.8
    assert torch.equal(whole[~exchanged], labels[~exchanged])
    sources = []
    for part, share in zip(features[:, 0, 0].split(widths, 1), shares, strict=True):
        assert (part == part[:, :1]).all(), "a branch is of one clip"
        source = part[:, 0].long()
        sources.append(source)
        torch.testing.assert_close(share[exchanged], labels[source[exchanged]] / len(widths))
        assert not share[~exchanged].any()
    own = torch.arange(CLIPS)
    assert torch.equal(sources[0], own), "the first branch stays"
    for source in sources[1:]:
        assert torch.equal(source[~exchanged], own[~exchanged])
        assert (source[exchanged] != own[exchanged]).all(), "no clip is its own partner"
    torch.testing.assert_close(targets.sum(1), torch.ones(CLIPS))


def test_mixed_labels_are_exchanged_in_their_shares() -> None:
    labels = torch.rand(CLIPS, 5, generator=torch.Generator().manual_seed(1)).softmax(1)
    features, targets = exchange((1, 1), probability=1.0)(numbered(1, 1), labels)
    source = features[:, 0, 0, 1].long()
    torch.testing.assert_close(targets, torch.cat([torch.zeros(CLIPS, 5), labels / 2, labels[source] / 2], 1))


def test_all_frames_and_layers_of_a_branch_go_together_also_of_models_side_by_side() -> None:
    features = numbered(2, 1, 2, 1).expand(-1, 2, 7, -1)
    swapped, _ = exchange((2, 1), probability=1.0)(features, torch.eye(CLIPS))
    other = swapped[:, :1, :1, 2:3]
    expected = torch.cat([features[..., :2], other.expand(-1, 2, 7, 1)], -1)
    assert torch.equal(swapped, torch.cat([expected, expected], -1))


@pytest.mark.parametrize("how", ["evaluation", "never", "a single clip"])
def test_nothing_is_exchanged(how: str) -> None:
    made = exchange((1, 1), probability=0.0 if how == "never" else 1.0).train(how != "evaluation")
    features, labels = numbered(1, 1), torch.eye(CLIPS)
    if how == "a single clip":
        features, labels = features[:1], labels[:1]
    swapped, targets = made(features, labels)
    assert torch.equal(swapped, features)
    assert torch.equal(targets, torch.cat([labels, torch.zeros(len(labels), 2 * CLIPS)], 1))


def test_the_head_is_like_that_of_whole_clips_unless_one_is_given() -> None:
    head = SubclusterAdaCos(3)
    like = small_model(head=head, exchange=FeatureExchange())
    given = small_model(head=head, exchange=FeatureExchange(head=AdaProj(2)))
    for model in (like, given):
        model.build(["a", "b"], ["fan"])
    assert head.centres.shape == (2 * 3, 4)
    assert isinstance(like.exchange.head, SubclusterAdaCos) and like.exchange.head.centres.shape == (3 * 2 * 3, 4)
    assert isinstance(given.exchange.head, AdaProj) and given.exchange.head.directions.shape == (3 * 2, 2, 4)


def step(model: AnomalyDetector, seed: int) -> Tensor:
    waves = torch.randn(5, 16000, generator=torch.Generator().manual_seed(0)) / 10
    model.log = lambda *_, **__: None  # type: ignore[method-assign]
    torch.manual_seed(seed)
    return model.training_step(ClipBatch(waves, torch.tensor([0, 1, 0, 1, 1]), torch.arange(5)), 0)


def test_its_loss_is_added_to_that_of_the_whole_clips() -> None:
    torch.manual_seed(0)
    model = small_model(adapter=Adapter(), mixup=None, head=CrossEntropy(), exchange=FeatureExchange(weight=0.25))
    model.build(["a", "b"], ["fan"])
    made, model.exchange = model.exchange, None
    whole = step(model.eval(), 3)
    model.exchange = made
    features = model.encoder(torch.randn(5, 16000, generator=torch.Generator().manual_seed(0)) / 10)
    labels = torch.eye(2)[[0, 1, 0, 1, 1]]
    torch.manual_seed(3)
    swapped, targets = made.train()(features, labels)
    torch.manual_seed(3)
    found = step(model, 3)
    torch.testing.assert_close(found, whole + 0.25 * made.head(model.adapter(swapped), targets))
    found.backward()
    assert all(one.grad is not None for one in model.parameters())
    groups = parameter_groups(model.encoder, [model.adapter, model.head, made], model.optimizer_options)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_it_trains_is_kept_for_a_run_that_goes_on_and_left_out_of_what_scores(
    small_run: SmallRun, tmp_path: Path
) -> None:
    model = small_model(exchange=FeatureExchange(), mixup=Mixup())
    model.build(small_run.data.classes.names, sections_of(small_run.data.reference_clips))
    before = model.exchange.head.centres.detach().clone()
    trainer = small_trainer(tmp_path)
    trainer.fit(model, datamodule=small_run.data)
    assert not torch.equal(model.exchange.head.centres, before)
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    content = checkpoints.load(path)
    assert "exchange.head.centres" in content["state_dict"]
    exchanged = content[checkpoints.KEY]["config"]["model"]["exchange"]
    assert exchanged["class_path"] == "asd.heads.FeatureExchange"
    detector = Detector.load(path)
    assert detector.model.exchange is None
    again, without = small_model(exchange=FeatureExchange()), small_model()
    for one in (again, without):
        one.config = content[checkpoints.KEY]["config"]
        loaded = checkpoints.load(path)
        one.on_load_checkpoint(loaded)
        one.load_state_dict(loaded["state_dict"])
    assert torch.equal(again.exchange.head.centres, model.exchange.head.centres)
    # A run that had none: its weights are taken, and what is new begins.
    new, earlier = small_model(exchange=FeatureExchange()), checkpoints.load(small_run.checkpoint)
    new.config = small_run.config
    new.on_load_checkpoint(earlier)
    new.load_state_dict(earlier["state_dict"])
    assert torch.equal(new.head.centres, small_run.model.head.centres)


def test_what_cannot_be_exchanged_is_told() -> None:
    with pytest.raises(UserError, match=r"probability is 1\.5 and weight 1"):
        FeatureExchange(1.5)
    with pytest.raises(UserError, match="weight 0; give"):
        FeatureExchange(weight=0)
    with pytest.raises(UserError, match=r"Autoencoder has a single branch, .* set model\.exchange to null"):
        small_model(encoder=Autoencoder.tiny(), exchange=FeatureExchange())
    with pytest.raises(UserError, match="Reconstruction tells no classes apart"):
        small_model(head=Reconstruction(), exchange=FeatureExchange())
