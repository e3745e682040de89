"""Several seeds in one pass: each is trained as it would be alone, and all are scored together."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from asd_plugins.beats import BEATs
from asd_plugins.bitfit import BitFit
from asd_plugins.bottleneck import Bottleneck
from asd_plugins.dasheng import Dasheng
from asd_plugins.dual_branch import DualBranchCNN
from asd_plugins.fusion import Fusion
from asd_plugins.lora import LoRA
from asd_plugins.seeds import SeedEnsemble
from torch import Tensor

from asd.data.clip import ClipBatch
from asd.encoders import Adapter, Encoder, SpecAugment
from asd.errors import UserError
from asd.heads import EnsembleHead, FeatureExchange, Head, SubclusterAdaCos
from asd.inference import Detector
from asd.training.module import AnomalyDetector
from asd.training.optim import OptimizerOptions
from tests.unit.conftest import ENCODER, SmallRun, small_model, small_trainer

WAVES = torch.randn(6, 16000, generator=torch.Generator().manual_seed(0)) / 10


def step(model: AnomalyDetector, seed: int = 3) -> Tensor:
    model.log = lambda *_, **__: None  # type: ignore[method-assign]
    torch.manual_seed(seed)
    return model.training_step(ClipBatch(WAVES, torch.tensor([0, 1, 2, 0, 1, 2]), torch.arange(6)), 0)


def made(seed: int, encoder: SeedEnsemble | DualBranchCNN) -> AnomalyDetector:
    torch.manual_seed(seed)
    model = small_model(
        encoder=encoder, adapter=Adapter(embedding_dim=6), head=SubclusterAdaCos(2), exchange=FeatureExchange()
    )
    model.build(["a", "b", "c"], ["fan"])
    return model.train()


def part_of(model: AnomalyDetector, number: int) -> dict[str, Tensor]:
    """The weights of one model of an ensemble, by the names that they have in a detector of that model alone."""
    prefixes = {
        f"encoder.encoders.{number}.": "encoder.", f"adapter.members.{number}.": "adapter.",
        f"head.heads.{number}.": "head.", f"exchange.head.heads.{number}.": "exchange.head.",
    }  # fmt: skip
    state = model.state_dict()
    return {
        new + key.removeprefix(old): value for old, new in prefixes.items() for key, value in state.items()
        if key.startswith(old)
    }  # fmt: skip


def test_each_is_trained_as_it_would_be_alone() -> None:
    together = made(0, SeedEnsemble(DualBranchCNN(**ENCODER), 3))
    separate = []
    for number in range(3):
        alone = made(9, DualBranchCNN(**ENCODER))
        missing, unexpected = alone.load_state_dict(part_of(together, number), strict=False)
        assert not unexpected
        assert all(name.startswith(("scorer.", "sections.")) for name in missing), missing
        separate.append(alone)
    optimizers = [torch.optim.Adam(model.parameters(), 1e-2) for model in (together, *separate)]
    for seed in range(3):
        losses = []
        for model, optimizer in zip((together, *separate), optimizers, strict=True):
            optimizer.zero_grad()
            losses.append(step(model, seed))
            losses[-1].backward()
        torch.testing.assert_close(losses[0], sum(losses[1:]))
        parts = dict(together.named_parameters())
        for number, alone in enumerate(separate):
            gradients = {name: one.grad for name, one in alone.named_parameters()}
            for name in ("encoder.spectrogram_branch.stem.0.weight", "adapter.projection.1.weight", "head.centres"):
                start, _, rest = name.partition(".")
                own = {"encoder": "encoders", "adapter": "members", "head": "heads"}[start]
                torch.testing.assert_close(parts[f"{start}.{own}.{number}.{rest}"].grad, gradients[name])
        for optimizer in optimizers:
            optimizer.step()
    for number, alone in enumerate(separate):
        for name, value in part_of(together, number).items():
            torch.testing.assert_close(value, alone.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_the_copies_begin_elsewhere_and_hold_what_the_encoder_holds() -> None:
    torch.manual_seed(0)
    encoder = LoRA(BEATs.tiny(), rank=2, dropout=0.1)
    ensemble = SeedEnsemble(encoder, 3)
    first, second, third = ensemble.encoders
    assert first is encoder is ensemble.encoder
    for one, other in ((first, second), (second, third)):
        assert one.state_dict().keys() == other.state_dict().keys()
        assert not torch.equal(*(next(model.encoder.parameters()) for model in (one, other)))
    augmented = SeedEnsemble(DualBranchCNN(**ENCODER, augment=SpecAugment(time_width=0.4)), 2)
    assert augmented.encoders[1].augment.time_width == 0.4
    assert augmented.encoders[1].augment is not augmented.encoders[0].augment


def test_what_is_scored_holds_each_model_at_unit_length() -> None:
    model = made(0, SeedEnsemble(DualBranchCNN(**ENCODER), 3)).eval()
    with torch.no_grad():
        found = model.embed(WAVES).split(6, 1)
        for number, own in enumerate(found):
            alone = model.adapter.members[number].embed(model.encoder.encoders[number](WAVES))
            torch.testing.assert_close(own, alone / alone.norm(dim=1, keepdim=True))
    assert (model.adapter.scored_dim, model.adapter.head_dim) == (18, 18)


def test_bands_of_all_models_lie_side_by_side() -> None:
    encoder = SeedEnsemble(DualBranchCNN(**ENCODER, rows=4), 2).eval()
    adapter = Adapter(embedding="bands").build(1, encoder.feature_dim, encoder.layout, encoder.members)
    assert adapter.scored_bands == 8
    with torch.no_grad():
        found = adapter.embed(encoder(WAVES)).unflatten(1, (2, 4, -1))
        for number, one in enumerate(encoder.encoders):
            rows = one.layout.grid(one(WAVES))[:, 0, 0]
            torch.testing.assert_close(found[:, number], rows / rows.flatten(1).norm(dim=1)[:, None, None])


def test_it_fits_is_kept_and_scores_the_same_from_the_file(small_run: SmallRun, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small_model(
        encoder=SeedEnsemble(DualBranchCNN(**ENCODER), 2), exchange=FeatureExchange(),
        optimizer=OptimizerOptions("AdamW", weight_decay=0.1),
    )  # fmt: skip
    trainer = small_trainer(tmp_path)
    trainer.fit(model, datamodule=small_run.data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert "train/accuracy_attribute" in trainer.callback_metrics
    detector = Detector.load(tmp_path / "last.ckpt")
    assert isinstance(detector.model.head, EnsembleHead)
    numbers = torch.zeros(6, dtype=torch.int64)
    with torch.no_grad():
        torch.testing.assert_close(detector.model(WAVES, numbers), copy.deepcopy(model).eval()(WAVES, numbers))


class _OfItsOwn(SubclusterAdaCos):
    """A head that says nothing of ensembles."""


@pytest.mark.parametrize("head", [_OfItsOwn(1), EnsembleHead(_OfItsOwn(1), 2)], ids=["one", "for each"])
def test_the_head_is_one_for_each_whether_that_is_said_or_not(head: Head) -> None:
    model = small_model(encoder=SeedEnsemble(DualBranchCNN(**ENCODER), 2), head=head)
    assert isinstance(model.head, EnsembleHead)
    assert [type(one) for one in model.head.heads] == [_OfItsOwn, _OfItsOwn]


@pytest.mark.parametrize("adapt", [lambda one: LoRA(one, 2), BitFit, lambda one: Bottleneck(one, 2)])
def test_adapters_around_it_leave_it_an_ensemble(adapt: Callable[[Encoder], Encoder]) -> None:
    encoder = adapt(SeedEnsemble(BEATs.tiny(), 2))
    assert encoder.members == 2
    model = small_model(encoder=encoder, adapter=Adapter(embedding_dim=6))
    assert isinstance(model.head, EnsembleHead)
    assert len(model.adapter.members) == 2


def test_it_is_put_around_a_fusion_not_into_one() -> None:
    with pytest.raises(UserError, match="Fusion: an encoder is an ensemble; fuse the encoders, and put SeedEnsemble"):
        Fusion([SeedEnsemble(BEATs.tiny(), 2), Dasheng.tiny()])
    assert SeedEnsemble(Fusion.tiny(), 2).members == 2


def test_what_is_no_ensemble_is_told() -> None:
    with pytest.raises(UserError, match="count is 1; give 2 or more"):
        SeedEnsemble(DualBranchCNN.tiny(), 1)
    with pytest.raises(UserError, match="no ensemble itself"):
        SeedEnsemble(SeedEnsemble.tiny())
