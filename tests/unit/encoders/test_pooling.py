"""Poolings without parameters, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asd.encoders.adapter import Adapter
from asd.encoders.pooling import pooled, relative_deviation

ROWS = torch.randn(3, 9, 5, generator=torch.Generator().manual_seed(0))


def weights_by_hand(rows: np.ndarray, exponent: float) -> np.ndarray:
    """Of the frames of one clip ``(F, D)``."""
    away = np.sqrt(((rows - rows.mean(0)) ** 2).sum(1))
    raised = (1 + away / away.max()) ** exponent
    return raised / raised.sum()


@pytest.mark.parametrize("exponent", [0.0, 1.0, 4.0, 20.0])
def test_relative_deviation_and_generalised_mean(exponent: float) -> None:
    found = {one: pooled(ROWS, one, exponent).numpy() for one in ("rdp", "gem", "rdp_gem")}
    for clip, rows in enumerate(ROWS.double().numpy()):
        weights = weights_by_hand(rows, exponent)[:, None]
        cubes = np.maximum(rows, 0) ** 3
        np.testing.assert_allclose(found["rdp"][clip], (weights * rows).sum(0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["rdp_gem"][clip], np.cbrt((weights * cubes).sum(0)), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found["gem"][clip], np.cbrt(cubes.mean(0)), rtol=1e-3, atol=1e-5)


def test_a_short_event_counts_for_more_the_higher_the_exponent() -> None:
    rows = torch.zeros(1, 50, 2)
    rows[0, 20, 0] = 1
    shares = [float(pooled(rows, "rdp", exponent)[0, 0]) for exponent in (0, 4, 20)]
    assert shares[0] == pytest.approx(0.02)
    assert shares[0] < shares[1] < shares[2] > 0.9


def test_frames_that_are_all_alike_weigh_the_same_and_have_a_gradient() -> None:
    rows = torch.ones(2, 4, 3, requires_grad=True)
    torch.testing.assert_close(relative_deviation(rows, 8.0), torch.full((2, 4, 1), 0.25))
    pooled(rows, "rdp_gem", 8.0).sum().backward()
    assert bool(rows.grad.isfinite().all())


def test_large_exponents_and_half_precision_do_not_overflow() -> None:
    assert bool(pooled(1000 * ROWS, "rdp", 500.0).isfinite().all())
    assert bool(pooled((100 * ROWS).half(), "rdp_gem", 20.0).isfinite().all())


def test_the_exponent_is_that_of_the_adapter() -> None:
    features = ROWS[:, None]
    found = Adapter("last", "rdp", exponent=8.0).build(1, 5)(features)
    torch.testing.assert_close(found, pooled(ROWS, "rdp", 8.0))
