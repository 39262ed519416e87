"""The measures of the segments of the texts: of those that have the same value in a column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2_contingency

from sentiment_conv1d.commands.output import table_lines
from sentiment_conv1d.model.evaluation.evaluation import Evaluation, EvaluationError
from sentiment_conv1d.model.evaluation.share import Share, shown

#: Fewer texts say little about a segment, so it does not count for the gap between the best and the worst one.
LEAST_TEXTS = 30

#: More values are hardly a column of segments.
_MOST_SEGMENTS = 1000

#: The most segments that a terminal shows.
MOST_SHOWN = 40

_EMPTY = "(empty)"


class Segment(NamedTuple):
    """The measures of one segment."""

    name: str
    examples: int
    accuracy: float
    interval: tuple[float, float]  # of the accuracy: Wilson's 95% interval
    confidence: float  # mean probability of the predicted label
    expected_calibration_error: float


class Gap(NamedTuple):
    """The difference between the accuracies of the best and the worst segment of at least `LEAST_TEXTS` texts."""

    best: Segment
    worst: Segment
    difference: float
    interval: tuple[float, float]  # Newcombe's 95% interval
    p_value: float  # chance of accuracies that differ this much if all segments were equally accurate


@dataclass(frozen=True)
class Segments:
    """The segments of an evaluation, the least accurate one first. `gap` is None if fewer than two are large enough."""

    column: str
    segments: tuple[Segment, ...]
    gap: Gap | None

    def document(self) -> dict[str, Any]:
        """Return the segments for `metrics.json`."""
        gap = None if self.gap is None else self.gap._asdict()
        if self.gap is not None and gap is not None:
            gap |= {"best": self.gap.best.name, "worst": self.gap.worst.name, "least_examples": LEAST_TEXTS}
        return {"column": self.column, "segments": [each._asdict() for each in self.segments], "gap": gap}

    def rows(self) -> list[list[str]]:
        """Return the segments as a table with a header."""
        rows = [[self.column, "texts", "accuracy", "95% interval", "confidence", "calibration error"]]
        for each in self.segments:
            numbers = [f"{each.confidence:.4f}", f"{each.expected_calibration_error:.4f}"]
            rows.append([each.name, f"{each.examples:,}", f"{each.accuracy:.4f}", shown(each.interval), *numbers])
        return rows

    def lines(self) -> Iterator[str]:
        """Yield the segments as lines for a terminal."""
        yield f"by {self.column}:"
        yield from table_lines(self.rows()[: 1 + MOST_SHOWN])
        if len(self.segments) > MOST_SHOWN:
            yield f"  and {len(self.segments) - MOST_SHOWN:,} more, which are more accurate"
        yield from self.gap_lines()

    def gap_lines(self) -> Iterator[str]:
        """Yield the gap between the best and the worst segment as sentences."""
        if self.gap is None:
            yield f"fewer than two segments have at least {LEAST_TEXTS} texts, so no gap is measured"
            return
        best, worst, difference, interval, p_value = self.gap
        yield (
            f"gap of accuracy between {best.name} ({best.accuracy:.4f}) and {worst.name} ({worst.accuracy:.4f}), of "
            f"the segments with at least {LEAST_TEXTS} texts: {difference:.4f}, 95% interval {shown(interval)}"
        )
        yield f"chance of such differences if all segments were equally accurate: p = {p_value:.2g} (chi-squared test)"


def by_segment(evaluation: Evaluation, column: str, values: Sequence[Any]) -> Segments:
    """Evaluate each segment. `values` are those of the column, one for each example.

    Raises `EvaluationError` if the column has too many different values.
    """
    measured = [_measured(evaluation, name, chosen) for name, chosen in divide(column, values)]
    measured.sort(key=lambda each: (each.accuracy, each.name))
    return Segments(column, tuple(measured), _gap([each for each in measured if each.examples >= LEAST_TEXTS]))


def divide(column: str, values: Sequence[Any]) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Yield the name of each segment, and which examples are in it: bool [n]. Raises `EvaluationError`."""
    names = np.array([_name(value) for value in values])
    distinct = np.unique(names)
    if len(distinct) > _MOST_SEGMENTS:
        raise EvaluationError(
            f"--by: the column {column!r} has {len(distinct):,} different values, more than {_MOST_SEGMENTS:,}"
        )
    for name in distinct:
        yield str(name), names == name


def _name(value: Any) -> str:
    return (str(value).strip() or _EMPTY) if value is not None else _EMPTY


def _measured(evaluation: Evaluation, name: str, chosen: npt.NDArray[np.bool_]) -> Segment:
    part = evaluation.part(chosen)
    number = len(part.labels)
    return Segment(
        name=name,
        examples=number,
        accuracy=part.accuracy,
        interval=Share(int(part.right.sum()), number).interval,
        confidence=float(part.confidence.mean()),
        expected_calibration_error=part.expected_calibration_error,
    )


def _gap(segments: Sequence[Segment]) -> Gap | None:
    """Compare the best and the worst of segments that are sorted by accuracy."""
    if len(segments) < 2:
        return None
    worst, best = segments[0], segments[-1]
    difference = best.accuracy - worst.accuracy
    # Newcombe, "Interval estimation for the difference between independent proportions" (1998), method 10.
    below = np.hypot(best.accuracy - best.interval[0], worst.interval[1] - worst.accuracy)
    above = np.hypot(best.interval[1] - best.accuracy, worst.accuracy - worst.interval[0])
    right = np.array([round(each.accuracy * each.examples) for each in segments])
    wrong = np.array([each.examples for each in segments]) - right
    varies = right.any() and wrong.any()
    p_value = float(chi2_contingency([right, wrong]).pvalue) if varies else 1.0
    return Gap(best, worst, difference, (float(difference - below), float(difference + above)), p_value)
