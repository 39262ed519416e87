"""The applications that the service is compared with give correct answers."""

import pytest
from fastapi.testclient import TestClient

from benchmarks import ARTIFACT, answers
from benchmarks.baselines.applications import fastapi
from benchmarks.baselines.competent import Competent

TEXTS = ["What a wonderful film.", "dull " * 500, "", "It was good and it was bad.", "fine " * 396, "fine " * 397]


def test_competent_classifier() -> None:
    """The classifier returns the probabilities of the service, one by one and in a batch."""
    competent, expected = Competent(ARTIFACT), list(answers.expected(TEXTS).values())
    assert competent.predict(TEXTS) == pytest.approx(expected, abs=1e-5)
    assert [competent.predict([text])[0] for text in TEXTS] == pytest.approx(expected, abs=1e-5)


def test_application_in_fastapi() -> None:
    """The application answers with the label and the probability of the service."""
    client = TestClient(fastapi())
    for text, right in answers.expected(TEXTS).items():
        answer = client.post("/v1/predict", json={"text": text}).json()
        assert answers.scored(answer) == pytest.approx(right, abs=1e-5)
