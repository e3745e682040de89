"""The contract of a head, as checks that anyone can run on their own."""

from __future__ import annotations

import copy
import io

import torch
import torch.nn.functional as F
from torch import Tensor

from asd.heads.base import Head
from asd.testing.contract import Check, check_described, check_excuses, reparsed, run_checks

CLIPS, WIDTH, CLASSES = 12, 48, 5


def check_head(head: Head) -> None:
    """Run every check on a head that is not built; it is left as it was.

    Raises:
        AssertionError: A check fails that `expected_failures` does not name, or one passes that it names.
    """
    run_checks(CHECKS, head)


def batch(classes: int = CLASSES, clips: int = CLIPS) -> tuple[Tensor, Tensor]:
    """Embeddings ``(B, E)`` and hard labels ``(B, C)`` of every class in turn; the same each time."""
    embeddings = torch.randn(clips, WIDTH, generator=torch.Generator().manual_seed(5))
    return embeddings, F.one_hot(torch.arange(clips) % classes, classes).float()


def built(head: Head, classes: int = CLASSES, seed: int = 0) -> Head:
    """The head with parameters drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return head.build(WIDTH, classes)


def check_declaration(head: Head) -> None:
    """What is declared is there and of the right kind."""
    assert isinstance(head.classifies, bool), "classifies is a bool"
    check_excuses(head, CHECKS)


def check_documented(head: Head) -> None:
    """Every argument of the constructor is described in the class's docstring."""
    check_described(type(head))


def check_config(head: Head) -> None:
    """A configuration written and read gives a head of the same loss."""
    loss = built(reparsed(head, Head)).eval()(*batch())
    torch.testing.assert_close(loss, built(head).eval()(*batch()))


def check_build(head: Head) -> None:
    """`build` returns the head, which then knows its number of classes."""
    assert built(head) is head, "build returns self"
    assert head.classes == CLASSES, f"classes is {head.classes} after build(E, {CLASSES})"


def check_loss(head: Head) -> None:
    """The loss is a finite scalar in float32, in training and in evaluation, for one clip as for many."""
    built(head)
    for training in (True, False):
        for clips in (CLIPS, 1):
            loss = head.train(training)(*batch(clips=clips))
            assert loss.shape == (), f"the loss is a scalar, got {tuple(loss.shape)}"
            assert loss.dtype == torch.float32, f"the loss is {loss.dtype}, not float32"
            assert bool(loss.isfinite()), f"the loss of {clips} clips is {loss.item()}"


def check_logits(head: Head) -> None:
    """Logits are finite ``(B, C)`` in float32, and the largest is the class that costs least."""
    embeddings, _ = batch()
    with torch.no_grad():
        logits = built(head).eval().logits(embeddings)
        assert logits.shape == (CLIPS, CLASSES), f"(B, C) expected, got {tuple(logits.shape)}"
        assert logits.dtype == torch.float32, f"logits are {logits.dtype}, not float32"
        assert bool(logits.isfinite().all()), "logits are not finite"
        if head.classifies:
            likely, unlikely = (F.one_hot(which(1), CLASSES).float() for which in (logits.argmax, logits.argmin))
            assert head(embeddings, likely) < head(embeddings, unlikely), "the largest logit is not the cheapest class"


def check_soft_labels(head: Head) -> None:
    """Labels that mixup made are taken; a head that classifies heeds the shares."""
    embeddings, hard = batch()
    built(head).train()
    losses = [head(embeddings, share * hard + (1 - share) * hard.roll(1, 0)) for share in (1.0, 0.7, 0.4)]
    assert all(bool(loss.isfinite()) for loss in losses), "the loss of mixed labels is not finite"
    if head.classifies:
        assert len({loss.item() for loss in losses}) == len(losses), "the loss does not depend on the shares"


def check_one_class(head: Head) -> None:
    """A single class is no error."""
    embeddings, targets = batch(classes=1)
    loss = built(head, classes=1).train()(embeddings, targets)
    assert bool(loss.isfinite()), f"the loss of a single class is {loss.item()}"
    assert head.logits(embeddings).shape == (CLIPS, 1), "logits of a single class are (B, 1)"


def check_gradients(head: Head) -> None:
    """The embeddings and every parameter get a gradient that is finite."""
    embeddings, targets = batch()
    embeddings.requires_grad_()
    built(head).train()(embeddings, targets).backward()
    assert embeddings.grad is not None, "no gradient reaches the embeddings"
    assert bool(embeddings.grad.any()), "the gradient of the embeddings is zero"
    assert bool(embeddings.grad.isfinite().all()), "the gradient of the embeddings is not finite"
    missing = [name for name, p in head.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing, f"no gradient for {', '.join(missing)}: unused parameters stall DDP"
    assert all(bool(p.grad.isfinite().all()) for p in head.parameters() if p.grad is not None), "not finite"


def check_deterministic(head: Head) -> None:
    """The same seed gives the same loss; evaluation changes nothing."""
    first = built(copy.deepcopy(head)).train()(*batch())
    assert torch.equal(built(head).train()(*batch()), first), "two heads of one seed differ"
    head.eval()
    assert torch.equal(head(*batch()), head(*batch())), "two passes in evaluation mode differ"


def check_input_unchanged(head: Head) -> None:
    """Embeddings and labels are not written to."""
    embeddings, targets = batch()
    before = embeddings.clone(), targets.clone()
    built(head).train()(embeddings, targets)
    head.logits(embeddings)
    assert torch.equal(embeddings, before[0]), "the head wrote into the embeddings"
    assert torch.equal(targets, before[1]), "the head wrote into the labels"


def check_state_dict(head: Head) -> None:
    """A saved state makes another head, built from another seed, the same; it holds no code."""
    other = built(copy.deepcopy(head), seed=1)
    built(head).train()(*batch())
    file = io.BytesIO()
    torch.save(head.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    embeddings, targets = batch()
    assert torch.equal(other.eval()(embeddings, targets), head.eval()(embeddings, targets)), "the loaded head differs"
    assert torch.equal(other.logits(embeddings), head.logits(embeddings)), "the loaded head differs"


def check_deepcopy(head: Head) -> None:
    """A copy can be made after a pass, and does not change with the original."""
    built(head).train()(*batch())
    copied = copy.deepcopy(head).eval()
    expected = head.eval()(*batch())
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(1.0)
    assert torch.equal(copied(*batch()), expected), "the copy differs, or shares its parameters"


def check_meta(head: Head) -> None:
    """It runs on the meta device, where shapes are computed without values."""
    embeddings, targets = (one.to("meta") for one in batch())
    built(head).to("meta").eval()
    assert head(embeddings, targets).shape == ()
    assert head.logits(embeddings).shape == (CLIPS, CLASSES)


def check_autocast(head: Head) -> None:
    """Under bfloat16 autocast, with embeddings in bfloat16, the loss stays near that of float32."""
    embeddings, targets = batch()
    built(head).eval()
    with torch.no_grad():
        exact = head(embeddings, targets)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = head(embeddings.bfloat16(), targets)
    assert rounded.dtype == torch.float32, f"the loss is {rounded.dtype} under autocast, not float32"
    gap = float((rounded - exact).abs() / exact.abs().clamp_min(1e-6))
    assert gap < 0.05, f"the loss changes by {100 * gap:.0f} % under bfloat16 autocast"


CHECKS: tuple[Check[Head], ...] = (
    check_declaration,
    check_documented,
    check_config,
    check_build,
    check_loss,
    check_logits,
    check_soft_labels,
    check_one_class,
    check_gradients,
    check_deterministic,
    check_input_unchanged,
    check_state_dict,
    check_deepcopy,
    check_meta,
    check_autocast,
)
