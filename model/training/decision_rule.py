"""The decision rule of a trained network, chosen on held-out texts."""

from __future__ import annotations

from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.model.data import Plan
from sentiment_conv1d.model.evaluation.calibration import at_temperature, best_temperature, best_threshold, calibration
from sentiment_conv1d.model.evaluation.confidence import Weights, confident_from
from sentiment_conv1d.model.evaluation.evaluation import Evaluation, Floats


def choose_rule(
    configuration: BaseConfiguration, work: Plan, held_out: Floats | None, weights: Weights | None = None
) -> DecisionRule:
    """Choose temperature, threshold and limits of confidence.

    `held_out` are the outputs of the network for the held-out texts of `work`, [texts, outputs], if there are any. The
    network does not contain the temperature yet. `weights` says how much each of these texts counts for the limits.
    """
    threshold, temperature, found = configuration.threshold, 1.0, None
    calibrates = configuration.calibration != "none"
    chooses = calibrates or threshold == "f1" or configuration.min_precision is not None
    if work.validation is None or held_out is None or not chooses:
        assert threshold != "f1"
        return DecisionRule(threshold=threshold)
    labels = work.validation.labels
    if calibrates:
        found = calibration(Evaluation(work.label_names, labels, held_out))
        temperature = best_temperature(held_out, labels) if found.helps else temperature
    outputs = at_temperature(held_out, temperature)
    if threshold == "f1":
        threshold = best_threshold(outputs, labels)
    limits: dict[str, float | None] = {}
    if configuration.min_precision is not None:
        evaluation = Evaluation(work.label_names, labels, outputs, threshold)
        limits = confident_from(evaluation, configuration.min_precision, weights)
    return DecisionRule(
        threshold=threshold,
        temperature=temperature,
        chosen_on=work.validation_source,
        confident_from=limits,
        calibration=found,
    )
