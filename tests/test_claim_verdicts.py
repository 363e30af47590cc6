"""Verdicts on claims: intervals against SciPy and printed tables."""

import numpy as np
import pytest
from scipy import stats

from sidae_jax.report import claim_verdicts


def by_seed(*values):
    return {seed: float(value) for seed, value in enumerate(values)}


def bounds(judgement):
    low, _, high = judgement.interval.partition(" to ")
    return float(low), float(high)


def test_the_interval_of_a_difference_is_welchs():
    first, second = (50.1, 52.3, 51.4, 55.0), (48.2, 49.9, 40.1)
    interval = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    judgement = claim_verdicts.above(by_seed(*first), by_seed(*second), paired=False)
    assert bounds(judgement) == pytest.approx(tuple(interval), abs=0.006)
    error = np.sqrt(np.var(first, ddof=1) / 4 + np.var(second, ddof=1) / 3)
    assert judgement.ours == f"+{np.mean(first) - np.mean(second):.2f} ({error:.2f})"
    assert judgement.agree == "3 of 3"


def test_the_interval_of_checkpoints_of_the_same_runs_is_that_of_paired_differences():
    first, second = (50.1, 60.3, 71.4), (48.2, 58.9, 69.1)
    interval = stats.ttest_rel(first, second).confidence_interval(0.95)
    # the runs are matched by their seeds, in whatever order they come
    judgement = claim_verdicts.above(by_seed(*first), dict(reversed(by_seed(*second).items())), paired=True)
    assert bounds(judgement) == pytest.approx(tuple(interval), abs=0.006)
    assert judgement.verdict == "holds"
    assert claim_verdicts.above(by_seed(*first), by_seed(*second), paired=False).verdict == "cannot be said"


def test_the_interval_of_a_ratio_of_standard_errors_has_the_f_of_printed_tables():
    first, second = (50.0, 51.0, 52.0), (40.0, 50.0, 60.0)  # standard deviations 1 and 10; F(2, 2) at 0.975 is 39.00
    judgement = claim_verdicts.steadier(by_seed(*first), by_seed(*second))
    assert judgement.ours == "0.58 : 5.77"
    assert bounds(judgement) == pytest.approx((0.1 / np.sqrt(39), 0.1 * np.sqrt(39)), abs=0.006)
    assert judgement.verdict == "holds"
    assert claim_verdicts.steadier(by_seed(*second), by_seed(*first)).verdict == "does not hold"
    assert claim_verdicts.steadier(by_seed(50, 51, 52), by_seed(40, 42, 44)).verdict == "cannot be said"
    # F(4, 2) at 0.975 is 39.25, F(2, 4) 10.65; the standard deviations are sqrt(2.5) and 10
    unequal = bounds(claim_verdicts.steadier(by_seed(48, 49, 50, 51, 52), by_seed(40, 50, 60)))
    ratio = np.sqrt(2.5) / 10
    assert unequal == pytest.approx((ratio / np.sqrt(39.25), ratio * np.sqrt(10.65)), abs=0.006)
    # more seeds make a smaller standard error, and no steadier method
    many = claim_verdicts.steadier(by_seed(50, 52, 54, *[50, 52, 54] * 6), by_seed(50, 52, 54))
    assert bounds(many)[0] < 1 < bounds(many)[1]
    assert many.verdict == "cannot be said"


@pytest.mark.parametrize(
    ("first", "second", "above", "near"),
    [
        ((50.0, 51.0, 52.0), (40.0, 41.0, 42.0), "holds", "does not hold"),
        ((40.0, 41.0, 42.0), (50.0, 51.0, 52.0), "does not hold", "does not hold"),
        ((50.0, 50.1, 50.2), (50.1, 50.2, 50.0), "cannot be said", "holds"),
        ((50.0, 55.0, 60.0), (50.0, 55.0, 60.0), "cannot be said", "cannot be said"),
        ((50.0, 51.0), (10.0, 11.0), "cannot be said", "cannot be said"),  # two seeds, however far apart
        ((50.0,), (10.0,), "cannot be said", "cannot be said"),
    ],
)
def test_verdicts(first, second, above, near):
    assert claim_verdicts.above(by_seed(*first), by_seed(*second), paired=False).verdict == above
    assert claim_verdicts.near(by_seed(*first), by_seed(*second)).verdict == near


@pytest.mark.parametrize(
    ("difference", "verdict", "agree"),
    # the interval reaches 0.23 to either side: 2.776 * sqrt(2 * 0.1^2 / 3), Student's t with 4 degrees of freedom
    [
        (1.7, "holds", "3 of 3"),
        (-1.7, "holds", "3 of 3"),
        (1.9, "cannot be said", "3 of 3"),
        (2.1, "cannot be said", "0 of 3"),
        (2.3, "does not hold", "0 of 3"),
        (-2.3, "does not hold", "0 of 3"),
    ],
)
def test_near_is_within_two_points(difference, verdict, agree):
    first, second = by_seed(*(value + difference for value in (50.0, 50.1, 50.2))), by_seed(50.0, 50.1, 50.2)
    judgement = claim_verdicts.near(first, second)
    assert (judgement.verdict, judgement.agree) == (verdict, agree)
    assert bounds(judgement) == pytest.approx((difference - 0.2267, difference + 0.2267), abs=0.006)


def test_seeds_that_do_not_differ_say_nothing_of_their_spread():
    same = claim_verdicts.above(by_seed(50, 50, 50), by_seed(49.9, 49.9, 49.9), paired=False)
    assert (same.ours, same.interval, same.verdict) == ("+0.10 (0.00)", "", "cannot be said")
    assert claim_verdicts.near(by_seed(50, 50, 50), by_seed(49, 49, 49)).verdict == "cannot be said"
