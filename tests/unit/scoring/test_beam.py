"""Bands scored by themselves."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch

from asd.configured import configured
from asd.errors import Notice, UserError
from asd.scoring import BEAMScorer, KMeansScorer, LocalDensity, ScoreFusion, Scorer, Standardised, ZFusion

GENERATOR = torch.Generator().manual_seed(2)
BANDS, WIDTH = 3, 4
ROWS = torch.randn(30, BANDS * WIDTH, generator=GENERATOR)
QUERY = torch.randn(7, BANDS * WIDTH, generator=GENERATOR)
TARGET = torch.arange(30) >= 27
GROUP = torch.arange(30) // 2


def by_hand(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mean over bands of half of one minus the cosine to the nearest reference of the band."""
    total = np.zeros(len(query))
    for band in range(BANDS):
        x, y = (part[:, band * WIDTH : (band + 1) * WIDTH] for part in (query, rows))
        for i, one in enumerate(x):
            total[i] += min((1 - one @ other / np.linalg.norm(one) / np.linalg.norm(other)) / 2 for other in y)
    return total / BANDS


def test_each_band_has_a_nearest_reference_of_its_own() -> None:
    found = BEAMScorer(bands=BANDS).fit(ROWS, TARGET)(QUERY)
    np.testing.assert_allclose(found.numpy() / 2, by_hand(QUERY.numpy(), ROWS.numpy()), rtol=1e-5)
    # Bands of two normal clips together are as normal as either.
    mixed = torch.cat([ROWS[:1, :WIDTH], ROWS[1:2, WIDTH:]], 1)
    assert float(BEAMScorer(bands=BANDS).fit(ROWS, TARGET)(mixed)) == pytest.approx(0, abs=1e-6)


def test_loudness_of_a_band_does_not_count() -> None:
    scorer = BEAMScorer(bands=BANDS).fit(ROWS, TARGET)
    louder = QUERY.clone()
    louder[:, :WIDTH] *= 100
    torch.testing.assert_close(scorer(louder), scorer(QUERY))


def test_clips_of_a_recording_are_held_out_together_in_every_band() -> None:
    held_out = BEAMScorer(bands=BANDS).held_out(ROWS, TARGET, GROUP)
    for row in (0, 13, 29):
        others = ROWS[GROUP[row] != GROUP].numpy()
        expected = by_hand(ROWS[row : row + 1].numpy(), others)[0]
        assert float(held_out[row]) / 2 == pytest.approx(expected, rel=1e-5)


def test_any_scorer_can_be_that_of_a_band() -> None:
    inner = LocalDensity(mode="varmin", k=4)
    found = BEAMScorer(inner, BANDS).fit(ROWS, TARGET, GROUP)(QUERY)
    parts = [
        copy.deepcopy(inner).fit(ROWS[:, at : at + WIDTH], TARGET, GROUP)(QUERY[:, at : at + WIDTH])
        for at in range(0, BANDS * WIDTH, WIDTH)
    ]
    torch.testing.assert_close(found, torch.stack(parts).mean(0))


def test_what_makes_the_embedding_says_how_many_bands_there_are_unless_the_user_does() -> None:
    told = ZFusion([BEAMScorer(), Standardised(BEAMScorer(KMeansScorer(4)))])
    told.take_bands(BANDS)
    given = ZFusion([BEAMScorer(bands=BANDS), Standardised(BEAMScorer(KMeansScorer(4), BANDS))])
    torch.testing.assert_close(told.fit(ROWS, TARGET)(QUERY), given.fit(ROWS, TARGET)(QUERY))
    mine = BEAMScorer(bands=2)
    mine.take_bands(BANDS)
    assert len(mine.fit(ROWS, TARGET).parts) == 2


@pytest.mark.filterwarnings("ignore::asd.errors.Notice")
def test_bands_of_the_whole_are_not_those_of_the_parts_of_a_fusion() -> None:
    fused = ScoreFusion(BEAMScorer(), [4, 8])
    fused.take_bands(3)
    assert [len(part.parts) for part in fused.fit(ROWS, TARGET).parts] == [1, 1]


def test_a_fitted_scorer_is_loaded_whatever_it_was_told_before() -> None:
    fitted = BEAMScorer(LocalDensity(mode="log_varmin"), BANDS).fit(ROWS, TARGET)
    file = io.BytesIO()
    torch.save(fitted.state_dict(), file)
    other = BEAMScorer(LocalDensity(mode="log_varmin"), 2).fit(ROWS[:9], TARGET[:9])
    for one in (BEAMScorer(LocalDensity(mode="log_varmin")), other):
        file.seek(0)
        one.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(one(QUERY), fitted(QUERY))


def test_bands_that_do_not_divide_the_embedding_are_told() -> None:
    with pytest.raises(UserError, match="embeddings of 12 columns hold no 5 bands of equal width; set bands"):
        BEAMScorer(bands=5).fit(ROWS, TARGET)
    told = BEAMScorer()
    told.take_bands(24)
    with pytest.raises(UserError, match="12 columns hold no 24 bands"):
        told.fit(ROWS, TARGET)
    with pytest.raises(UserError, match="bands is 0"):
        BEAMScorer(bands=0)
    with pytest.raises(UserError, match="bands is 'many'"):
        configured({"class_path": "BEAMScorer", "init_args": {"bands": "many"}}, Scorer)


def test_a_single_band_is_told() -> None:
    with pytest.warns(Notice, match="the embedding has a single band"):
        BEAMScorer().fit(ROWS, TARGET)
