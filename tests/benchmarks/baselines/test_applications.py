"""The applications that the service is compared with give correct answers."""

import pytest

from benchmarks.baselines.applications import make_competent
from benchmarks.baselines.naive import ARTIFACT, Naive
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.model.artifact import read_artifact

TEXTS = ["What a wonderful film.", "dull " * 500, "", "It was good and it was bad.", "fine " * 398, "fine " * 399]


def test_naive_application() -> None:
    """The naive application, whose graph has a real convolution, returns the probabilities of the service."""
    naive, classifier = Naive(), Classifier(read_artifact(ARTIFACT))
    for text, prediction in zip(TEXTS, classifier.predict(TEXTS), strict=True):
        assert naive.predict(text) == pytest.approx(float(prediction.probabilities[1]), abs=1e-5)


def test_competent_application() -> None:
    """The competent application returns the probabilities of the service, one by one and in a batch."""
    competent, classifier = make_competent(), Classifier(read_artifact(ARTIFACT))
    expected = [float(prediction.probabilities[1]) for prediction in classifier.predict(TEXTS)]
    assert competent.predict(TEXTS) == pytest.approx(expected, abs=1e-5)
    assert [competent.predict([text])[0] for text in TEXTS] == pytest.approx(expected, abs=1e-5)
