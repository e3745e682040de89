"""The contract of a threshold, as checks that anyone can run on their own."""

from __future__ import annotations

import copy
import math
import pickle
from typing import get_args

import torch
from torch import Tensor

from asd.errors import UserError
from asd.scoring.limits import Limits
from asd.scoring.threshold import TargetRule, Threshold
from asd.testing.contract import Check, check_described, check_excuses, reparsed, run_checks

QUANTILES = (0.05, 0.3, 0.5, 0.8, 0.9, 0.95, 0.99)


def check_threshold(threshold: Threshold) -> None:
    """Run every check on a threshold; it is left as it was.

    Raises:
        AssertionError: A check fails that `expected_failures` does not name, or one passes that it names.
    """
    run_checks(CHECKS, threshold)


def distances(clips: int = 200, targets: int = 20) -> tuple[Tensor, Tensor]:
    """Scores ``(N,)`` of normal clips, those of the target domain higher, and which these are; the same each time."""
    generator = torch.Generator().manual_seed(11)
    target = torch.arange(clips) >= clips - targets
    scores = torch.randn(clips, 4, generator=generator).square().sum(1)
    return scores + 2 * target, target


def with_options(threshold: Threshold, **options: object) -> Threshold:
    """A copy with other options."""
    copied = copy.deepcopy(threshold)
    for name, value in options.items():
        setattr(copied, name, value)
    return copied


def same(first: Limits, second: Limits) -> bool:
    """Whether limits are equal up to rounding."""
    return all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9) for a, b in zip(first, second, strict=True))


def check_declaration(threshold: Threshold) -> None:
    """What is declared is there and of the right kind."""
    assert threshold.target in get_args(TargetRule), "target is no rule; call super().__init__ in the constructor"
    check_excuses(threshold, CHECKS)


def check_documented(threshold: Threshold) -> None:
    """Every argument of the constructor is described in the class's docstring."""
    check_described(type(threshold))


def check_config(threshold: Threshold) -> None:
    """A configuration written and read gives the same limits."""
    assert same(reparsed(threshold, Threshold).fit(*distances()), threshold.fit(*distances())), "other limits"


def check_finite(threshold: Threshold) -> None:
    """One clip or many, of one value or several, of any sign: limits are finite numbers."""
    scores, _ = distances()
    given = {
        **{f"{count} clips": scores[:count] for count in (1, 2, 3, 10, 200)},
        "equal scores": torch.full((9,), 2.5),
        "zeros": torch.zeros(9),
        "negative scores": -scores,
        "scores of both signs": scores - scores.median(),
        "tiny scores": scores * 1e-12,
        "large scores": scores * 1e12,
    }
    for name, one in given.items():
        limits = threshold.fit(one)
        assert isinstance(limits, Limits), f"{name}: fit gives a {type(limits).__name__}, not Limits"
        assert all(isinstance(limit, float) and math.isfinite(limit) for limit in limits), f"{name}: {limits}"


def check_equal_scores(threshold: Threshold) -> None:
    """Where all normal clips score the same, that score raises no alarm."""
    for value in (2.5, 0.0, -3.0):
        alarm = threshold.fit(torch.full((9,), value)).alarm
        assert alarm >= value - 1e-6, f"an alarm above {alarm} where every normal clip scores {value}"


def check_part(threshold: Threshold) -> None:
    """About the part asked for lies below the limit."""
    scores, _ = distances(2000, 0)
    for quantile in QUANTILES:
        below = float((scores <= threshold.at(scores.double(), quantile)).double().mean())
        assert abs(below - quantile) < 0.1, f"{100 * below:.0f} % lie below the limit for {100 * quantile:.0f} %"


def check_monotone(threshold: Threshold) -> None:
    """A larger part has no lower limit."""
    for scores in (distances()[0].double(), -distances()[0].double(), distances(5, 0)[0].double()):
        limits = [threshold.at(scores, quantile) for quantile in QUANTILES]
        assert limits == sorted(limits), f"the limits for parts {QUANTILES} are {limits}"


def check_abstention(threshold: Threshold) -> None:
    """The band without a decision lies below the alarm, grows with what is asked for, and is empty for 0."""
    scores, target = distances()
    for rule in get_args(TargetRule):
        parts = [part * threshold.quantile for part in (0.0, 0.2, 0.6)]
        found = [with_options(threshold, abstain=part, target=rule).fit(scores, target) for part in parts]
        assert found[0].abstain == found[0].alarm, f"{rule}: a band where none is asked for"
        assert len({limits.alarm for limits in found}) == 1, f"{rule}: the alarm depends on the band"
        lower = [limits.abstain for limits in found]
        assert lower == sorted(lower, reverse=True), f"{rule}: the band does not grow with the part: {lower}"


def check_target_rules(threshold: Threshold) -> None:
    """Each rule for the target clips does what its name says; with one domain all are the same."""
    scores, target = distances()
    rules = {rule: with_options(threshold, target=rule, abstain=0.0) for rule in get_args(TargetRule)}
    limits = {rule: one.fit(scores, target).alarm for rule, one in rules.items()}
    source, other = (rules["pooled"].fit(scores[part]).alarm for part in (~target, target))
    assert limits["highest"] == max(source, other), "highest is not the higher of both domains' limits"
    assert limits["pooled"] == rules["pooled"].fit(scores).alarm, "pooled depends on the domain"
    assert limits["balanced"] > limits["pooled"], "balanced gives target clips, which score higher, no more weight"
    for rule, one in rules.items():
        for flags in (None, torch.zeros(len(scores), dtype=torch.bool), torch.ones(len(scores), dtype=torch.bool)):
            assert one.fit(scores, flags).alarm == limits["pooled"], f"{rule}: another limit with a single domain"


def check_order(threshold: Threshold) -> None:
    """The order of the clips does not matter."""
    scores, target = distances()
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(2))
    assert same(threshold.fit(scores[order], target[order]), threshold.fit(scores, target)), "the order matters"


def check_input_unchanged(threshold: Threshold) -> None:
    """Scores and domains are not written to."""
    scores, target = distances()
    before = scores.clone(), target.clone()
    threshold.fit(scores, target)
    assert torch.equal(scores, before[0]), "fit wrote into the scores"
    assert torch.equal(target, before[1]), "fit wrote into the domains"


def check_bad_scores(threshold: Threshold) -> None:
    """No score, and scores that are not finite, are refused."""
    scores, _ = distances()
    for bad in (torch.nan, torch.inf, -torch.inf):
        broken = scores.clone()
        broken[3] = bad
        for given in (scores[:0], broken):
            try:
                threshold.fit(given)
            except UserError:
                continue
            raise AssertionError(f"scores that hold {bad}, or none, raise UserError")


def check_deterministic(threshold: Threshold) -> None:
    """Two fits on the same scores give the same limits; nothing is kept from other scores."""
    first = threshold.fit(*distances())
    threshold.fit(distances()[0] * 100)
    assert threshold.fit(*distances()) == first, "two fits differ"


def check_copies(threshold: Threshold) -> None:
    """A copy, and one that was pickled for another process, give the same limits."""
    first = threshold.fit(*distances())
    assert copy.deepcopy(threshold).fit(*distances()) == first, "the copy gives other limits"
    assert pickle.loads(pickle.dumps(threshold)).fit(*distances()) == first, "pickled, it gives other limits"


CHECKS: tuple[Check[Threshold], ...] = (
    check_declaration,
    check_documented,
    check_config,
    check_finite,
    check_equal_scores,
    check_part,
    check_monotone,
    check_abstention,
    check_target_rules,
    check_order,
    check_input_unchanged,
    check_bad_scores,
    check_deterministic,
    check_copies,
)
