"""K-means as it is asked for: how many centres, how many starts, whole or in mini-batches, and what is kept."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest
import torch
from sklearn import cluster
from sklearn.exceptions import ConvergenceWarning

from asd.errors import UserError
from asd.scoring import KMeansScorer

ROWS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)) + 2
NONE = torch.zeros(40, dtype=torch.bool)
SOME = torch.arange(40) >= 35


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, dict[str, Any], str]]:
    """Kind, number of centres, options and type of values of each clustering."""
    calls: list[tuple[str, int, dict[str, Any], str]] = []
    for name in ("KMeans", "MiniBatchKMeans"):
        usual = getattr(cluster, name)

        def watched(k: int, _usual: type = usual, **options: Any) -> object:
            made = _usual(k, **options)
            fit = made.fit

            def fitted(values: Any) -> object:
                calls.append((_usual.__name__, k, options, str(values.dtype)))
                return fit(values)

            made.fit = fitted
            return made

        monkeypatch.setattr(cluster, name, watched)
    return calls


def test_what_is_not_said() -> None:
    defaults = {name: one.default for name, one in inspect.signature(KMeansScorer).parameters.items()}
    assert defaults == {
        "k": 16, "metric": "cosine", "target": "own_centres", "restarts": 4, "mini_batch_above": 50_000, "seed": 0,
    }  # fmt: skip


def test_starts_and_seed_are_those_asked_for(asked: list[tuple[str, int, dict[str, Any], str]]) -> None:
    KMeansScorer(3).fit(ROWS, NONE)
    KMeansScorer(3, restarts=7, seed=5).fit(ROWS, NONE)
    assert [call[2] for call in asked] == [{"n_init": 4, "random_state": 0}, {"n_init": 7, "random_state": 5}]


def test_mini_batches_begin_above_the_number_given(asked: list[tuple[str, int, dict[str, Any], str]]) -> None:
    for most in (40, 39):
        KMeansScorer(3, mini_batch_above=most).fit(ROWS, NONE)
    assert [(kind, k, values) for kind, k, _, values in asked] == [
        ("KMeans", 3, "float64"), ("MiniBatchKMeans", 3, "float32"),
    ]  # fmt: skip


def test_mini_batches_find_the_centres_of_groups_far_apart() -> None:
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
