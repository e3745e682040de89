"""Every scorer gives the scores of scikit-learn's estimator of the same name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from asd.errors import UserError
from asd.plugins import known
from asd.scoring import (
    GaussianMixtureScorer,
    IsolationForestScorer,
    LocalOutlierFactorScorer,
    MahalanobisScorer,
    NeighboursScorer,
    OneClassSVMScorer,
    Scorer,
)
from asd.scoring import distances as blocks
from asd.scoring.distances import nearest, placed

GENERATOR = torch.Generator().manual_seed(5)
ROWS = torch.randn(300, 12, generator=GENERATOR) @ torch.randn(12, 12, generator=GENERATOR) + 3
TARGET = torch.arange(300) >= 280
QUERY = torch.cat([ROWS[:20] + 0.1, torch.randn(30, 12, generator=GENERATOR) * 6])
X, Q = ROWS.double().numpy(), QUERY.double().numpy()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 5])
def test_neighbours(metric: str, k: int) -> None:
    away = NearestNeighbors(n_neighbors=k, metric=metric).fit(X).kneighbors(Q)[0].mean(1)
    found = NeighboursScorer(k, metric).fit(ROWS, TARGET)(QUERY)
    np.testing.assert_allclose(found.numpy(), away, rtol=1e-4, atol=2e-6)


def test_neighbours_in_two_banks_take_the_smaller_distance() -> None:
    away = [NearestNeighbors(n_neighbors=4).fit(part).kneighbors(Q)[0].mean(1) for part in (X[:280], X[280:])]
    found = NeighboursScorer(4, "euclidean", "domains").fit(ROWS, TARGET)(QUERY)
    np.testing.assert_allclose(found.numpy(), np.minimum(*away), rtol=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 7])
def test_blocks_change_nothing(metric: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, queries = placed(ROWS, metric), placed(QUERY, metric)
    groups = (torch.arange(50) % 7, torch.arange(300) % 7)
    whole = nearest(queries, rows, k, metric, groups)
    monkeypatch.setattr(blocks, "_QUERIES", 17)
    monkeypatch.setattr(blocks, "_REFERENCES", 23)
    parts = nearest(queries, rows, k, metric, groups)
    torch.testing.assert_close(parts[0], whole[0])
    assert torch.equal(parts[1], whole[1])
    assert bool((groups[0][:, None] != groups[1][parts[1]]).all())


def test_small_euclidean_distances_far_from_the_origin_are_exact() -> None:
    rows = torch.randn(50, 8, dtype=torch.float64) + 1000
    query = rows[:5] + 1e-3
    away = nearest(query.float(), rows.float(), 1, "euclidean")[0][:, 0]
    expected = torch.cdist(query.float().double(), rows.float().double()).amin(1)
    torch.testing.assert_close(away.double(), expected, rtol=1e-3, atol=1e-6)


def test_held_out_neighbours_leave_one_recording_out() -> None:
    group = torch.arange(300) // 3
    found = NeighboursScorer(2, "euclidean").held_out(ROWS, TARGET, group)
    for row in (0, 100, 299):
        others = X[(group != group[row]).numpy()]
        expected = NearestNeighbors(n_neighbors=2).fit(others).kneighbors(X[row : row + 1])[0].mean()
        assert float(found[row]) == pytest.approx(expected, rel=1e-4)


def test_mahalanobis() -> None:
    for shrinkage, precision in (
        ("ledoit_wolf", LedoitWolf().fit(X).precision_),
        (0.0, np.linalg.inv(np.cov(X.T, ddof=0))),
    ):
        expected = [mahalanobis(row, X.mean(0), precision) for row in Q]
        found = MahalanobisScorer("one", shrinkage).fit(ROWS, TARGET)(QUERY)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3)


def test_selective_mahalanobis_takes_the_nearer_domain() -> None:
    far = torch.cat([ROWS[:280], ROWS[280:] + 50])
    found = MahalanobisScorer("selective").fit(far, TARGET)
    single = MahalanobisScorer("one").fit(far[280:], TARGET[280:])
    torch.testing.assert_close(found(far[280:]), single(far[280:]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_gaussian_mixture(kind: str) -> None:
    scale = X.var(0).mean()
    mixture = GaussianMixture(3, covariance_type=kind, reg_covar=1e-3 * scale, random_state=0).fit(X)
    found = GaussianMixtureScorer(3, kind).fit(ROWS, TARGET)(QUERY)
    np.testing.assert_allclose(found.numpy(), -mixture.score_samples(Q), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_local_outlier_factor(metric: str) -> None:
    fitted = LocalOutlierFactor(n_neighbors=20, metric=metric, novelty=True).fit(X)
    found = LocalOutlierFactorScorer(20, metric).fit(ROWS, TARGET)(QUERY)
    np.testing.assert_allclose(found.numpy(), -fitted.score_samples(Q), rtol=2e-3)


def test_one_class_svm() -> None:
    scaler = StandardScaler().fit(X)
    machine = OneClassSVM(nu=0.1, gamma=1 / 12).fit(scaler.transform(X))
    found = OneClassSVMScorer().fit(ROWS, TARGET)(QUERY)
    np.testing.assert_allclose(found.numpy(), -machine.decision_function(scaler.transform(Q)), rtol=1e-3, atol=1e-4)


def test_isolation_forest() -> None:
    forest = IsolationForest(n_estimators=100, random_state=0).fit(ROWS.numpy())
    found = IsolationForestScorer().fit(ROWS, TARGET)(QUERY)
    np.testing.assert_allclose(found.numpy(), -forest.score_samples(QUERY.numpy()), rtol=1e-5)


WRONG = {
    "NeighboursScorer": [{"k": 0}, {"metric": "l1"}, {"banks": "two"}],
    "MahalanobisScorer": [{"covariance": "x"}, {"shrinkage": 2.0}, {"shrinkage": "much"}],
    "GaussianMixtureScorer": [{"components": 0}, {"covariance_type": "x"}, {"regularisation": 0.0}],
    "LocalOutlierFactorScorer": [{"k": 0}, {"metric": "l1"}],
    "OneClassSVMScorer": [{"nu": 0.0}, {"gamma": -1.0}],
    "IsolationForestScorer": [{"trees": 0}],
    "LocalDensity": [{"mode": "x"}, {"k": 0}, {"density": "x"}],
    "Oversampled": [{"method": "x"}, {"part": 0.0}, {"k": 0}, {"share": 0.1}],
}


@pytest.mark.parametrize(("name", "arguments"), [(name, one) for name, many in WRONG.items() for one in many])
def test_arguments_out_of_range_are_refused(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(UserError, match=name):
        known(Scorer)[name](**arguments)


def test_more_neighbours_than_clips_are_said() -> None:
    with pytest.warns(UserWarning, match="NeighboursScorer: k is 9 but the bank has 4 to choose from; uses 4"):
        scorer = NeighboursScorer(9, "euclidean").fit(ROWS[:4], TARGET[:4])
    expected = torch.cdist(QUERY, ROWS[:4]).mean(1)
    torch.testing.assert_close(scorer(QUERY), expected, rtol=1e-4, atol=1e-4)
    assert bool(torch.isfinite(F.normalize(scorer.references)).all())
