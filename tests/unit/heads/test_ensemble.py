"""A head for each model: losses add up, models learn nothing of each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asd.errors import UserError
from asd.heads import AdaCos, ArcFace, CrossEntropy, EnsembleHead, Reconstruction


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(6, 8, requires_grad=True), torch.eye(3).repeat(2, 1)


def test_the_loss_is_the_sum_and_the_logits_are_the_mean_of_those_of_each_part() -> None:
    head = EnsembleHead(CrossEntropy(0.1), 2).build(8, 3)
    embeddings, targets = batch()
    first, second = head.heads
    assert not torch.equal(first.linear.weight, second.linear.weight)
    alone = [first(embeddings[:, :4], targets), second(embeddings[:, 4:], targets)]
    torch.testing.assert_close(head(embeddings, targets), alone[0] + alone[1])
    mean = (first.logits(embeddings[:, :4]) + second.logits(embeddings[:, 4:])) / 2
    torch.testing.assert_close(head.logits(embeddings), mean)


def test_the_gradient_of_a_model_does_not_depend_on_the_others() -> None:
    head = EnsembleHead(ArcFace(), 2).build(8, 3)
    embeddings, targets = batch()
    head(embeddings, targets).backward()
    found = embeddings.grad[:, :4].clone()
    embeddings.grad = None
    head(torch.cat([embeddings[:, :4], 9 * embeddings[:, 4:].flip(0)], 1), targets).backward()
    torch.testing.assert_close(embeddings.grad[:, :4], found)


def test_it_is_put_around_a_head_where_there_are_several_models_once() -> None:
    head = AdaCos()
    assert EnsembleHead.around(head, 1) is head
    made = EnsembleHead.around(head, 3)
    assert isinstance(made, EnsembleHead) and len(made.heads) == 3
    assert EnsembleHead.around(made, 3) is made
    assert not EnsembleHead(Reconstruction()).classifies


def test_numbers_that_do_not_go_together_are_told() -> None:
    with pytest.raises(UserError, match="members is 0"):
        EnsembleHead(members=0)
    with pytest.raises(UserError, match="8 columns cannot be divided among 3 models"):
        EnsembleHead(members=3).build(8, 2)
