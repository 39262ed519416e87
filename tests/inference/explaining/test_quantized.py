"""The shipped 8-bit model is as accurate as the float32 model and has exact explanations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.inference.classifier import Classifier
from tests.processes import PROJECT, SHIPPED_MODELS
from tests.service.reviews import reviews

IMDB = PROJECT.parent / "shared" / "imdb" / "test.parquet"

TEXTS = ["", "!?", "great", "qwertz asdf", "great " * 7, "Éblouissant film", "bad film " * 400]


@pytest.fixture(scope="module")
def quantized() -> Classifier:
    """Return the classifier of the shipped 8-bit model."""
    return Classifier(read_artifact(SHIPPED_MODELS["imdb-cnn-8bit"]))


def assert_explains(classifier: Classifier, text: str) -> None:
    """Assert that the logits give the prediction, and that bias, padding and shares add up to each logit.

    A sigmoid is a softmax over its logit and 0.
    """
    [encoding] = classifier.encode((text,))
    [prediction], _ = classifier.classify((encoding,))
    is_softmax = classifier.manifest.activation == "softmax"
    logits = [] if is_softmax else [0.0]
    for label in classifier.manifest.labels if is_softmax else ("positive",):
        explanation = classifier.explainer.explain(text, encoding, label)
        parts = [explanation.bias, explanation.padding, *(word.share for word in explanation.words)]
        assert sum(parts) == pytest.approx(explanation.logit, abs=1e-4, rel=0)
        logits.append(explanation.logit)
    odds = np.exp(np.array(logits) - max(logits))
    assert prediction.probabilities == pytest.approx(odds / odds.sum(), abs=1e-5)


def test_small_texts(classifier: Classifier, quantized: Classifier) -> None:
    """The answers of both forms are close for texts of any length, and the shares add up."""
    answers = zip(classifier.predict(TEXTS), quantized.predict(TEXTS), strict=True)
    for text, (float32, answer) in zip(TEXTS, answers, strict=True):
        assert answer.probabilities[1] == pytest.approx(float32.probabilities[1], abs=0.03)
        assert_explains(quantized, text)


@given(st.text(max_size=300))
def test_any_text(quantized: Classifier, text: str) -> None:
    """The shares of any text add up to the logit."""
    assert_explains(quantized, text)


@pytest.mark.parametrize("name", ["imdb-cnn-8bit", "reviews"])
def test_generated_reviews(name: str) -> None:
    """The shares of 1,000 reviews as long as IMDB's add up to the logits."""
    classifier = Classifier(read_artifact(SHIPPED_MODELS[name]))
    for review in reviews(1000, seed=5):
        assert_explains(classifier, review)


def test_shares_are_near_those_of_float32(classifier: Classifier, quantized: Classifier) -> None:
    """The shares of the words are similar in both forms."""
    text = "A dull, lifeless film with one wonderful scene."
    float32, answer = (
        each.explainer.explain(text, each.encode((text,))[0], "positive") for each in (classifier, quantized)
    )
    assert [word.share for word in answer.words] == pytest.approx([word.share for word in float32.words], abs=0.15)
    assert answer.bias == pytest.approx(float32.bias, abs=0.15)


def test_inspection(quantized: Classifier) -> None:
    """A filter reads one number of a word for each tap, and its curve is the sum of these numbers."""
    text = "Warm, funny and wise."
    explanation, shown = quantized.explainer.inspect(
        text, quantized.encode((text,))[0], "positive", (3, 17), feature_map=True
    )
    assert shown.embedding.shape == (400, 3)
    assert np.array_equal(shown.filter.kernel, np.eye(3))
    expected = [(shown.embedding[t : t + 3] * shown.filter.kernel).sum() for t in range(398)]
    assert shown.filter.curve == pytest.approx(expected, abs=1e-5)
    assert shown.filter.position == int(shown.filter.curve.argmax())
    [bank] = shown.banks
    assert bank.feature_map is not None and np.array_equal(bank.feature_map[:, 17], shown.filter.curve)
    assert shown.layers[-1].values[0] == pytest.approx(explanation.logit, abs=1e-5)


@pytest.mark.skipif(not IMDB.exists(), reason="the IMDB reviews are not there")
def test_imdb_reviews(classifier: Classifier, quantized: Classifier) -> None:
    """Accuracy falls by at most 0.1 points, no probability changes by more than 0.03, and shares add up."""
    table = parquet.read_table(IMDB, columns=["text", "label"])
    texts, labels = table["text"].to_pylist(), np.array(table["label"].to_pylist())
    float32, answers = (
        np.array([each.probabilities[1] for each in form.predict(texts)]) for form in (classifier, quantized)
    )
    assert np.abs(float32 - answers).max() <= 0.03
    assert np.mean((answers >= 0.5) == labels) >= np.mean((float32 >= 0.5) == labels) - 0.001
    for text in texts[:1000]:
        assert_explains(quantized, text)
