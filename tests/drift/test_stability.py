"""The population stability index."""

import math

import numpy as np
import pytest

from sentiment_conv1d.drift.stability import chance_index, reading, stability_index


def test_definition() -> None:
    """The index is the sum of (a - e) · ln(a / e) over the shares, whatever the number of texts."""
    expected = 0.2 * math.log(0.7 / 0.5) + -0.2 * math.log(0.3 / 0.5)
    assert stability_index([50, 50], [70, 30]) == pytest.approx(expected)
    assert stability_index([5000, 5000], [7, 3]) == pytest.approx(expected)
    assert stability_index([70, 30], [50, 50]) == pytest.approx(expected)
    assert stability_index([1, 2, 3], [10, 20, 30]) == pytest.approx(0)


def test_empty_bins() -> None:
    """A bin that is empty on one side counts as half a text, and one that is empty on both sides is ignored."""
    half = -0.5 * math.log(0.5) + (0.5 - 0.005) * math.log(0.5 / 0.005)
    assert stability_index([100, 0], [50, 50]) == pytest.approx(half)
    assert stability_index([60, 40, 0], [40, 60, 0]) == stability_index([60, 40], [40, 60])
    assert stability_index([9], [4]) == 0


@pytest.mark.parametrize(("bins", "sizes"), [(10, (500, 500)), (10, (5000, 300)), (2, (400, 800)), (4, (1000, 1000))])
def test_chance(bins: int, sizes: tuple[int, int]) -> None:
    """Two samples of one distribution exceed the index of chance in about one in twenty comparisons."""
    random = np.random.default_rng(0)
    shares = np.full(bins, 1 / bins)
    pairs = [[random.multinomial(size, shares).tolist() for size in sizes] for _ in range(2000)]
    above = sum(stability_index(*pair) > chance_index(*pair) for pair in pairs)
    assert 0.035 < above / len(pairs) < 0.065


def test_one_bin() -> None:
    """A single bin cannot change."""
    assert chance_index([5], [6]) == 0


@pytest.mark.parametrize(
    ("index", "words"),
    [(0, "little"), (0.09, "little"), (0.1, "moderate"), (0.24, "moderate"), (0.25, "significant"), (9, "significant")],
)
def test_reading(index: float, words: str) -> None:
    """The readings use the usual bounds of 0.1 and 0.25."""
    assert reading(index) == f"{words} change"
