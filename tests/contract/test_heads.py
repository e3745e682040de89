"""Every head that is found passes every check; one that must not is caught."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import pytest
import torch
from torch import Tensor, nn

from asd.heads import CrossEntropy, Head
from asd.heads.cosine import cross_entropy
from asd.plugins import known
from asd.testing import check_head
from asd.testing.contract import Check, name_of, run_check
from asd.testing.head import CHECKS

FOUND = {name: cls for name, cls in known(Head).items() if cls.__module__.startswith(("asd.", "asd_plugins."))}
BY_NAME = {name_of(check): check for check in CHECKS}


def test_our_heads_are_found() -> None:
    assert {"AdaCos", "AdaProj", "ArcFace", "CrossEntropy", "Reconstruction", "SubclusterAdaCos"} <= set(FOUND)


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
@pytest.mark.parametrize("name", FOUND)
def test_heads_hold_to_the_contract(name: str, check: Check[Head]) -> None:
    run_check(check, FOUND[name]())


class _Sound(Head):
    """Passes every check.

    Args:
        scale: Factor on the logits.
    """

    def __init__(self, scale: float = 2.0) -> None:
        super().__init__()
        self.scale = scale

    def build(self, embedding_dim: int, classes: int) -> Self:
        self.classes = classes
        self.linear = nn.Linear(embedding_dim, classes)
        return self

    def logits(self, embeddings: Tensor) -> Tensor:
        return self.scale * self.linear(embeddings).float()

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(self.logits(embeddings), targets)


class _Rows(_Sound):
    __doc__ = _Sound.__doc__

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        return -(targets * self.logits(embeddings).log_softmax(1)).sum(1)


class _Upside(_Sound):
    __doc__ = _Sound.__doc__

    def logits(self, embeddings: Tensor) -> Tensor:
        return -super().logits(embeddings)

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(-self.logits(embeddings), targets)


class _Hard(_Sound):
    __doc__ = _Sound.__doc__

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.logits(embeddings), targets.argmax(1))


class _Detached(_Sound):
    __doc__ = _Sound.__doc__

    def logits(self, embeddings: Tensor) -> Tensor:
        return super().logits(embeddings.detach())


class _Unused(_Sound):
    __doc__ = _Sound.__doc__

    def build(self, embedding_dim: int, classes: int) -> Self:
        self.spare = nn.Linear(2, 2)
        return super().build(embedding_dim, classes)


class _Separating(_Sound):
    """Divides by the number of other classes.

    Args:
        scale: Factor on the logits.
    """

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        return super().forward(embeddings, targets) / torch.tensor(float(self.classes - 1))


class _Writing(_Sound):
    __doc__ = _Sound.__doc__

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        loss = super().forward(embeddings, targets)
        targets.mul_(0.9)
        return loss


class _Forgetful(_Sound):
    __doc__ = _Sound.__doc__

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        if self.training:
            self.scale *= 1.5
        return super().forward(embeddings, targets)


class _Dropping(_Sound):
    __doc__ = _Sound.__doc__

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(embeddings), targets)


class _Opaque(_Sound):
    __doc__ = _Sound.__doc__

    def __init__(self, scale: Any = torch.tensor(2.0)) -> None:  # noqa: B008
        super().__init__(float(scale))


class _Half(_Sound):
    __doc__ = _Sound.__doc__

    def logits(self, embeddings: Tensor) -> Tensor:
        return self.scale * self.linear(embeddings)

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        return -(targets * self.logits(embeddings)).to(embeddings.dtype).mean()


class _Undocumented(_Sound):
    """No word of the argument."""


class _Excused(_Sound):
    __doc__ = _Sound.__doc__
    expected_failures: ClassVar[dict[str, str]] = {"meta": "it is said not to run there"}


class _Misspelt(_Sound):
    __doc__ = _Sound.__doc__
    expected_failures: ClassVar[dict[str, str]] = {"no_such_check": "nobody knows it"}


def test_a_sound_head_passes() -> None:
    check_head(_Sound())
    check_head(CrossEntropy(label_smoothing=0.1))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (_Rows(), "loss: the loss is a scalar"),
        (_Upside(), "logits: the largest logit"),
        (_Hard(), "soft_labels: the loss does not depend"),
        (_Detached(), "gradients: no gradient reaches"),
        (_Unused(), "gradients: no gradient for spare"),
        (_Separating(), "one_class"),
        (_Writing(), "input_unchanged: the head wrote into the labels"),
        (_Forgetful(), "state_dict"),
        (_Dropping(), "deterministic"),
        (_Opaque(), "config: a Tensor cannot be described"),
        (_Half(), "autocast"),
        (_Undocumented(), "documented"),
    ],
)
def test_broken_heads_are_caught(broken: Head, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        run_check(BY_NAME[message.partition(":")[0]], broken)
    with pytest.raises(AssertionError):
        check_head(broken)


def test_an_expected_failure_must_fail_and_be_known() -> None:
    with pytest.raises(AssertionError, match="take it out of expected_failures"):
        check_head(_Excused())
    with pytest.raises(AssertionError, match="names no check: no_such_check"):
        check_head(_Misspelt())
