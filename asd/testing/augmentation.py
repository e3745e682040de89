"""The contract of an augmentation, as checks that anyone can run on their own."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from asd.encoders.augment import Augmentation
from asd.testing.contract import Check, check_described, check_excuses, reparsed, run_checks

SHAPES = ((4, 60, 64), (2, 313, 128), (1, 1, 64), (3, 7, 1))
"""``(B, F, M)``: short and long clips, a single frame, a single band."""


def check_augmentation(augmentation: Augmentation) -> None:
    """Run every check on an augmentation; it is left as it was.

    Raises:
        AssertionError: A check fails that `expected_failures` does not name, or one passes that it names.
    """
    run_checks(CHECKS, augmentation)


def spectrograms(clips: int = 4, frames: int = 60, bands: int = 64) -> Tensor:
    """``(B, F, M)`` of log energies, the same each time."""
    return torch.randn(clips, frames, bands, generator=torch.Generator().manual_seed(9)) * 3 - 5


def drawn(augmentation: Augmentation, spectrogram: Tensor, seed: int = 0) -> Tensor:
    """What training makes of ``(B, F, M)`` after a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        result: Tensor = augmentation.train()(spectrogram)
    return result


def check_declaration(augmentation: Augmentation) -> None:
    """What is declared is there and of the right kind."""
    check_excuses(augmentation, CHECKS)


def check_documented(augmentation: Augmentation) -> None:
    """Every argument of the constructor is described in the class's docstring."""
    check_described(type(augmentation))


def check_config(augmentation: Augmentation) -> None:
    """A configuration written and read gives an augmentation that does the same."""
    again = drawn(reparsed(augmentation, Augmentation), spectrograms())
    assert torch.equal(again, drawn(augmentation, spectrograms())), "the configuration gives another augmentation"


def check_identity(augmentation: Augmentation) -> None:
    """Nothing is changed in evaluation mode."""
    augmentation.eval()
    for shape in SHAPES:
        given = spectrograms(*shape)
        assert torch.equal(augmentation(given), given), f"{shape} is changed in evaluation mode"


def check_shapes(augmentation: Augmentation) -> None:
    """Shape and type are kept in training, and values are finite."""
    for shape in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            given = spectrograms(*shape).to(dtype)
            result = drawn(augmentation, given)
            assert result.shape == given.shape, f"{shape} becomes {tuple(result.shape)}"
            assert result.dtype == dtype, f"{dtype} becomes {result.dtype}"
            assert bool(result.isfinite().all()), f"not finite for {shape}"


def check_silence(augmentation: Augmentation) -> None:
    """A spectrogram of one value stays finite."""
    assert bool(drawn(augmentation, torch.zeros(2, 60, 64)).isfinite().all()), "not finite for silence"


def check_random(augmentation: Augmentation) -> None:
    """In training the same seed repeats the draw, and others differ."""
    given = spectrograms()
    first = drawn(augmentation, given)
    assert torch.equal(drawn(augmentation, given), first), "the same seed gives another draw"
    others = [drawn(augmentation, given, seed) for seed in range(1, 9)]
    assert not all(torch.equal(one, first) for one in others), "every seed gives the same draw"


def check_input_unchanged(augmentation: Augmentation) -> None:
    """The spectrogram is not written to."""
    given = spectrograms()
    before = given.clone()
    for seed in range(4):
        drawn(augmentation, given, seed)
    assert torch.equal(given, before), "the augmentation wrote into its input"


def check_gradients(augmentation: Augmentation) -> None:
    """A gradient passes through: a front end may be trained."""
    given = spectrograms().requires_grad_()
    drawn(augmentation, given).sum().backward()
    assert given.grad is not None, "no gradient reaches the spectrogram"
    assert bool(given.grad.isfinite().all()), "the gradient of the spectrogram is not finite"


def check_deepcopy(augmentation: Augmentation) -> None:
    """A copy does the same."""
    first = drawn(augmentation, spectrograms())
    assert torch.equal(drawn(copy.deepcopy(augmentation), spectrograms()), first), "the copy does something else"


def check_meta(augmentation: Augmentation) -> None:
    """It trains on the meta device, where shapes are computed: its random numbers are drawn where its input is."""
    given = torch.empty(SHAPES[0], device="meta")
    result = augmentation.to("meta").train()(given)
    assert result.device == given.device
    assert result.shape == given.shape


CHECKS: tuple[Check[Augmentation], ...] = (
    check_declaration,
    check_documented,
    check_config,
    check_identity,
    check_shapes,
    check_silence,
    check_random,
    check_input_unchanged,
    check_gradients,
    check_deepcopy,
    check_meta,
)
