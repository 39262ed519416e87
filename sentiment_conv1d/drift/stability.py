"""The population stability index: how different two distributions are."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Stands for an empty bin, whose logarithm would be infinite.
_HALF = 0.5

#: The 95 % quantile of the normal distribution.
_NORMAL = 1.645

#: The readings of an index, with the values from which on they apply.
_READINGS = ((0.25, "significant change"), (0.1, "moderate change"), (0.0, "little change"))


def stability_index(expected: Sequence[int], actual: Sequence[int]) -> float:
    """Return the population stability index of the counts in the same bins, [bins] each, with a positive sum.

    It is Σ (a - e) · ln(a / e) over the shares e and a of the bins, the symmetric Kullback-Leibler divergence (N.
    Siddiqi, "Credit Risk Scorecards", Wiley 2006). A bin that is empty in one of the two counts as half a text, and a
    bin that is empty in both is left out.
    """
    totals = sum(expected), sum(actual)
    index = 0.0
    for counts in zip(expected, actual, strict=True):
        if any(counts):
            e, a = (max(count, _HALF) / total for count, total in zip(counts, totals, strict=True))
            index += (a - e) * math.log(a / e)
    return index


def chance_index(expected: Sequence[int], actual: Sequence[int]) -> float:
    """Return the index that two samples of the same distribution exceed in one of twenty comparisons.

    Without drift, the index is approximately (1/n + 1/m) times a chi-square variable with one degree of freedom less
    than bins (B. Yurdakul and J. Naranjo, "Statistical properties of the population stability index", Journal of Risk
    Model Validation 14(4), 2020). Its quantile is computed with the approximation of Wilson and Hilferty.
    """
    freedom = sum(any(counts) for counts in zip(expected, actual, strict=True)) - 1
    if freedom < 1:
        return 0.0
    variance = 2 / (9 * freedom)
    quantile = freedom * (1 - variance + _NORMAL * math.sqrt(variance)) ** 3
    return quantile * (1 / sum(expected) + 1 / sum(actual))


def reading(index: float) -> str:
    """Return the usual reading of an index: below 0.1 little, up to 0.25 moderate, above it significant change."""
    return next(words for least, words in _READINGS if index >= least)
