"""A share of texts, with its interval."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

#: The number of standard deviations within which 95% of a normal distribution is.
DEVIATIONS = NormalDist().inv_cdf(0.975)


class Share(NamedTuple):
    """The share `part` / `whole` of texts. `whole` is at least 1."""

    part: int
    whole: int

    @property
    def value(self) -> float:
        """The share, from 0 to 1."""
        return self.part / self.whole

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval of the share."""
        low, high = wilson_interval(self.value, self.whole)
        return float(low), float(high)

    def __str__(self) -> str:
        return f"{self.value:.4f}, 95% interval {shown(self.interval)}"


def wilson_interval(share: npt.ArrayLike, number: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return both ends of Wilson's 95% intervals of shares, each measured on a number of texts: arrays of one shape."""
    share, square = np.asarray(share, np.float64), DEVIATIONS**2 / np.asarray(number, np.float64)
    middle = share + square / 2
    half = np.sqrt(square * (share * (1 - share) + square / 4))
    return np.maximum(0, (middle - half) / (1 + square)), np.minimum(1, (middle + half) / (1 + square))


def shown(interval: tuple[float, float]) -> str:
    """Return an interval with four decimals."""
    return f"{interval[0]:.4f} to {interval[1]:.4f}"
