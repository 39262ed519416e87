"""A prediction is computed from the ids of a text and the output of the model."""

import numpy as np

from sentiment_conv1d.model.tokenizer import Encoding
from sentiment_conv1d.service.grpc.protos import sentiment_pb2
from sentiment_conv1d.service.inference.prediction import Prediction
from sentiment_conv1d.service.rest.native import PredictionBody


def prediction(*output: float, tokens: int = 3, labels: tuple[str, ...] = ("negative", "positive")) -> Prediction:
    """Return the prediction for a text. The model reads three ids."""
    encoding = Encoding(np.array([1, 2, 3], np.int32), tokens, 1)
    return Prediction.of(labels, encoding, np.array(output, np.float32))


def test_sigmoid() -> None:
    """One output is the probability of the second label."""
    assert [*prediction(0.75)] == ["positive", 0.75, (0.25, 0.75), 3, 1, False]
    assert [*prediction(0.25)] == ["negative", 0.75, (0.75, 0.25), 3, 1, False]


def test_threshold() -> None:
    """A model with a threshold predicts its second label from this probability on."""
    encoding = Encoding(np.array([1], np.int32), 1, 0)
    for threshold, label, score in ((0.75, "positive", 0.75), (0.8, "negative", 0.25)):
        found = Prediction.of(("negative", "positive"), encoding, np.array([0.75], np.float32), threshold)
        assert found.label == label
        assert found.score == score


def test_softmax() -> None:
    """Several outputs are the probabilities of the labels."""
    answer = prediction(0.25, 0.5, 0.25, labels=("a", "b", "c"))
    assert [*answer] == ["b", 0.5, (0.25, 0.5, 0.25), 3, 1, False]


def test_truncated() -> None:
    """A prediction says whether the model read only part of the text."""
    assert prediction(0.75, tokens=4).truncated


def test_schemas() -> None:
    """Answers of native REST and gRPC have every field of a prediction."""
    fields = set(Prediction._fields)
    assert fields <= set(PredictionBody.model_fields)
    assert fields <= set(sentiment_pb2.Prediction.DESCRIPTOR.fields_by_name)
