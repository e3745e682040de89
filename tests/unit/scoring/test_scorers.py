"""K-means, thresholds, fusion of scores, and the sections that routes by machine."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from sklearn.cluster import KMeans
from torch import Tensor

from asd.errors import UserError
from asd.scoring import KMeansScorer, ScoreFusion
from asd.scoring.limits import Decision
from asd.scoring.reference_bank import Bank
from asd.scoring.sections import SectionScorers
from asd.scoring.threshold import ConformalThreshold, GammaThreshold, QuantileThreshold, Threshold

ROWS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)) + 2
TARGET = torch.arange(40) >= 35
QUERY = torch.randn(9, 6, generator=torch.Generator().manual_seed(1))


def test_euclidean_distances_to_the_centres_of_scikit_learn() -> None:
    scorer = KMeansScorer(5, "euclidean", "clustered").fit(ROWS, TARGET)
    fitted = KMeans(5, n_init=4, random_state=0).fit(ROWS.double().numpy())
    expected = fitted.transform(QUERY.double().numpy()).min(1)
    np.testing.assert_allclose(scorer(QUERY).numpy(), expected, rtol=1e-5)


def test_cosine_distances_with_every_target_clip_its_own_centre() -> None:
    scorer = KMeansScorer(5, "cosine", "own_centres").fit(ROWS, TARGET)
    assert scorer.centres.shape == (10, 6)
    torch.testing.assert_close(scorer.centres[5:], F.normalize(ROWS[35:]))
    unit = F.normalize(ROWS[:35]).double().numpy()
    centres = torch.from_numpy(KMeans(5, n_init=4, random_state=0).fit(unit).cluster_centers_).float()
    every = torch.cat([centres, ROWS[35:]])
    expected = 1 - F.cosine_similarity(QUERY[:, None], every[None], dim=2).amax(1)
    torch.testing.assert_close(scorer(QUERY), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_fewer_clips_than_centres_and_targets_alone(metric: str) -> None:
    scorer = KMeansScorer(16, metric).fit(ROWS[:3].repeat(2, 1), torch.zeros(6, dtype=torch.bool))
    assert scorer.centres.shape == (3, 6)
    assert KMeansScorer(16, metric).fit(ROWS[:2], torch.ones(2, dtype=torch.bool)).centres.shape == (2, 6)


def test_large_banks_use_mini_batches_and_come_out_near() -> None:
    rows = torch.cat([torch.randn(300, 4) + 10 * i for i in range(3)])
    none = torch.zeros(900, dtype=torch.bool)
    whole, small = (KMeansScorer(3, "euclidean", mini_batch_above=n).fit(rows, none)(rows) for n in (10_000, 100))
    assert small.mean() < 1.1 * whole.mean()


@pytest.mark.parametrize(
    "make",
    [lambda: KMeansScorer(0), lambda: KMeansScorer(metric="l1"), lambda: KMeansScorer(target="x")],
)
def test_kmeans_arguments_out_of_range(make: object) -> None:
    with pytest.raises(UserError, match="KMeansScorer"):
        make()


def test_banks_that_teach_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="no reference embeddings"):
        KMeansScorer().fit(torch.empty(0, 6), torch.empty(0, dtype=torch.bool))
    with pytest.raises(UserError, match="1 of 40 reference embeddings are not finite"):
        KMeansScorer().fit(ROWS.index_fill(0, torch.tensor(3), torch.nan), TARGET)


def test_fused_scores_are_the_mean_of_the_standardised_scores_of_the_parts() -> None:
    fused = ScoreFusion(KMeansScorer(4), [2, 4]).fit(ROWS, TARGET)
    row = torch.arange(40)
    expected = torch.zeros(9)
    for columns, query in ((ROWS[:, :2], QUERY[:, :2]), (ROWS[:, 2:], QUERY[:, 2:])):
        held_out = KMeansScorer(4).held_out(columns, TARGET, row)
        scores = KMeansScorer(4).fit(columns, TARGET)(query)
        expected += (scores - held_out.mean()) / held_out.std(correction=0) / 2
    torch.testing.assert_close(fused(QUERY), expected)


def test_widths_that_do_not_fit_the_embedding_are_named() -> None:
    with pytest.raises(UserError, match=r"6 columns, not 2 \+ 3"):
        ScoreFusion(widths=[2, 3]).fit(ROWS, TARGET)
    with pytest.raises(UserError, match="two parts or more"):
        ScoreFusion(widths=[6])


def test_thresholds() -> None:
    scores = torch.from_numpy(np.random.default_rng(0).gamma(3.0, 0.2, 4000))
    true = stats.gamma.ppf(0.9, 3.0, 0, 0.2)
    assert GammaThreshold().fit(scores).alarm == pytest.approx(true, rel=0.03)
    assert QuantileThreshold().fit(scores).alarm == pytest.approx(float(np.quantile(scores, 0.9)))
    few = torch.tensor([3.0, 1.0, 2.0, 5.0])
    assert ConformalThreshold(0.5).fit(few) == (3.0, 3.0)
    assert ConformalThreshold(0.9).fit(few).alarm == 5.0
    nine = torch.arange(1.0, 10.0)
    assert ConformalThreshold(0.7).fit(nine).alarm == 7.0, "0.7 of ten, whatever binary fractions make of it"


def test_conformal_thresholds_keep_their_promise() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(2000, 21, generator=generator)
    above = [float(row[20]) > ConformalThreshold(0.8).fit(row[:20]).alarm for row in draws]
    assert 0.17 < sum(above) / 2000 <= 0.215


def test_target_clips_count_as_asked() -> None:
    scores = torch.cat([torch.arange(90.0), 100 + torch.arange(10.0)])
    target = torch.arange(100) >= 90
    alarm = {rule: QuantileThreshold(0.9, rule).fit(scores, target).alarm for rule in ("pooled", "balanced", "highest")}
    assert alarm["pooled"] == pytest.approx(90.1, abs=1)
    assert alarm["balanced"] == pytest.approx(108, abs=1)
    assert alarm["highest"] == pytest.approx(108.1)
    assert QuantileThreshold(0.9, "highest").fit(scores[:90], target[:90]).alarm == pytest.approx(80.1)


def test_a_band_of_abstention_lies_below_the_threshold() -> None:
    scores = torch.arange(101.0)
    assert QuantileThreshold(0.9, abstain=0.2).fit(scores) == pytest.approx((90.0, 70.0))
    sections = SectionScorers(KMeansScorer(3), QuantileThreshold(0.9, abstain=0.3), ["fan"])
    own = bank(1)
    sections.fit(own)
    limits = sections.limits(0)
    scores = torch.linspace(0, 2 * limits.alarm, 20)
    assert limits == (float(sections.thresholds[0]), float(sections.abstain_above[0]))
    decisions = sections.decide(scores, torch.zeros(20, dtype=torch.int64))
    assert set(decisions) == {"normal", "uncertain", "anomalous"}
    assert decisions == [limits.decide(score) for score in scores.tolist()]
    assert [one != "normal" for one in decisions] == (scores > limits.abstain).tolist()
    with pytest.raises(UserError, match=r"abstain is 0\.95"):
        QuantileThreshold(0.9, abstain=0.95)
    with pytest.raises(UserError, match="target is 'both'"):
        QuantileThreshold(0.9, "both")


@pytest.mark.parametrize("scores", [[0.5], [0.5, 0.5, 0.5], [0.0, 0.0], [-1.0, 1.0, 2.0, 3.0]])
def test_scores_that_no_gamma_fits_give_their_quantile(scores: list[float]) -> None:
    values = torch.tensor(scores)
    assert GammaThreshold().fit(values) == QuantileThreshold().fit(values)


@pytest.mark.parametrize("kind", [GammaThreshold, QuantileThreshold, ConformalThreshold])
def test_quantiles_out_of_range(kind: type[Threshold]) -> None:
    with pytest.raises(UserError, match=r"quantile is 1\.0"):
        kind(1.0)


def bank(count: int = 2) -> Bank:
    row = torch.arange(40)
    return Bank(ROWS + 5 * (row % count)[:, None], row % count, TARGET, row, row)


def test_each_machine_has_its_scorer_and_threshold() -> None:
    sections = SectionScorers(KMeansScorer(3), GammaThreshold(), ["valve_section_00", "fan_section_00"])
    assert sections.names == ("fan_section_00", "valve_section_00")
    assert not sections.fitted
    sections.fit(bank())
    numbers = torch.tensor([0, 1, 0, 1, 1, 0, 0, 1, 0])
    scores = sections(QUERY, numbers)
    for number in (0, 1):
        alone = KMeansScorer(3).fit(bank().of(number).embeddings, bank().of(number).target)
        torch.testing.assert_close(scores[numbers == number], alone(QUERY[numbers == number]))
        torch.testing.assert_close(sections(QUERY, number), alone(QUERY))
    decisions = sections.decide(scores, numbers)
    assert [one == Decision.ANOMALOUS for one in decisions] == (scores > sections.thresholds[numbers]).tolist()


def test_held_out_scores_come_from_scorers_that_never_saw_the_clip() -> None:
    """A target clip is a centre of its own: scored by its own fit it would be at distance zero."""
    rows = bank().of(0)
    own = KMeansScorer(3).fit(rows.embeddings, rows.target)(rows.embeddings)
    out = KMeansScorer(3).held_out(rows.embeddings, rows.target, rows.group)
    assert own[rows.target].max() < 1e-5
    assert out[rows.target].min() > 1e-4


def test_clips_of_one_recording_are_held_out_together() -> None:
    rows = bank().of(0)
    parts = (rows.embeddings, rows.section, rows.target, rows.group, rows.index)
    twice = Bank(*(torch.cat([part, part]) for part in parts))
    assert KMeansScorer(60).held_out(twice.embeddings, twice.target, twice.group).min() > 1e-4


def test_a_saved_population_scores_the_same_before_any_fit(tmp_path: object) -> None:
    fitted = SectionScorers(ScoreFusion(KMeansScorer(3)), GammaThreshold(), ["a", "b"]).fit(bank())
    other = SectionScorers(ScoreFusion(KMeansScorer(3)), GammaThreshold(), ["a", "b"])
    other.load_state_dict(fitted.state_dict())
    numbers = torch.zeros(9, dtype=torch.int64)
    torch.testing.assert_close(other(QUERY, numbers), fitted(QUERY, numbers), rtol=0, atol=0)
    assert other.fitted
    assert torch.equal(other.training_scores(1)[0], fitted.training_scores(1)[0])


def test_a_machine_that_was_not_trained_is_named() -> None:
    sections = SectionScorers(KMeansScorer(), GammaThreshold(), ["fan_section_00"])
    with pytest.raises(UserError, match="Did you mean fan_section_00"):
        sections.index("fna_section_00")
    with pytest.raises(UserError, match="valve_section_00: no normal training clips"):
        SectionScorers(KMeansScorer(), GammaThreshold(), ["fan_section_00", "valve_section_00"]).fit(bank(1))


def test_scores_on_another_dtype_and_order_are_the_same() -> None:
    sections = SectionScorers(KMeansScorer(3), GammaThreshold(), ["a", "b"]).fit(bank())
    numbers = torch.tensor([0, 1, 0, 1, 1, 0, 0, 1, 0])
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    scores: Tensor = sections(QUERY, numbers)
    torch.testing.assert_close(sections(QUERY[order], numbers[order]), scores[order])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(sections(QUERY, numbers), scores)
