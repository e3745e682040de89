"""The scale that follows the training, in both forms and on every rank; rows that have no direction."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asd.errors import UserError
from asd.heads import AdaCos, AdaProj, ArcFace, SubclusterAdaCos
from asd.heads.cosine import cosines
from tests.ranks import in_ranks

WIDTH, CLASSES, EACH = 16, 3, 4


def batch(clips: int = 10) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    targets = F.one_hot(torch.arange(clips) % CLASSES, CLASSES).float()
    return torch.randn(clips, WIDTH, generator=generator), targets


def built(scale_over: str = "others") -> SubclusterAdaCos:
    torch.manual_seed(0)
    return SubclusterAdaCos(EACH, scale_over=scale_over).build(WIDTH, CLASSES).train()


@pytest.mark.parametrize("scale_over", ["others", "all"])
def test_the_scale_is_that_of_the_formula(scale_over: str) -> None:
    head, (embeddings, targets) = built(scale_over), batch()
    targets[0] = torch.tensor([0.4, 0.6, 0.0])
    start = math.sqrt(2) * math.log(CLASSES * EACH - 1)
    sums, angles = [], []
    for embedding, target in zip(embeddings, targets, strict=True):
        cosine = F.cosine_similarity(embedding[None], head.centres.detach()).reshape(CLASSES, EACH)
        own = target > 0
        angles.append(math.acos(cosine[own].max()))
        sums.append((start * (cosine[~own] if scale_over == "others" else cosine)).exp().sum())
    median = sorted(angles)[(len(angles) - 1) // 2]
    expected = (sum(sums) / len(sums)).log() / math.cos(min(math.pi / 4, median))
    head(embeddings, targets)
    assert head.scale.item() == pytest.approx(expected.item(), rel=1e-4)


def test_once_the_classes_are_apart_one_form_has_fallen_and_the_other_is_held_at_its_end() -> None:
    ends = {}
    for scale_over in ("others", "all"):
        head = built(scale_over)
        with torch.no_grad():
            head.centres.copy_(torch.eye(WIDTH)[:CLASSES].repeat_interleave(EACH, 0))
        apart = torch.eye(WIDTH)[:CLASSES]
        for _ in range(200):
            head(apart, torch.eye(CLASSES))
        ends[scale_over] = head.scale.item()
    assert ends["others"] == pytest.approx(math.log((CLASSES - 1) * EACH), rel=1e-4)
    assert ends["all"] == 64


def test_one_class_leaves_no_others_and_the_scale_as_it_is() -> None:
    head = SubclusterAdaCos(EACH).build(WIDTH, 1).train()
    start = head.scale.item()
    head(batch()[0], torch.ones(10, 1))
    assert head.scale.item() == start


def test_a_word_that_names_no_centres_is_refused() -> None:
    with pytest.raises(UserError, match="scale_over is 'none'; give others or all"):
        SubclusterAdaCos(scale_over="none")


# -- processes


def scales(rank: int) -> dict[str, float]:
    """Scales after this rank's part of a batch: seven clips on the first, three on the second; -1: the whole."""
    part = {-1: slice(None), 0: slice(0, 7), 1: slice(7, None)}[rank]
    embeddings, targets = batch()
    found = {}
    for name, head in (("others", built()), ("all", built("all")), ("AdaProj", AdaProj(4).build(WIDTH, CLASSES))):
        head.train()(embeddings[part], targets[part])
        found[name] = head.scale.item()
    return found


def test_every_rank_has_the_scale_of_the_whole_batch() -> None:
    one, two = in_ranks(scales)
    assert one == two
    assert one == pytest.approx(scales(-1), rel=1e-5)


# -- rows without direction

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
SHORT = [0.0, 1e-30, 1e-8, 1e-6, 1e-4, 1e-2]
HEADS = {
    "AdaCos": AdaCos,
    "SubclusterAdaCos": lambda: SubclusterAdaCos(EACH),
    "all": lambda: SubclusterAdaCos(EACH, scale_over="all"),
    "ArcFace": lambda: ArcFace(64.0),
    "AdaProj": lambda: AdaProj(4),
}


@pytest.mark.parametrize("length", SHORT)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", HEADS)
def test_rows_of_nothing_have_finite_losses_and_gradients(name: str, dtype: torch.dtype, length: float) -> None:
    head = HEADS[name]().build(WIDTH, CLASSES).train()
    embeddings, targets = batch()
    embeddings[0] = length * F.normalize(embeddings[0], dim=0)
    embeddings = embeddings.to(dtype).requires_grad_(True)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        loss = head(embeddings, targets)
    loss.backward()
    assert embeddings.grad is not None
    assert loss.isfinite() and embeddings.grad.isfinite().all()
    assert all(one.grad is None or one.grad.isfinite().all() for one in head.parameters())
    if length < 1e-6:
        assert not embeddings.grad[0].any(), "a row without direction pulls at nothing"


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_rows_that_are_not_finite_give_no_finite_loss_and_leave_the_scale(name: str, value: float) -> None:
    head, (embeddings, targets) = HEADS[name]().build(WIDTH, CLASSES).train(), batch()
    embeddings[0, 0] = value
    assert head(embeddings, targets).isnan()
    assert all(bool(one.isfinite().all()) for one in head.buffers())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_short_rows_have_the_cosines_of_long_ones(dtype: torch.dtype) -> None:
    rows, centres = batch()[0].to(dtype), torch.randn(5, WIDTH)
    short = 4e-3 / 2  # a power of two is none of the digits
    exact = F.cosine_similarity(rows.float()[:, None], centres[None], dim=2)
    torch.testing.assert_close(cosines(rows, centres), exact, rtol=1e-4, atol=1e-5)
    scaled = cosines(rows * short, centres)
    torch.testing.assert_close(scaled, exact, rtol=0, atol=2e-2 if dtype != torch.float32 else 1e-5)
