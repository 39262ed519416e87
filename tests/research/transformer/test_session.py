"""The exported graphs."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from research.transformer.network import Classifier
from research.transformer.pieces import WordPieces, pad
from research.transformer.session import MODEL, QUANTIZED, Session, export
from research.transformer.weights import Tensors, assign
from tests.research.transformer.conftest import SIZE

_TEXTS = ["a b c", "z", "", "a b c d e f g h i j k l m n o p q r s t"]


def test_the_graph_is_the_model(tensors: Tensors, tokenizer: bytes, tmp_path: Path) -> None:
    """A graph gives the probabilities of the Keras model, alone and in a batch; 8-bit weights change them little."""
    model = Classifier(SIZE, 3)
    assign(model, tensors)
    export(model, tokenizer, tmp_path)
    length = SIZE.positions
    logits = np.asarray(model(pad(WordPieces(tokenizer, length).encode(_TEXTS))))
    expected = softmax(logits, axis=1)

    session = Session(tmp_path / MODEL, length)
    assert session.predict(_TEXTS) == pytest.approx(expected, abs=1e-5)
    assert np.concatenate([session.predict([text]) for text in _TEXTS]) == pytest.approx(expected, abs=1e-5)
    assert Session(tmp_path / QUANTIZED, length).predict(_TEXTS) == pytest.approx(expected, abs=0.1)
