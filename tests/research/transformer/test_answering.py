"""The answers of the trained model to many texts."""

import keras
import numpy as np
import pytest

from research.transformer.answering import answer, some_sentences
from research.transformer.network import Classifier
from research.transformer.weights import Tensors, assign
from tests.research.transformer.conftest import SIZE


def test_answers(tensors: Tensors) -> None:
    """Every row gets its own answer, whatever else is in its batch."""
    keras.utils.set_random_seed(0)
    model = Classifier(SIZE)
    assign(model, tensors)
    random = np.random.default_rng(0)
    rows = [random.integers(4, 30, length).tolist() for length in random.integers(2, 16, 1000)]
    answers = answer(model, rows)
    for index in (0, 17, 500, 999):
        assert answers[index] == pytest.approx(float(model(np.array([rows[index]]))[0, 0]), abs=1e-5)


def test_sentences() -> None:
    """At most two sentences of a text are answered, and equal ones once."""
    texts = [
        "One is good here. Two is bad here. Three is fine here.",
        "No other sentence in this.",
        "A b c d. A b c d.",
    ]
    found = some_sentences(texts, np.random.default_rng(0))
    assert len(found) == 3 and found.count("A b c d.") == 1
    assert all(sentence in " ".join(texts) for sentence in found)
