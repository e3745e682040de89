"""The contract of a scorer, as checks that anyone can run on their own."""

from __future__ import annotations

import copy
import io
import warnings

import torch
from torch import Tensor

from asd.errors import UserError
from asd.scoring.base import NotFittedError, Scorer
from asd.testing.contract import Check, check_described, check_excuses, reparsed, run_checks


def check_scorer(scorer: Scorer) -> None:
    """Run every check on an unfitted scorer; it is left as it was.

    Raises:
        AssertionError: A check fails that `expected_failures` does not name, or one passes that it names.
    """
    run_checks(CHECKS, scorer)


def reference(clips: int = 60, targets: int = 6, width: int = 12) -> tuple[Tensor, Tensor]:
    """Embeddings ``(N, E)`` in a few clusters, and which are of the target domain; the same each time."""
    generator = torch.Generator().manual_seed(3)
    centres = torch.randn(4, width, generator=generator) * 3
    rows = centres[torch.arange(clips) % 4] + 0.3 * torch.randn(clips, width, generator=generator)
    target = torch.arange(clips) >= clips - targets
    return rows, target


def check_declaration(scorer: Scorer) -> None:
    """What is declared is there and of the right kind."""
    assert isinstance(scorer.fitted, Tensor), "call super().__init__() in the constructor"
    check_excuses(scorer, CHECKS)


def check_documented(scorer: Scorer) -> None:
    """Every argument of the constructor is described in the class's docstring."""
    check_described(type(scorer))


def check_config(scorer: Scorer) -> None:
    """A configuration written and read gives a scorer of the same scores."""
    rows, target = reference()
    again = reparsed(scorer, Scorer).fit(rows, target)(rows)
    torch.testing.assert_close(again, scorer.fit(rows, target)(rows))


def check_fit_returns_itself(scorer: Scorer) -> None:
    """`fit` returns the scorer, and marks it as fitted."""
    assert scorer.fit(*reference()) is scorer, "fit returns self"
    assert bool(scorer.fitted), "fit marks the scorer as fitted: keep what is learned with `remember`"


def check_not_fitted(scorer: Scorer) -> None:
    """Scoring before the fit is refused."""
    try:
        scorer(reference()[0])
    except NotFittedError:
        return
    raise AssertionError("scoring before the fit raises NotFittedError")


def check_higher_is_more_anomalous(scorer: Scorer) -> None:
    """What lies far from the normal clips scores higher than they do."""
    rows, target = reference()
    scores = scorer.fit(rows, target)(torch.cat([rows, -10 * rows[:8]]))
    assert scores.shape == (len(rows) + 8,), f"(B,) expected, got {tuple(scores.shape)}"
    assert bool(scores.isfinite().all()), "scores are finite"
    assert scores[-8:].median() > scores[:-8].median(), "far clips score higher"


def check_rows_independent(scorer: Scorer) -> None:
    """A clip's score does not depend on the other clips of the batch."""
    rows, target = reference()
    scorer.fit(rows, target)
    query = rows + 0.2
    together = scorer(query)
    alone = torch.cat([scorer(query[i : i + 1]) for i in range(len(query))])
    # Rounding matters in proportion to the spread of the scores.
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4 * float(together.std()))


def check_deterministic(scorer: Scorer) -> None:
    """Two fits on the same clips give the same scores, and the clips are not written to."""
    rows, target = reference()
    before = rows.clone()
    first = copy.deepcopy(scorer).fit(rows, target)(rows)
    torch.testing.assert_close(scorer.fit(rows, target)(rows), first)
    assert torch.equal(rows, before), "fit wrote into the embeddings"


def check_state_dict(scorer: Scorer) -> None:
    """A saved state makes any instance, fitted on other data or not at all, score the same; it holds no code."""
    rows, target = reference()
    for bank in ((rows, target), (rows[~target], target[~target])):
        fresh, other = copy.deepcopy(scorer), copy.deepcopy(scorer).fit(*reference(30, 3))
        fitted = copy.deepcopy(scorer).fit(*bank)
        expected = fitted(rows + 0.1)
        file = io.BytesIO()
        torch.save(fitted.state_dict(), file)
        for one in (fresh, other):
            file.seek(0)
            one.load_state_dict(torch.load(file, weights_only=True))
            assert torch.equal(one(rows + 0.1), expected), "the loaded scorer scores otherwise"


def check_deepcopy(scorer: Scorer) -> None:
    """A copy scores the same."""
    rows, target = reference()
    scorer.fit(rows, target)
    assert torch.equal(copy.deepcopy(scorer)(rows), scorer(rows)), "the copy scores otherwise"


def check_small_banks(scorer: Scorer) -> None:
    """One clip, one domain alone, or identical clips are enough to score with."""
    rows, target = reference()
    banks = {
        "one clip": (rows[:1], target[:1]),
        "the source domain alone": (rows[:20], target[:20]),
        "the target domain alone": (rows[-4:], target[-4:]),
        "identical clips": (rows[:1].repeat(9, 1), target[:9]),
    }
    for name, bank in banks.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are fewer clips than asked for
            scores = copy.deepcopy(scorer).fit(*bank)(rows)
        assert bool(scores.isfinite().all()), f"scores are not finite after a fit on {name}"


def check_bad_banks(scorer: Scorer) -> None:
    """An empty bank and embeddings that are not finite are refused."""
    rows, target = reference()
    broken = rows.clone()
    broken[3, 2] = torch.nan
    for bank in ((rows[:0], target[:0]), (broken, target)):
        try:
            copy.deepcopy(scorer).fit(*bank)
        except UserError:
            continue
        raise AssertionError(f"a bank of shape {tuple(bank[0].shape)} raises UserError")


CHECKS: tuple[Check[Scorer], ...] = (
    check_declaration,
    check_documented,
    check_config,
    check_fit_returns_itself,
    check_not_fitted,
    check_higher_is_more_anomalous,
    check_rows_independent,
    check_deterministic,
    check_state_dict,
    check_deepcopy,
    check_small_banks,
    check_bad_banks,
)
