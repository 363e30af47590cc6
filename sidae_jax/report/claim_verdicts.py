"""Whether accuracies of a few seeds support a claim: confidence intervals and a verdict."""

import math
import statistics
from collections.abc import Mapping
from typing import NamedTuple

from scipy import stats

FEWEST_SEEDS = 3
NEAR = 2.0  # percentage points

Accuracies = Mapping[int, float]  # in percent, by seed


class Judgement(NamedTuple):
    """The cells of a claim's row: our difference, its 95% interval, seeds that agree, and the verdict."""

    ours: str
    interval: str
    agree: str
    verdict: str


def above(first: Accuracies, second: Accuracies, paired: bool) -> Judgement:
    """Judges that the mean of `first` is above that of `second`.

    paired: the two sides of a seed are measures of one run; both have the same seeds.
    """
    ours, low, high = _difference(first, second, paired)
    agree = [first[seed] > second[seed] for seed in first.keys() & second.keys()]
    return _judgement(first, second, ours, low, high, agree, holds=low > 0, fails=high < 0)


def near(first: Accuracies, second: Accuracies) -> Judgement:
    """Judges that the two means differ by less than `NEAR`."""
    ours, low, high = _difference(first, second, paired=False)
    agree = [abs(first[seed] - second[seed]) < NEAR for seed in first.keys() & second.keys()]
    holds, fails = low > -NEAR and high < NEAR, high < -NEAR or low > NEAR
    return _judgement(first, second, ours, low, high, agree, holds, fails)


def steadier(first: Accuracies, second: Accuracies) -> Judgement:
    """Judges that the seeds of `first` spread less; the interval is of the ratio of the standard deviations (F).

    Not of the standard errors that it shows, which the numbers of seeds change too.
    """
    if min(len(first), len(second)) < 2:
        return Judgement("", "", "", "cannot be said")
    own, other = (statistics.stdev(side.values()) for side in (first, second))
    low, high = math.nan, math.nan
    if own > 0 and other > 0:
        quantiles = (stats.f.ppf(p, len(first) - 1, len(second) - 1) for p in (0.975, 0.025))
        low, high = (own / other / math.sqrt(quantile) for quantile in quantiles)
    ours = f"{_standard_error(first):.2f} : {_standard_error(second):.2f}"
    return _judgement(first, second, ours, low, high, [], holds=high < 1, fails=low > 1)


def _judgement(first, second, ours, low, high, agree, holds, fails):
    enough = min(len(first), len(second)) >= FEWEST_SEEDS
    verdict = "holds" if enough and holds else "does not hold" if enough and fails else "cannot be said"
    interval = "" if math.isnan(low) else f"{low:.2f} to {high:.2f}"
    return Judgement(ours, interval, f"{sum(agree)} of {len(agree)}" if agree else "", verdict)


def _difference(first: Accuracies, second: Accuracies, paired: bool) -> tuple[str, float, float]:
    """Returns the difference of the means with its standard error as text, and its 95% interval.

    The interval is NaN for few seeds, and where no seed differs from another: then nothing is known of their spread.
    """
    if not first or not second:
        return "", math.nan, math.nan
    if paired:
        first = {seed: first[seed] - second[seed] for seed in first}
        second = dict.fromkeys(first, 0.0)
    difference = statistics.fmean(first.values()) - statistics.fmean(second.values())
    if min(len(first), len(second)) < 2:
        return f"{difference:+.2f}", math.nan, math.nan
    squares = [_standard_error(side) ** 2 for side in ((first,) if paired else (first, second))]
    error, sizes = math.sqrt(sum(squares)), (len(first), len(second))
    # Welch and Satterthwaite; of a paired difference, n - 1
    if error == 0:
        return f"{difference:+.2f} (0.00)", math.nan, math.nan
    freedom = sum(squares) ** 2 / sum(s**2 / (n - 1) for s, n in zip(squares, sizes, strict=False))
    reach = stats.t.ppf(0.975, freedom) * error
    return f"{difference:+.2f} ({error:.2f})", difference - reach, difference + reach


def _standard_error(side: Accuracies) -> float:
    return statistics.stdev(side.values()) / math.sqrt(len(side))
