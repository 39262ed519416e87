"""Confident predictions: those with a probability from which enough predictions of their label are right."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.evaluation.share import DEVIATIONS, Share, wilson_interval

Weights = npt.NDArray[Any]

#: What the measures of confident predictions are called in a report, by their names in metrics.
_TITLES = {
    "confident_share": "confident",
    "confident_accuracy": "right if confident",
    "other_accuracy": "right if not confident",
}


def least_predictions(precision: float) -> int:
    """Return the number of predictions from which on a precision can be shown: it can if all of them are right."""
    return ceil(DEVIATIONS**2 * precision / (1 - precision))


def confident_from(held_out: Evaluation, precision: float, weights: Weights | None = None) -> dict[str, float | None]:
    """Return, for each label, the lowest probability from which its predictions are right often enough.

    They are if the lower end of Wilson's 95% interval of the share of right ones reaches `precision`. A label is None
    if there is no such probability, and left out if it has fewer predictions than `least_predictions`. `weights` says
    how much each held-out text counts, float [n]; texts then count for less than their number (Kish's effective size).
    """
    weights = np.ones(len(held_out.labels)) if weights is None else weights.astype(np.float64)
    found: dict[str, float | None] = {}
    for number, label in enumerate(held_out.label_names):
        own = (held_out.predicted == number) & (weights > 0)
        scores, right, share = held_out.confidence[own], held_out.right[own], weights[own]
        order = np.argsort(-scores, kind="stable")
        scores, right, share = scores[order], right[order], share[order]
        total = np.cumsum(share)
        texts = total**2 / np.cumsum(share**2)
        if texts.max(initial=0) < least_predictions(precision):
            continue
        is_last = np.append(scores[1:] != scores[:-1], True)  # of those with the same probability
        is_precise = wilson_interval(np.cumsum(right * share) / total, texts)[0] >= precision
        places = np.flatnonzero(is_precise & is_last)
        found[label] = float(scores[places[-1]]) if len(places) else None
    return found


def with_limits(
    rule: DecisionRule, held_out: Evaluation, precision: float, weights: Weights | None = None
) -> DecisionRule:
    """Return a rule with the limits of `confident_from`, and with the precision if there are any."""
    limits = confident_from(held_out, precision, weights)
    return rule.model_copy(update={"confident_from": limits, "min_precision": precision if limits else None})


def confident(evaluation: Evaluation, rule: DecisionRule) -> npt.NDArray[np.bool_]:
    """Return whether the model is confident of each prediction: bool [n]. It is not if the label has no limit."""
    least = np.array([np.inf if limit is None else limit for limit in rule.limits(evaluation.label_names)])
    return np.asarray(evaluation.confidence >= least[evaluation.predicted])


def confidence(evaluation: Evaluation, rule: DecisionRule) -> dict[str, Share]:
    """Return the share of confident predictions, and the shares of right ones among them and among the others, by name.

    Those that are not defined are left out, and all are if the rule has no limits.
    """
    if not rule.confident_from:
        return {}
    sure = confident(evaluation, rule)
    shares = {"confident_share": Share(int(sure.sum()), len(sure))}
    for name, part in (("confident_accuracy", sure), ("other_accuracy", ~sure)):
        if part.any():
            shares[name] = Share(int(evaluation.right[part].sum()), int(part.sum()))
    return shares


def confident_values(evaluation: Evaluation, rule: DecisionRule) -> dict[str, float]:
    """Return the values of `confidence` for metrics."""
    return {name: share.value for name, share in confidence(evaluation, rule).items()}


def confidence_rows(evaluation: Evaluation, rule: DecisionRule) -> list[tuple[str, Share]]:
    """Return the values of `confidence` with titles."""
    return [(_TITLES[name], share) for name, share in confidence(evaluation, rule).items()]


def confidence_lines(evaluation: Evaluation, rule: DecisionRule) -> Iterator[str]:
    """Describe the confident predictions on lines of a terminal."""
    for title, share in confidence_rows(evaluation, rule):
        yield f"{title}: {share}"
    missing = [label for label in evaluation.label_names if label not in rule.confident_from]
    if missing:
        yield f"without a limit, so `confident` is null: {', '.join(missing)}"
