"""The classifiers of the service."""

from __future__ import annotations

from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.service.telemetry.metrics import Metrics
from sentiment_conv1d.service.telemetry.statistics import Statistics


class ServedClassifier(Classifier):
    """A classifier that the service answers with, and the counts of its requests.

    It shares the session, the tokenizer and the arrays of `classifier`. Until `Metrics` counts them for all workers,
    requests are counted in this process only.
    """

    def __init__(self, classifier: Classifier) -> None:
        vars(self).update(vars(classifier))
        self.statistics = Statistics(self.labels)

    def count(self, metrics: Metrics) -> None:
        """Count requests for all workers from now on. The version must have been added to the metrics."""
        self.statistics = metrics.statistics((self.manifest.name, self.manifest.version))
