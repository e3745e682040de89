"""Classification heads: what their losses reward, and that they survive low precision and tiny classes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asd.errors import UserError
from asd.heads import AdaCos, AdaProj, ArcFace, CrossEntropy, Head, SubclusterAdaCos
from asd.plugins import known

FOUND = {name: cls for name, cls in known(Head).items() if cls.__module__.startswith("asd.")}
HEADS = sorted(name for name, cls in FOUND.items() if cls.classifies)
WIDTH, CLASSES = 16, 5


def built(name: str, **options: object) -> Head:
    return make(name, **options).build(WIDTH, CLASSES)


def make(name: str, **options: object) -> Head:
    torch.manual_seed(0)
    if name == "AdaProj":
        options = {"subspace_dim": 2, **options}
    return known(Head)[name](**options)


def batch(clips: int = 12) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(clips, WIDTH), F.one_hot(torch.arange(clips) % CLASSES, CLASSES).float()


@pytest.mark.parametrize("name", HEADS)
def test_training_embeddings_against_the_head_separates_the_classes(name: str) -> None:
    head = built(name).train()
    embeddings, targets = batch(20)
    embeddings.requires_grad_(True)
    optimizer = torch.optim.Adam([embeddings, *head.parameters()], lr=0.05)
    first = last = None
    for _ in range(150):
        loss = head(embeddings, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = first if first is not None else loss.item(), loss.item()
    assert last < first
    assert (head.eval().logits(embeddings).argmax(1) == targets.argmax(1)).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", HEADS)
def test_low_precision_gives_finite_losses_and_gradients(name: str, dtype: torch.dtype) -> None:
    head = built(name).train()
    embeddings, targets = batch()
    low = (100 * embeddings).to(dtype).requires_grad_(True)
    with torch.autocast("cpu", dtype=dtype):
        loss = head(low, targets)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert low.grad.isfinite().all()


@pytest.mark.parametrize("name", HEADS)
def test_one_clip_one_class_and_a_clip_that_is_its_own_centre(name: str) -> None:
    head = make(name).build(WIDTH, 1).train()
    loss = head(torch.randn(1, WIDTH), torch.ones(1, 1))
    assert loss.isfinite()
    head = built(name).train()
    centres = getattr(head, "centres", torch.randn(CLASSES, WIDTH)).detach()[:CLASSES].clone().requires_grad_(True)
    loss = head(centres, torch.eye(CLASSES))
    loss.backward()
    assert loss.isfinite()
    assert centres.grad.isfinite().all()


@pytest.mark.parametrize("name", HEADS)
def test_soft_labels_lie_between_the_hard_ones(name: str) -> None:
    head = (built(name, margin=0.0) if name == "ArcFace" else built(name)).eval()
    embeddings, targets = batch()
    other = targets.roll(1, 1)
    one, two, mixed = (head(embeddings, t).item() for t in (targets, other, 0.3 * targets + 0.7 * other))
    assert mixed == pytest.approx(0.3 * one + 0.7 * two, rel=1e-4)


def test_without_margin_arcface_is_softmax_on_cosines() -> None:
    head, (embeddings, targets) = built("ArcFace", margin=0.0), batch()
    logits = 30 * F.cosine_similarity(embeddings[:, None], head.centres[None], dim=2)
    torch.testing.assert_close(head(embeddings, targets), F.cross_entropy(logits, targets), rtol=1e-3, atol=1e-3)


def test_the_margin_is_added_to_the_angle_of_the_labelled_class() -> None:
    head, (embeddings, targets) = built("ArcFace", scale=1.0, margin=0.3), batch()
    angles = F.cosine_similarity(embeddings[:, None], head.centres[None], dim=2).acos()
    expected = F.cross_entropy((angles + 0.3 * targets).cos(), targets)
    torch.testing.assert_close(head(embeddings, targets), expected, rtol=1e-4, atol=1e-4)


def test_the_scale_starts_where_adacos_starts_and_moves_only_in_training() -> None:
    head, (embeddings, targets) = built("AdaCos"), batch()
    start = math.sqrt(2) * math.log(CLASSES - 1)
    assert head.scale.item() == pytest.approx(start)
    head.eval()(embeddings, targets)
    assert head.scale.item() == pytest.approx(start)
    head.train()(embeddings, targets)
    cosine = F.cosine_similarity(embeddings[:, None], head.centres[None], dim=2)
    angle = cosine[targets > 0].acos().median().clamp(max=math.pi / 4)
    others = (start * cosine).exp()[targets == 0].sum() / len(embeddings)
    assert head.scale.item() == pytest.approx((others.log() / angle.cos()).item(), rel=1e-4)
    fixed = built("AdaCos", dynamic=False).train()
    fixed(embeddings, targets)
    assert fixed.scale.item() == pytest.approx(start)


@pytest.mark.parametrize("kind", [AdaCos, SubclusterAdaCos, AdaProj])
def test_fixed_centres_are_buffers_and_trainable_ones_parameters(kind: type[Head]) -> None:
    name = kind.__name__
    fixed, trained = built(name, trainable=False), built(name, trainable=True)
    assert not list(fixed.parameters())
    assert list(trained.parameters())
    assert fixed.state_dict().keys() == trained.state_dict().keys()


def test_subclusters_share_their_class() -> None:
    head = SubclusterAdaCos(subclusters=4).build(WIDTH, CLASSES).eval()
    embeddings, _ = batch()
    cosine = F.cosine_similarity(embeddings[:, None], head.centres[None], dim=2)
    expected = (head.scale * cosine).softmax(1).unflatten(1, (CLASSES, 4)).sum(2)
    torch.testing.assert_close(head.logits(embeddings).softmax(1), expected, rtol=1e-4, atol=1e-6)


def test_a_vector_inside_the_subspace_has_no_distance() -> None:
    head = AdaProj(subspace_dim=3, trainable=True).build(WIDTH, CLASSES).eval()
    inside = head.directions[2].T @ torch.randn(3)
    assert head.logits(inside[None]).argmax().item() == 2
    assert head.logits(inside[None])[0, 2].item() == pytest.approx(2 * head.scale.item(), rel=1e-4)


def test_label_smoothing_is_that_of_torch() -> None:
    head, (embeddings, targets) = CrossEntropy(0.1).build(WIDTH, CLASSES), batch()
    expected = F.cross_entropy(head.linear(embeddings), targets, label_smoothing=0.1)
    torch.testing.assert_close(head(embeddings, targets), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ArcFace(scale=0), "scale is 0"),
        (lambda: ArcFace(margin=2), "margin 2"),
        (lambda: SubclusterAdaCos(subclusters=0), "subclusters is 0"),
        (lambda: AdaProj(subspace_dim=0), "subspace_dim is 0"),
        (lambda: AdaProj(subspace_dim=WIDTH).build(WIDTH, CLASSES), "give fewer"),
    ],
)
def test_arguments_out_of_range(call: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()


def test_reconstruction_is_the_mean_square_whatever_the_labels() -> None:
    assert sorted(FOUND.keys() - set(HEADS)) == ["Reconstruction"]
    embeddings, targets = batch()
    loss = built("Reconstruction")(embeddings, targets)
    torch.testing.assert_close(loss, F.mse_loss(embeddings, torch.zeros_like(embeddings)))
    assert torch.equal(built("Reconstruction").logits(embeddings), torch.zeros(12, CLASSES))
