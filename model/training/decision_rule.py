"""The decision rule of a trained network, chosen on held-out texts."""

from __future__ import annotations

from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.artifact.decision import THRESHOLD, DecisionRule
from sentiment_conv1d.model.data import Use
from sentiment_conv1d.model.evaluation.calibration import at_temperature, best_temperature, best_threshold, calibration
from sentiment_conv1d.model.evaluation.confidence import Weights, with_limits
from sentiment_conv1d.model.evaluation.evaluation import Evaluation, Floats
from sentiment_conv1d.model.evaluation.multilabel import best_thresholds


def choose_rule(
    configuration: BaseConfiguration, use: Use, held_out: Floats | None, weights: Weights | None = None
) -> DecisionRule:
    """Choose temperature, threshold and limits of confidence, or a threshold for each of several labels of a text.

    `held_out` are the outputs of the network for the texts that decide, [texts, outputs], if there are any. The network
    does not contain the temperature yet. `weights` says how much each of these texts counts for the limits.
    """
    if configuration.multilabel:
        return _choose_thresholds(use, held_out)
    threshold, temperature, found = configuration.threshold, 1.0, None
    if use.decided is None or held_out is None:
        assert threshold != "f1"
        return DecisionRule(threshold=threshold)
    labels, names = use.decided.labels, use.plan.label_names
    if configuration.calibration != "none":
        found = calibration(Evaluation(names, labels, held_out))
        temperature = best_temperature(held_out, labels) if found.helps else temperature
    outputs = at_temperature(held_out, temperature)
    if threshold == "f1":
        threshold = best_threshold(outputs, labels)
    rule = DecisionRule(threshold=threshold, temperature=temperature, chosen_on=use.decided_source, calibration=found)
    evaluation = Evaluation(names, labels, outputs, threshold)
    return with_limits(rule, evaluation, configuration.min_precision, weights)


def _choose_thresholds(use: Use, held_out: Floats | None) -> DecisionRule:
    """Choose the threshold of each label; 0.5 without held-out texts."""
    if use.decided is None or held_out is None:
        return DecisionRule(thresholds=dict.fromkeys(use.plan.label_names, THRESHOLD))
    thresholds = best_thresholds(use.plan.label_names, use.decided.labels, held_out)
    return DecisionRule(thresholds=thresholds, chosen_on=use.decided_source)
