"""Decisions for a label."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sentiment_conv1d.artifact.decision import decide, decide_all


def test_threshold() -> None:
    """An output of exactly 0.5 decides for label 1, and the number just below for label 0."""
    below = np.nextafter(np.float32(0.5), np.float32(0))
    assert decide_all(np.array([[0.5], [below]], np.float32)).tolist() == [1, 0]


def test_equal_probabilities() -> None:
    """If labels have the same probability, the first one wins."""
    assert decide_all(np.array([[0.2, 0.4, 0.4], [0.1, 0.1, 0.8]])).tolist() == [1, 2]


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 4)), elements=st.floats(0, 1, width=32)),
    st.sampled_from([0.1, 0.3, 0.5, 0.7]) | st.floats(0.01, 0.99),
)
def test_batch(outputs: np.ndarray[tuple[int, ...], np.dtype[np.float32]], threshold: float) -> None:
    """A batch has the labels of its single rows, even if an output is the threshold rounded to float32."""
    outputs[:1, :1] = threshold
    assert decide_all(outputs, threshold).tolist() == [decide(row, threshold) for row in outputs]
