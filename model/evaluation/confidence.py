"""Confident predictions: those with a probability from which enough predictions of their label are right."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.model.evaluation.evaluation import Evaluation

Weights = npt.NDArray[Any]

#: Fewer predictions are no evidence of a precision.
_LEAST_PREDICTIONS = 20


def confident_from(held_out: Evaluation, precision: float, weights: Weights | None = None) -> dict[str, float | None]:
    """Return, for each label, the lowest probability from which this share of its predictions is right.

    `weights` says how much each held-out text counts, float [n]. None if there is no such probability, or less than
    `_LEAST_PREDICTIONS` predictions reach it.
    """
    weights = np.ones(len(held_out.labels)) if weights is None else weights.astype(np.float64)
    found: dict[str, float | None] = {}
    for number, label in enumerate(held_out.label_names):
        own = held_out.predicted == number
        scores, right, share = held_out.confidence[own], held_out.right[own], weights[own]
        order = np.argsort(-scores, kind="stable")
        scores, right, share = scores[order], right[order], share[order]
        is_last = np.append(scores[1:] != scores[:-1], True)[: len(scores)]  # of those with the same probability
        precise = np.cumsum(right * share) >= precision * np.cumsum(share)
        are_enough = np.arange(1, len(order) + 1) >= _LEAST_PREDICTIONS
        places = np.flatnonzero(precise & is_last & are_enough)
        found[label] = float(scores[places[-1]]) if len(places) else None
    return found


def confident(evaluation: Evaluation, rule: DecisionRule) -> npt.NDArray[np.bool_]:
    """Return whether the model is confident of each prediction: bool [n]."""
    least = np.array(rule.limits(evaluation.label_names))
    return np.asarray(evaluation.confidence >= least[evaluation.predicted])


def confident_values(evaluation: Evaluation, rule: DecisionRule) -> dict[str, float]:
    """Return the share of confident predictions and their accuracy by name, as far as they are defined."""
    if not rule.confident_from:
        return {}
    sure = confident(evaluation, rule)
    values = {"confident_share": float(np.mean(sure))}
    if sure.any():
        values["confident_accuracy"] = float(np.mean(evaluation.right[sure]))
    return values


def confidence_line(evaluation: Evaluation, rule: DecisionRule) -> str:
    """Describe the confident predictions on a line of a terminal."""
    sure = confident(evaluation, rule)
    parts = [
        f"{counted(int(part.sum()), 'text')}{f', accuracy {np.mean(evaluation.right[part]):.4f}' if part.any() else ''}"
        for part in (sure, ~sure)
    ]
    return f"confident: {parts[0]}; not confident: {parts[1]}"
