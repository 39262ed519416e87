"""Statistics of texts: what is counted, and in which bins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sentiment_conv1d.artifact.text_statistics import Distribution, TextStatistics

NUMBERS = st.lists(st.floats(0, 1), min_size=1, max_size=60)


def test_deciles() -> None:
    """Different numbers are divided into ten bins of the same size."""
    distribution = Distribution.of(np.arange(1, 101))
    assert distribution.bounds == (10, 20, 30, 40, 50, 60, 70, 80, 90)
    assert distribution.counts == (10,) * 10
    assert distribution.mean == 50.5


def test_equal_numbers() -> None:
    """Bins with the same bound are merged, and there is always a bin above the largest bound."""
    assert Distribution.of([0.0] * 99 + [0.5]).bounds == (0.0,)
    assert Distribution.of([0.0] * 99 + [0.5]).counts == (99, 1)
    assert Distribution.of([1.0]).counts == (1, 0)


@given(NUMBERS, NUMBERS)
def test_bounds_of_another(first: list[float], second: list[float]) -> None:
    """All numbers are counted, with the bounds of another distribution too."""
    reference = Distribution.of(first)
    assert sum(reference.counts) == len(first)
    other = Distribution.of(second, reference.bounds)
    assert other.bounds == reference.bounds
    assert sum(other.counts) == len(second)
    assert Distribution.of(first, reference.bounds) == reference


@pytest.mark.parametrize(
    ("bounds", "counts"),
    [((1.0,), (1,)), ((1.0,), (1, -1)), ((1.0, 1.0), (1, 1, 1)), ((2.0, 1.0), (1, 1, 1)), ((float("nan"),), (1, 1))],
)
def test_contradictions(bounds: tuple[float, ...], counts: tuple[int, ...]) -> None:
    """A manifest whose bins contradict each other is invalid."""
    with pytest.raises(ValidationError):
        Distribution(bounds=bounds, counts=counts, mean=0)


def test_texts() -> None:
    """The share of unknown words is relative to the ids of a text, and is defined for a text without ids."""
    statistics = TextStatistics.of(
        "three texts",
        labels=["yes", "no", "yes"],
        scores=np.array([0.9, 0.6, 0.7], np.float32),
        tokens=[4, 2, 0],
        unknown_tokens=[1, 2, 0],
    )
    assert (statistics.texts, statistics.labels) == (3, {"no": 1, "yes": 2})
    assert statistics.scores.mean == pytest.approx(2.2 / 3, abs=1e-6)
    assert statistics.tokens.mean == 2
    assert statistics.unknown_words is not None and statistics.unknown_words.bounds == (0.0, 0.25, 1.0)
    assert TextStatistics.model_validate_json(statistics.model_dump_json()) == statistics
