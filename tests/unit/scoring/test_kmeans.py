"""K-means as it is asked for: how many centres, how many starts, whole or in parts, and what is kept."""

from __future__ import annotations

import inspect
import warnings
from typing import Any, Self

import pytest
import torch
from sklearn import cluster
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from asd.errors import UserError
from asd.scoring import KMeansScorer, in_parts, kmeans
from asd.scoring.base import FOLDS
from asd.scoring.distances import Metric, placed
from asd.scoring.kmeans import Target

ROWS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)) + 2
NONE = torch.zeros(40, dtype=torch.bool)
SOME = torch.arange(40) >= 35

Asked = tuple[int, int, dict[str, Any], str]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Number of rows and of centres, options and type of values of each clustering."""
    calls: list[Asked] = []
    usual = cluster.KMeans

    def watched(k: int, **options: Any) -> object:
        made = usual(k, **options)
        fit = made.fit

        def fitted(values: Any) -> object:
            calls.append((len(values), k, options, str(values.dtype)))
            return fit(values)

        made.fit = fitted
        return made

    monkeypatch.setattr(cluster, "KMeans", watched)
    return calls


def test_what_is_not_said() -> None:
    defaults = {name: one.default for name, one in inspect.signature(KMeansScorer).parameters.items()}
    assert defaults == {
        "k": 16, "metric": "cosine", "target": "own_centres", "restarts": 4, "mini_batch_above": 50_000, "seed": 0,
    }  # fmt: skip


def test_starts_and_seed_are_those_asked_for(asked: list[Asked]) -> None:
    KMeansScorer(3).fit(ROWS, NONE)
    KMeansScorer(3, restarts=7, seed=5).fit(ROWS, NONE)
    assert [call[2] for call in asked] == [{"n_init": 4, "random_state": 0}, {"n_init": 7, "random_state": 5}]


def test_many_are_clustered_by_some_of_them_first(asked: list[Asked], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "_SOME", 30 * 6)
    monkeypatch.setattr(kmeans, "_ROWS_A_CENTRE", 1)
    for most in (40, 39):
        KMeansScorer(3, restarts=2, mini_batch_above=most).fit(ROWS, NONE)
    assert [(rows, k, values) for rows, k, _, values in asked] == [(40, 3, "float64"), (30, 3, "float32")]
    assert asked[0][2] == asked[1][2] == {"n_init": 2, "random_state": 0}


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("far", [0.0, 300.0])
def test_many_are_clustered_as_well_as_all_at_once(metric: Metric, far: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of their states, far from zero too, by a start from a hundredth of them."""
    monkeypatch.setattr(kmeans, "_SOME", 200 * 16)
    monkeypatch.setattr(kmeans, "_ROWS_A_CENTRE", 1)
    monkeypatch.setattr(in_parts, "_AT_ONCE", 1000 * 16)
    generator = torch.Generator().manual_seed(2)
    rows = torch.randn(8, 16, generator=generator).repeat_interleave(2500, 0) + far
    rows += 0.5 * torch.randn(20_000, 16, generator=generator)
    none = torch.zeros(20_000, dtype=torch.bool)
    exact, some, again = (
        KMeansScorer(8, metric, "clustered", mini_batch_above=most).fit(rows, none).centres
        for most in (20_000, 1000, 1000)
    )
    assert torch.equal(some, again)
    inertia, best = (torch.cdist(placed(rows, metric), one).amin(1).square().sum() for one in (some, exact))
    assert inertia < 1.01 * best


def test_of_many_that_are_few_different_ones_centres_coincide() -> None:
    scorer = KMeansScorer(6, "euclidean", mini_batch_above=10).fit(ROWS[:2].repeat(20, 1), NONE)
    assert scorer(ROWS[:2]).max() < 1e-5


def test_distances_of_many_clips_are_found_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = KMeansScorer(4).fit(ROWS, NONE)
    whole = scorer(ROWS)
    monkeypatch.setattr(kmeans, "_DISTANCES", 4 * 7)
    torch.testing.assert_close(scorer(ROWS), whole)


def test_parts_find_the_centres_of_groups_far_apart() -> None:
    """And of target clips that are centres of their own."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.tensor([[10.0, 0.0], [0.0, 10.0], [-10.0, 0.0]]).repeat_interleave(50, 0)
    rows = groups + torch.randn(150, 2, generator=generator) / 10
    target = torch.arange(150) == 0
    scorer = KMeansScorer(3, "euclidean", mini_batch_above=100).fit(rows, target)
    assert scorer.centres.shape == (4, 2)
    assert torch.equal(scorer.centres[3], rows[0])
    assert scorer.centres.dtype == torch.float32
    assert torch.cdist(groups[::50], scorer.centres[:3]).amin(1).max() < 0.1


@pytest.mark.parametrize("most", [10, 100])
@pytest.mark.parametrize("rule", ["own_centres", "clustered"])
def test_clips_are_held_out_as_by_a_fit_on_the_others(most: int, rule: Target) -> None:
    group = torch.arange(40) // 4
    scorer = KMeansScorer(3, "euclidean", rule, mini_batch_above=most)
    found = scorer.held_out(ROWS, SOME, group)
    for fold in range(FOLDS):
        out = group % FOLDS == fold
        torch.testing.assert_close(found[out], scorer.fit(ROWS[~out], SOME[~out])(ROWS[out]))


class OfOne(KMeansScorer):
    """Knows the first clip alone."""

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        return super().fit(embeddings[:1], target[:1])


def test_clips_are_held_out_by_the_fit_of_a_subclass() -> None:
    found = OfOne(1, "euclidean").held_out(ROWS, NONE, torch.arange(40) // 20)
    torch.testing.assert_close(found[:20], (ROWS[:20] - ROWS[20]).norm(dim=1))


def test_one_centre_is_the_mean_and_one_start_is_enough_to_ask_for() -> None:
    scorer = KMeansScorer(1, "euclidean", "clustered", restarts=1).fit(ROWS, SOME)
    torch.testing.assert_close(scorer.centres, ROWS.mean(0, keepdim=True))
    torch.testing.assert_close(scorer(ROWS), (ROWS - ROWS.mean(0)).norm(dim=1))


@pytest.mark.parametrize("options", [{"k": 0}, {"restarts": 0}, {"k": -1}])
def test_less_than_one_is_refused(options: dict[str, int]) -> None:
    k, restarts = options.get("k", 16), options.get("restarts", 4)
    with pytest.raises(UserError, match=f"KMeansScorer: k is {k} and restarts {restarts}; give 1 or more$"):
        KMeansScorer(**options)


def test_the_choices_are_named() -> None:
    with pytest.raises(UserError, match=r"KMeansScorer: target is 'x'; choose one of own_centres, clustered$"):
        KMeansScorer(target="x")
    with pytest.raises(UserError, match=r"KMeansScorer: metric is 'l1'; choose one of cosine, euclidean$"):
        KMeansScorer(metric="l1")


def test_only_what_is_asked_for_is_apart() -> None:
    apart, together = (KMeansScorer(4, "euclidean", rule).fit(ROWS, SOME) for rule in ("own_centres", "clustered"))
    assert apart.centres.shape == (9, 6)
    assert torch.equal(apart.centres[4:], ROWS[35:])
    assert together.centres.shape == (4, 6)


def test_centres_that_coincide_up_to_rounding_are_no_warning() -> None:
    rows = ROWS[:2].repeat(5, 1)
    rows[2:] += 1e-7 * torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        scorer = KMeansScorer(6, "cosine").fit(rows, torch.zeros(10, dtype=torch.bool))
    assert scorer(rows).max() < 1e-5


def test_a_file_holds_the_centres_alone_and_scores_as_before() -> None:
    fitted = KMeansScorer(3).fit(ROWS, SOME)
    state = fitted.state_dict()
    assert set(state) == {"fitted", "centres"}
    other = KMeansScorer(3)
    other.load_state_dict(state)
    assert torch.equal(other(ROWS), fitted(ROWS))
    KMeansScorer(3).load_state_dict(KMeansScorer(3).state_dict())  # before any fit
