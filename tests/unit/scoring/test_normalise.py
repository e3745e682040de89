"""Normalisers and oversampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from asd.errors import UserError
from asd.scoring import (
    ConformalMap,
    GaussianMixtureScorer,
    KMeansScorer,
    LocalDensity,
    MahalanobisScorer,
    NeighboursScorer,
    Oversampled,
    Standardised,
)

GENERATOR = torch.Generator().manual_seed(1)
# A tight source domain far from a loose target domain of few clips.
SOURCE = torch.randn(200, 6, generator=GENERATOR) * 0.2
LOOSE = torch.randn(20, 6, generator=GENERATOR) * 2 + 20
ROWS = torch.cat([SOURCE, LOOSE])
TARGET = torch.arange(220) >= 200
ANOMALY = torch.randn(60, 6, generator=GENERATOR) * 0.2 + 0.9
NORMAL_TARGET = torch.randn(60, 6, generator=GENERATOR) * 2 + 20


def separation(scorer: object) -> float:
    """Share of pairs in which an anomaly near the tight domain outscores a normal clip of the loose one."""
    fitted = scorer.fit(ROWS, TARGET)
    return float((fitted(ANOMALY)[:, None] > fitted(NORMAL_TARGET)[None]).float().mean())


NORMALISERS = {
    "ratio": lambda: LocalDensity(NeighboursScorer(1, "euclidean"), "ratio"),
    "difference": lambda: LocalDensity(NeighboursScorer(1, "euclidean"), "difference", k=4),
    "varmin": lambda: LocalDensity(NeighboursScorer(1, "euclidean"), "varmin", k=4),
    "log varmin": lambda: LocalDensity(NeighboursScorer(1, "euclidean"), "log_varmin"),
    "kth": lambda: LocalDensity(NeighboursScorer(1, "euclidean"), "ratio", k=2, density="kth"),
    "centres": lambda: LocalDensity(KMeansScorer(4, "euclidean"), "ratio", k=4),
    "no references": lambda: LocalDensity(MahalanobisScorer("selective", 0.5), "difference", k=8),
    "standardised": lambda: Standardised(NeighboursScorer(1, "euclidean")),
    "conformal": lambda: ConformalMap(NeighboursScorer(1, "euclidean")),
}


@pytest.mark.parametrize("name", [name for name in NORMALISERS if name != "no references"])
def test_normalisers_make_domains_of_other_density_comparable(name: str) -> None:
    assert separation(NeighboursScorer(1, "euclidean")) < 0.2
    assert separation(NORMALISERS[name]()) > 0.8


def test_local_density_ratio_and_difference_by_hand() -> None:
    rows = torch.tensor([[0.0], [1.0], [5.0], [9.0]])
    query = torch.tensor([[3.0]])
    none = torch.zeros(4, dtype=torch.bool)
    base = NeighboursScorer(1, "euclidean")
    # Distances 3, 2, 2, 6; each reference's own nearest neighbour is 1, 1, 4, 4 away.
    assert float(LocalDensity(base, "ratio").fit(rows, none)(query)) == pytest.approx(0.5)
    assert float(LocalDensity(base, "difference").fit(rows, none)(query)) == pytest.approx(-2.0)
    # The mean of the two nearest is 3, 2.5, 4, 6; the second is 5, 4, 4, 8 away.
    assert float(LocalDensity(base, "ratio", k=2).fit(rows, none)(query)) == pytest.approx(0.5)
    assert float(LocalDensity(base, "difference", k=2, density="kth").fit(rows, none)(query)) == pytest.approx(-2.0)


def varmin_by_hand(rows: np.ndarray, group: np.ndarray, query: np.ndarray, k: int, log: bool) -> np.ndarray:
    """Distances less a multiple of how far each reference is from its k nearest others, of least variance."""
    place = np.log if log else np.asarray
    away = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    away[group[:, None] == group[None]] = np.inf
    density = np.sort(away, axis=1)[:, :k].mean(1)
    raw, near = place(away.min(1)), place(density[away.argmin(1)])
    weight = np.cov(raw, near, bias=True)[0, 1] / near.var()
    distance = place(np.linalg.norm(query[:, None] - rows[None], axis=2))
    return (distance - weight * place(density)).min(1)


def test_copies_of_a_clip_are_each_a_recording_of_their_own() -> None:
    rows = torch.tensor([0.0, 0, 3, 3, 10, 10, 12, 12])[:, None]
    scorer = LocalDensity(NeighboursScorer(1, "euclidean"), "varmin", 2).fit(rows, TARGET[:8])
    # Each has its copy at distance 0, so that no density explains why a held-out distance is another.
    assert scorer.weight == 0
    torch.testing.assert_close(scorer(torch.tensor([[1.5], [11.0]])), torch.tensor([1.5, 1.0]))
    thrice, others = ROWS[:40].repeat(3, 1), torch.cat([ROWS[:40].repeat(3, 1), ROWS[60:120]])
    assert LocalDensity(mode="log_varmin").fit(thrice, torch.zeros(120, dtype=torch.bool)).weight == 0
    scorer = LocalDensity(NeighboursScorer(1, "euclidean"), "varmin", 4).fit(others, torch.zeros(180, dtype=torch.bool))
    arrays = others.double().numpy(), np.arange(180), ANOMALY.double().numpy()
    np.testing.assert_allclose(scorer(ANOMALY), varmin_by_hand(*arrays, 4, log=False), rtol=1e-3, atol=1e-3)


def test_rounding_between_equal_clips_says_nothing() -> None:
    """In float32 the cosine of a vector with itself is not quite one, and not the same for all."""
    one = torch.randn(1, 65, generator=torch.Generator().manual_seed(7))
    rows = torch.cat([one * scale for scale in torch.linspace(0.1, 7.0, 20)])
    logarithm, ratio = (LocalDensity(mode=mode).fit(rows, TARGET[:20])(rows) for mode in ("log_varmin", "ratio"))
    assert len(logarithm.unique()) == 1
    assert float(ratio.max()) < 1


@pytest.mark.parametrize(("mode", "k"), [("varmin", 4), ("log_varmin", 1), ("log_varmin", 3)])
def test_the_subtracted_density_leaves_the_least_variance(mode: str, k: int) -> None:
    group = torch.arange(220) // 2
    scorer = LocalDensity(NeighboursScorer(1, "euclidean"), mode, k).fit(ROWS, TARGET, group)
    arrays = ROWS.double().numpy(), group.numpy(), ANOMALY.double().numpy()
    np.testing.assert_allclose(scorer(ANOMALY), varmin_by_hand(*arrays, k, mode == "log_varmin"), rtol=1e-3, atol=1e-3)


def test_a_single_recording_leaves_the_density_without_weight() -> None:
    one = torch.zeros(220, dtype=torch.int64)
    for base in (NeighboursScorer(1, "euclidean"), MahalanobisScorer(shrinkage=0.5)):
        scorer = LocalDensity(base, "varmin").fit(ROWS, TARGET, one)
        assert float(scorer.weight) == 0
        torch.testing.assert_close(scorer(ANOMALY), base.fit(ROWS, TARGET)(ANOMALY))


@pytest.mark.parametrize("mode", ["varmin", "log_varmin"])
def test_scores_without_references_are_weighted_by_their_held_out_neighbours(mode: str) -> None:
    base = MahalanobisScorer("selective", 0.5)
    group = torch.arange(220)
    place = (lambda one: one.log()) if mode == "log_varmin" else (lambda one: one)
    held_out = base.held_out(ROWS, TARGET, group)
    unit = torch.nn.functional.normalize(ROWS)
    near = (unit @ unit.T - 9 * torch.eye(220)).argmax(1)
    raw, density = place(held_out).numpy(), place(held_out[near][near]).numpy()
    weight = np.cov(raw, density, bias=True)[0, 1] / density.var()
    nearest = (torch.nn.functional.normalize(ANOMALY) @ unit.T).argmax(1)
    expected = place(base.fit(ROWS, TARGET)(ANOMALY)) - weight * place(held_out[near][nearest])
    found = LocalDensity(base, mode).fit(ROWS, TARGET)(ANOMALY)
    torch.testing.assert_close(found, expected.float(), rtol=1e-3, atol=1e-3)


def test_identical_clips_and_their_like_have_a_logarithm() -> None:
    rows = ROWS[:1].repeat(6, 1)
    scores = LocalDensity(mode="log_varmin").fit(rows, TARGET[:6])(torch.cat([rows[:1], -rows[:1]]))
    assert bool(scores.isfinite().all()) and float(scores[1]) > float(scores[0])


@pytest.mark.parametrize("kind", [Standardised, ConformalMap])
def test_one_domain_alone_is_enough_for_a_scorer_of_parts(kind: type[Standardised]) -> None:
    scorer = kind(LocalDensity(NeighboursScorer(1, "euclidean")), by_domain=False)
    assert bool(scorer.fit(ROWS, TARGET)(ANOMALY).isfinite().all())


def test_clips_of_one_recording_are_no_neighbours_of_each_other() -> None:
    rows = torch.tensor([[0.0], [0.01], [4.0], [4.01]])
    none = torch.zeros(4, dtype=torch.bool)
    scorer = LocalDensity(NeighboursScorer(1, "euclidean"))
    torch.testing.assert_close(
        scorer.fit(rows, none, torch.tensor([0, 0, 1, 1])).spacing, torch.tensor([4.0, 3.99, 3.99, 4.0])
    )
    torch.testing.assert_close(scorer.fit(rows, none).spacing, torch.full((4,), 0.01), rtol=1e-2, atol=1e-4)


def test_a_ratio_of_scores_that_may_be_negative_is_refused() -> None:
    likely = GaussianMixtureScorer(1)
    for mode in ("ratio", "log_varmin"):
        with pytest.raises(UserError, match=r"LocalDensity: GaussianMixtureScorer gives negative scores.*difference"):
            LocalDensity(likely, mode).fit(SOURCE * 0.01, TARGET[:200])


def test_standardised_scores_by_hand() -> None:
    base = NeighboursScorer(1, "euclidean")
    held_out = base.held_out(SOURCE, TARGET[:200], torch.arange(200))
    expected = (base.fit(SOURCE, TARGET[:200])(ANOMALY) - held_out.mean()) / held_out.std(correction=0)
    torch.testing.assert_close(Standardised(base).fit(SOURCE, TARGET[:200])(ANOMALY), expected)


def test_surprise_is_the_conformal_p_value_and_keeps_the_order() -> None:
    base = NeighboursScorer(1, "euclidean")
    scorer = ConformalMap(base, by_domain=False).fit(SOURCE, TARGET[:200])
    held_out = base.held_out(SOURCE, TARGET[:200], torch.arange(200)).sort().values
    raw = base.fit(SOURCE, TARGET[:200])
    query = torch.cat([SOURCE[:50] + 0.1 * torch.randn(50, 6, generator=GENERATOR), ANOMALY, ANOMALY * 30])
    surprise, scores = scorer(query), raw(query)
    assert spearmanr(surprise.numpy(), scores.numpy()).statistic == pytest.approx(1.0)
    inside = (scores > held_out[0]) & (scores < held_out[-1])
    p_value = (1 + (held_out[None] >= scores[inside, None]).sum(1)) / 201
    assert bool(((-p_value.log() - surprise[inside]).abs() < 0.7).all())
    assert bool((surprise[scores > held_out[-1]] > surprise[inside].max()).all())


@pytest.mark.parametrize("method", ["smote", "memory_mixup"])
def test_made_up_embeddings_lie_between_clips(method: str) -> None:
    scorer = Oversampled(NeighboursScorer(1, "euclidean"), method, part=0.5).fit(ROWS, TARGET)
    made = scorer.scorer.references[220:]
    assert len(made) == 80, "half of 200 source clips, less the 20 target clips that are there"
    assert bool(scorer.scorer.target[220:].all())
    if method == "smote":
        assert bool(((made >= LOOSE.amin(0)) & (made <= LOOSE.amax(0))).all())
    else:
        away = torch.cdist(made, LOOSE).amin(1)
        assert bool((away > 0).all()) and float(away.max()) < 0.11 * float(torch.cdist(LOOSE, SOURCE).max())
    again = Oversampled(NeighboursScorer(1, "euclidean"), method, part=0.5).fit(ROWS, TARGET)
    assert torch.equal(again.scorer.references, scorer.scorer.references)


def test_made_up_embeddings_are_held_out_with_the_clip_they_come_from() -> None:
    scorer = Oversampled(NeighboursScorer(1, "euclidean"), part=0.5)
    held_out = scorer.held_out(ROWS, TARGET, torch.arange(220))
    assert float(held_out.min()) > 1e-3
