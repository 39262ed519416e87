"""Temperature scaling and decision thresholds, chosen on held-out texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from sentiment_conv1d.artifact.decision import Calibration
from sentiment_conv1d.model.evaluation.evaluation import Evaluation, Floats, label_probabilities

#: The limits of the search for a temperature. A few texts are no evidence for a more extreme one.
_TEMPERATURES = 0.2, 5.0

_SMALLEST_PROBABILITY = 1e-7

#: The parts of cross-fitting. The temperature of each is fitted on the others.
_PARTS = 5

#: A temperature helps if it lowers the log loss by more than this number of standard errors.
_STANDARD_ERRORS = 2


def best_temperature(outputs: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature by which to divide logits so that the probabilities fit the labels best.

    `outputs` are [n, 1] of a sigmoid or [n, labels] of a softmax, `labels` [n]. The temperature minimizes the log loss,
    as in Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017). As in Platt, "Probabilistic Outputs for
    Support Vector Machines" (1999), the target of the true label is slightly below 1, because a few texts that are all
    classified correctly do not prove certainty.
    """
    logits = _logits(outputs)
    targets = _targets(labels, logits.shape[1])

    def loss(temperature: float) -> float:
        return float(-np.mean(np.sum(targets * log_softmax(logits / temperature, axis=1), axis=1)))

    return float(minimize_scalar(loss, bounds=_TEMPERATURES, method="bounded", options={"xatol": 1e-7}).x)


def calibration(held_out: Evaluation) -> Calibration:
    """Measure what a temperature changes on texts that it was not fitted on.

    A temperature that is fitted on a hundred texts can be far from that of other texts, and make probabilities worse.
    """
    after = replace(held_out, outputs=_cross_fitted(held_out.outputs, held_out.labels))
    gains = held_out.losses - after.losses
    error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.inf
    return Calibration(
        texts=len(gains),
        log_loss_before=held_out.log_loss,
        log_loss_after=after.log_loss,
        error_before=held_out.expected_calibration_error,
        error_after=after.expected_calibration_error,
        helps=bool(gains.mean() > _STANDARD_ERRORS * error),
    )


def _cross_fitted(outputs: Floats, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the outputs of each part of the texts at the temperature that fits the other parts best."""
    found = outputs.astype(np.float64)
    part = np.random.default_rng(0).permutation(len(labels)) % _PARTS
    for number in np.unique(part) if len(labels) > 1 else ():
        own = part == number
        found[own] = at_temperature(outputs[own], best_temperature(outputs[~own], labels[~own]))
    return found


def at_temperature(outputs: Floats, temperature: float) -> npt.NDArray[np.float64]:
    """Return the outputs of the same model with its logits divided by `temperature`, in the same shape."""
    probabilities = softmax(_logits(outputs) / temperature, axis=1)
    return np.asarray(probabilities[:, 1:] if outputs.shape[1] == 1 else probabilities)


def _logits(outputs: Floats) -> npt.NDArray[np.float64]:
    """Return the log-probability of each label: [n, labels]."""
    return np.asarray(np.log(np.clip(label_probabilities(outputs), _SMALLEST_PROBABILITY, 1)))


def best_threshold(outputs: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Return the threshold for the probability of the second label that has the highest macro F1.

    `outputs` are [n, 1] of a sigmoid. If several thresholds are equally good, the one closest to 0.5 is returned. It is
    0.5 or lies between two outputs.
    """
    values = np.unique(outputs[:, 0].astype(np.float64))
    candidates = np.append((values[1:] + values[:-1]) / 2, 0.5)
    scores = np.array([_macro_f1(outputs[:, 0] >= threshold, labels == 1) for threshold in candidates])
    best = candidates[scores >= scores.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])


def _targets(labels: npt.NDArray[np.int64], number: int) -> npt.NDArray[np.float64]:
    """Return the target probability of each label for each text: float64 [n, labels], rows sum to 1."""
    counts = np.bincount(labels, minlength=number)
    of_truth = ((counts + 1) / (counts + 2))[labels]
    targets = np.repeat(((1 - of_truth) / (number - 1))[:, None], number, axis=1)
    np.put_along_axis(targets, labels[:, None], of_truth[:, None], axis=1)
    return targets


def _macro_f1(answered: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    scores = []
    for said, true in ((answered, truth), (~answered, ~truth)):
        scores.append(2 * int(np.sum(said & true)) / max(int(np.sum(said) + np.sum(true)), 1))
    return float(np.mean(scores))
