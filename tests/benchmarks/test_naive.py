"""The naive application is what the service is compared with, so it has to be right."""

import pytest

from benchmarks.naive import ARTIFACT, Naive
from sentiment_conv1d.model.artifact import read_artifact
from sentiment_conv1d.service.inference.classifier import Classifier

TEXTS = ["What a wonderful film.", "dull " * 500, "", "It was good and it was bad."]


def test_the_naive_application_is_right() -> None:
    """It has the probabilities of the service, from a graph with a real convolution."""
    naive, classifier = Naive(), Classifier(read_artifact(ARTIFACT))
    for text, prediction in zip(TEXTS, classifier.predict(TEXTS), strict=True):
        assert naive.predict(text) == pytest.approx(float(prediction.probabilities[1]), abs=1e-5)
