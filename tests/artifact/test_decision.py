"""Decisions for a label."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from sentiment_conv1d.artifact.decision import Calibration, DecisionRule, decide, decide_all, decide_each


def test_threshold() -> None:
    """An output of exactly 0.5 decides for label 1, and the number just below for label 0."""
    below = np.nextafter(np.float32(0.5), np.float32(0))
    assert decide_all(np.array([[0.5], [below]], np.float32)).tolist() == [1, 0]
    assert [decide(np.array([each], np.float32)) for each in (0.5, below)] == [1, 0]


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


def test_several_labels() -> None:
    """A text has each label whose probability reaches its threshold, compared with float64 numbers."""
    thresholds = [0.1, 0.5]
    below = np.nextafter(np.float32(0.5), np.float32(0))
    outputs = np.array([[0.2, 0.5], [0.05, below], [0.1, 0.9]], np.float32)
    assert decide_each(outputs, thresholds).tolist() == [[True, True], [False, False], [True, True]]
    assert not decide_each(np.array([[0.1]], np.float64), [0.1 + 1e-9]).any()


def test_limits_of_confidence() -> None:
    """A label whose limit is null is never confident, and one without a limit has none."""
    rule = DecisionRule(confident_from={"bad": 0.9, "good": None})
    assert rule.limits(["good", "bad", "neutral"]) == (math.inf, 0.9, None)


def test_thresholds_in_order() -> None:
    """Thresholds come in the order of the labels, and a model that gives each text one label has none."""
    assert DecisionRule(thresholds={"calm": 0.2, "angry": 0.7}).each_threshold(["angry", "calm"]) == [0.7, 0.2]
    assert DecisionRule().each_threshold(["angry", "calm"]) == []


def test_renamed_labels() -> None:
    """Labels with other names keep their thresholds and their limits, also a limit of null."""
    rule = DecisionRule(thresholds={"0": 0.3, "1": 0.6}, confident_from={"0": None, "1": 0.8}, min_precision=0.95)
    expected = {"thresholds": {"bad": 0.3, "good": 0.6}, "confident_from": {"bad": None, "good": 0.8}}
    assert rule.renamed({"1": "good", "0": "bad"}) == rule.model_copy(update=expected)


@pytest.mark.parametrize(
    "fields",
    [
        *({"threshold": each} for each in (0.0, 1.0)),
        *({"thresholds": {"a": each}} for each in (0.0, 1.0)),
        *({"min_precision": each} for each in (0.0, 1.0)),
        {"temperature": 0.0},
    ],
    ids=str,
)
def test_invalid_rules(fields: dict[str, object]) -> None:
    """Thresholds and precisions are between 0 and 1, and temperatures above 0."""
    with pytest.raises(ValidationError):
        DecisionRule.model_validate(fields)


def test_default_rule() -> None:
    """By default the more probable label wins, the network is not calibrated, and nothing is written about the rest."""
    assert DecisionRule().model_dump() == {"threshold": 0.5, "temperature": 1.0, "chosen_on": None}


def test_every_field() -> None:
    """A rule is the same after it was written and read, also near the bounds of its fields."""
    numbers = {"log_loss_before": 0.5, "log_loss_after": 0.25, "error_before": 0.125, "error_after": 0.0625}
    rule = DecisionRule(
        threshold=0.999,
        thresholds={"a": 0.001, "b": 0.999},
        temperature=0.001,
        chosen_on="held-out texts",
        confident_from={"a": None},
        min_precision=0.001,
        calibration=Calibration(texts=1, helps=True, **numbers),
    )
    assert DecisionRule.model_validate_json(rule.model_dump_json()) == rule
    with pytest.raises(ValidationError, match="frozen"):
        rule.temperature = 2.0  # type: ignore[misc]
    assert rule.calibration is not None
    with pytest.raises(ValidationError, match="frozen"):
        rule.calibration.texts = 2  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Calibration(texts=0, helps=True, **numbers)


@pytest.mark.parametrize(("helps", "end"), [(True, "so it is used"), (False, "so it is not used")])
def test_calibration_in_words(helps: bool, end: str) -> None:
    """The reason for a temperature is told with the losses and errors before and after."""
    calibration = Calibration(
        texts=1200, log_loss_before=0.5, log_loss_after=0.4, error_before=0.06, error_after=0.02, helps=helps
    )
    assert calibration.describe() == (
        "a temperature changes the log loss of 1,200 held-out texts from 0.5000 to 0.4000 and their calibration error "
        f"from 0.0600 to 0.0200, {end}"
    )
