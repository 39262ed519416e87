"""An evaluation as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sentiment_conv1d.commands.output import table_lines

if TYPE_CHECKING:
    from sentiment_conv1d.model.evaluation.evaluation import Evaluation
    from sentiment_conv1d.model.evaluation.multilabel import MultilabelEvaluation

#: The most labels whose confusion matrix fits into the width of a terminal.
_MOST_LABELS = 8


def value_lines(values: Mapping[str, float]) -> Iterator[str]:
    """Yield a line for each measure."""
    for name, value in values.items():
        yield f"  {name:28} {value:.4f}"


def label_lines(evaluation: Evaluation) -> Iterator[str]:
    """Yield the scores of each label, and the confusion matrix if it is not too wide."""
    rows = [["label", "precision", "recall", "f1", "texts", "most often mistaken for"]]
    for scores, mistake in zip(evaluation.per_label(), evaluation.most_frequent_mistakes(), strict=True):
        numbers = [score_text(score) for score in (scores.precision, scores.recall, scores.f1)]
        wrong = "" if mistake is None else f"{mistake[0]} ({mistake[1]:,})"
        rows.append([scores.label, *numbers, f"{scores.support:,}", wrong])
    yield from table_lines(rows, words=(0, 5))
    if len(evaluation.label_names) <= _MOST_LABELS:
        yield "confusion (rows: true label, columns: predicted label):"
        counts = [[f"{count:,}" for count in row] for row in evaluation.confusion.tolist()]
        names = evaluation.label_names
        yield from table_lines([["", *names], *([name, *row] for name, row in zip(names, counts, strict=True))])


def several_label_lines(evaluation: MultilabelEvaluation) -> Iterator[str]:
    """Yield the threshold and the scores of each label, of which a text can have several."""
    rows = [["label", "threshold", "precision", "recall", "f1", "average precision", "texts"]]
    for scores, limit, each in zip(evaluation.per_label(), evaluation.limits, evaluation.each, strict=True):
        area = next((curve.area for curve in each.precision_recall_curves), None)
        numbers = [score_text(score) for score in (limit, scores.precision, scores.recall, scores.f1, area)]
        rows.append([scores.label, *numbers, f"{scores.support:,}"])
    yield from table_lines(rows)


def score_text(value: float | None) -> str:
    """Return a score with four decimals, or a dash if it is not defined."""
    return "-" if value is None else f"{value:.4f}"
