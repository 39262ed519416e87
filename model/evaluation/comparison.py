"""The comparison of two models on the same labelled texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, ttest_1samp

from sentiment_conv1d.commands.output import counted, table_lines
from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.evaluation.segments import MOST_SHOWN, divide

#: The number of samples of the bootstrap, and the quantiles of its interval.
_SAMPLES, _QUANTILES = 10_000, (0.025, 0.975)

#: Below this p-value, a difference is called significant.
_SIGNIFICANT = 0.05


@dataclass(frozen=True, eq=False)
class Comparison:
    """The evaluations of two models, A and B, on the same examples. They have the same labels, in any order."""

    names: tuple[str, str]
    first: Evaluation
    second: Evaluation

    @cached_property
    def only_right(self) -> tuple[int, int]:
        """The number of examples that only A answers correctly, and that only B does."""
        first, second = self.first.right, self.second.right
        return int(np.sum(first & ~second)), int(np.sum(second & ~first))

    @property
    def different(self) -> npt.NDArray[np.intp]:
        """The examples for which the models predict different labels."""
        first, second = (np.array(each.label_names)[each.predicted] for each in (self.first, self.second))
        return np.flatnonzero(first != second)

    @property
    def accuracy_difference(self) -> float:
        """The accuracy of B minus that of A."""
        return (self.only_right[1] - self.only_right[0]) / len(self.first.labels)

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """The 95% interval of `accuracy_difference` by the paired bootstrap.

        Only the numbers of the examples that one model answers correctly matter, so they are drawn instead of examples.
        """
        number = len(self.first.labels)
        worse, better = self.only_right
        shares = np.array([worse, better, number - worse - better]) / number
        drawn = np.random.default_rng(0).multinomial(number, shares, _SAMPLES)
        low, high = np.quantile((drawn[:, 1] - drawn[:, 0]) / number, _QUANTILES)
        return float(low), float(high)

    @property
    def p_value(self) -> float:
        """The p-value of McNemar's exact test: the chance of such a difference if both models are equally accurate."""
        worse, better = self.only_right
        return float(binomtest(better, worse + better).pvalue) if worse + better else 1.0

    @property
    def loss_difference(self) -> tuple[float, tuple[float, float] | None]:
        """The log loss of B minus that of A, and its 95% interval by the paired t-test; None if it is undefined."""
        losses = self.second.losses - self.first.losses
        if len(losses) < 2 or not np.ptp(losses):
            return float(np.mean(losses)), None
        interval = ttest_1samp(losses, 0).confidence_interval()
        return float(np.mean(losses)), (float(interval.low), float(interval.high))

    def lines(self) -> Iterator[str]:
        """Yield the comparison as lines for a terminal."""
        first, second = self.first.values(), self.second.values()
        rows = [["", "A", "B", "B - A"]]
        for name in first:  # the undefined measures are the same, because the examples are
            values = [f"{first[name]:.4f}", f"{second[name]:.4f}", f"{second[name] - first[name]:+.4f}"]
            rows.append([name, *values])
        yield from (f"{letter}: {name}" for letter, name in zip("AB", self.names, strict=True))
        yield from table_lines(rows)
        yield f"accuracy, B - A: {self.accuracy_difference:+.4f}, {_shown(self.accuracy_interval)} (paired bootstrap)"
        difference, interval = self.loss_difference
        if interval is not None:
            yield f"log loss, B - A: {difference:+.4f}, {_shown(interval)} (paired t-test)"
        worse, better = self.only_right
        yield f"only A is right: {counted(worse, 'text')}; only B is right: {counted(better, 'text')}"
        verdict = "significant" if self.p_value < _SIGNIFICANT else "not significant"
        yield f"McNemar's exact test: p = {self.p_value:.2g}, {verdict} at {_SIGNIFICANT}"
        yield f"different predictions: {len(self.different):,} of {counted(len(self.first.labels), 'text')}"

    def segment_lines(self, column: str, values: Sequence[Any]) -> Iterator[str]:
        """Yield the accuracies of each segment as lines for a terminal, the one that B is worst at first.

        `values` are those of the column, one for each example. Raises `EvaluationError`.
        """
        parts = [
            (name, Comparison(self.names, self.first.part(chosen), self.second.part(chosen)))
            for name, chosen in divide(column, values)
        ]
        parts.sort(key=lambda part: (part[1].accuracy_difference, part[0]))
        yield f"by {column}:"
        rows = [[column, "texts", "A", "B", "B - A", "95% interval"]]
        for name, each in parts[:MOST_SHOWN]:
            accuracies = [f"{each.first.accuracy:.4f}", f"{each.second.accuracy:.4f}"]
            low, high = each.accuracy_interval
            difference = [f"{each.accuracy_difference:+.4f}", f"{low:+.4f} to {high:+.4f}"]
            rows.append([name, f"{len(each.first.labels):,}", *accuracies, *difference])
        yield from table_lines(rows)
        if len(parts) > MOST_SHOWN:
            yield f"  and {len(parts) - MOST_SHOWN:,} more, at which B is better"

    def write_differences(self, path: Path, examples: Examples) -> None:
        """Write a JSON object a line for each example with different predictions, those with the largest change first.

        The change is that of the probability of the true label.
        """
        change = np.abs(self.second.of_truth - self.first.of_truth)
        order = sorted(self.different.tolist(), key=lambda index: -change[index])
        with path.open("w", encoding="utf-8") as file:
            for index in order:
                file.write(json.dumps(self._difference(index, examples), ensure_ascii=False) + "\n")

    def _difference(self, index: int, examples: Examples) -> dict[str, Any]:
        first, second = self.first, self.second
        row = examples.rows[index] if examples.rows else None
        place = {} if row is None else {"source": row.file, row.unit: row.number}
        return place | {
            "text": examples.texts[index],
            "label": first.label_names[first.labels[index]],
            "predicted_a": first.label_names[first.predicted[index]],
            "predicted_b": second.label_names[second.predicted[index]],
            "probability_of_label_a": round(float(first.of_truth[index]), 6),
            "probability_of_label_b": round(float(second.of_truth[index]), 6),
        }


def _shown(interval: tuple[float, float]) -> str:
    return f"95% interval {interval[0]:+.4f} to {interval[1]:+.4f}"
