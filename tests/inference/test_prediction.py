"""A prediction is computed from the ids of a text and the output of the model."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.tokenizer import Encoding
from sentiment_conv1d.inference.prediction import Decider, Prediction, PredictionColumns
from sentiment_conv1d.protos import sentiment_pb2
from sentiment_conv1d.service.protocols.native.rest.predictions import PredictionBody


def prediction(*output: float, tokens: int = 3, labels: tuple[str, ...] = ("negative", "positive")) -> Prediction:
    """Return the prediction for a text. The model reads three ids."""
    encoding = Encoding(np.array([1, 2, 3], np.int32), tokens, 1)
    return Prediction.of(Decider(labels, [0.0] * len(labels)), encoding, np.array(output, np.float32))


def test_sigmoid() -> None:
    """One output is the probability of the second label."""
    assert [*prediction(0.75)] == ["positive", 0.75, (0.25, 0.75), 3, 1, False, True, None]
    assert [*prediction(0.25)] == ["negative", 0.75, (0.75, 0.25), 3, 1, False, True, None]


def test_threshold() -> None:
    """A model with a threshold predicts its second label from this probability on."""
    encoding = Encoding(np.array([1], np.int32), 1, 0)
    for threshold, label, score in ((0.75, "positive", 0.75), (0.8, "negative", 0.25)):
        decider = Decider(("negative", "positive"), (0, 0), threshold)
        found = Prediction.of(decider, encoding, np.array([0.75], np.float32))
        assert found.label == label
        assert found.score == score


def test_softmax() -> None:
    """Several outputs are the probabilities of the labels."""
    answer = prediction(0.25, 0.5, 0.25, labels=("a", "b", "c"))
    assert [*answer] == ["b", 0.5, (0.25, 0.5, 0.25), 3, 1, False, True, None]


def test_truncated() -> None:
    """A prediction says whether the model read only part of the text."""
    assert prediction(0.75, tokens=4).truncated


def test_schemas() -> None:
    """Answers of native REST and gRPC have every field of a prediction."""
    fields = set(Prediction._fields)
    assert fields <= set(PredictionBody.model_fields)
    assert fields <= set(sentiment_pb2.Prediction.DESCRIPTOR.fields_by_name)


SEVERAL = Decider(("a", "b", "c"), [None] * 3, thresholds=(0.5, 0.25, 0.1))


@pytest.mark.parametrize(
    ("output", "label", "labels"),
    [
        ((0.5, 0.75, 0.125), "b", ("a", "b", "c")),
        ((0.25, 0.25, 0), "a", ("b",)),
        ((0.25, 0.125, 0.0625), "a", ()),
        ((0, 0, 0.1), "c", ("c",)),  # float32 rounds 0.1 up
        ((0, 0, 0.09999999), "c", ()),
    ],
)
def test_several_labels(output: tuple[float, ...], label: str, labels: tuple[str, ...]) -> None:
    """A text has the labels at or above their thresholds, and its one label is the most probable."""
    encoding, outputs = Encoding(np.array([1], np.int32), 1, 0), np.array([output], np.float32)
    found = Prediction.of(SEVERAL, encoding, outputs[0])
    assert (found.label, found.labels, found.confident) == (label, labels, None)
    assert found.document(SEVERAL.labels)["labels"] == labels
    assert [*found.predicted(SEVERAL.labels)] == [
        (each, probability) for each, probability in zip("abc", found.probabilities, strict=True) if each in labels
    ]
    assert PredictionColumns.of(SEVERAL, [encoding], outputs).labels == [[*labels]]


def test_one_label() -> None:
    """The answer of a model with one label for a text has no list of labels."""
    answer = prediction(0.75)
    assert "labels" not in answer.document(("negative", "positive"))
    assert answer.predicted(("negative", "positive")) == (("positive", np.float32(0.75)),)


@given(st.lists(st.floats(-80, 15), min_size=3, max_size=3))
def test_logits_of_several_labels(logits: list[float]) -> None:
    """Each label has the logit whose sigmoid is its probability, also for tiny probabilities."""
    output = np.array([1 / (1 + math.exp(-logit)) for logit in logits], np.float32)
    found = Prediction.of(SEVERAL, Encoding(np.array([1], np.int32), 1, 0), output).logits("sigmoid")
    for logit, value in zip(logits, found, strict=True):
        assert value == pytest.approx(logit, abs=2**-24 * math.exp(abs(max(logit, 0))) + 1e-5)


@given(st.floats(-15, 15))
def test_sigmoid_logits(logit: float) -> None:
    """The logits of a sigmoid are opposite, and the sigmoid of each is its label's probability."""
    answer = prediction(1 / (1 + math.exp(-logit)))
    negative, positive = answer.logits("sigmoid")
    assert negative == -positive
    assert positive == pytest.approx(logit, abs=2**-24 * math.exp(abs(logit)) + 1e-6)
    for value, probability in zip((negative, positive), answer.probabilities, strict=True):
        assert 1 / (1 + math.exp(-value)) == pytest.approx(probability, abs=1e-6)


@given(st.lists(st.floats(-80, 80), min_size=2, max_size=5))
def test_softmax_logits(values: list[float]) -> None:
    """The softmax of a model's logits are its probabilities."""
    weights = np.exp(np.array(values) - max(values))
    answer = prediction(*weights / weights.sum(), labels=tuple("abcde"[: len(values)]))
    again = np.exp(np.array(answer.logits("softmax"), np.float64))
    assert again / again.sum() == pytest.approx(np.array(answer.probabilities), abs=1e-6)


@pytest.mark.parametrize("probability", [0, 1])
def test_logits_are_finite(probability: float) -> None:
    """A probability of 0 or 1 has finite logits."""
    assert abs(prediction(probability).logits("sigmoid")[1]) == pytest.approx(25 * math.log(2))
    assert all(map(math.isfinite, prediction(1 - probability, probability).logits("softmax")))


def test_decided() -> None:
    """Another threshold changes the label and its score, and nothing else."""
    answer, decider = prediction(0.75), Decider(("negative", "positive"), (0, 0))
    assert answer.decided(decider, 0.75) == answer
    other = answer.decided(decider, 0.8)
    assert other.label == "negative"
    assert other.score == 0.25
    assert other[2:] == answer[2:]


@pytest.mark.parametrize(
    ("output", "limits", "expected"),
    [
        (0.75, {}, None),
        (0.25, {"positive": 0.75}, None),
        (0.75, {"negative": None, "positive": 0.75}, True),
        (0.75, {"negative": None, "positive": 0.76}, False),
        (0.25, {"negative": None, "positive": 0.75}, False),
        (0.25, {"negative": 0.6, "positive": None}, True),
    ],
)
def test_confident(output: float, limits: dict[str, float | None], expected: bool | None) -> None:
    """The model is confident if the score reaches the limit of the label. A limit of null stands for never.

    Nothing is said about a label without a limit.
    """
    labels = ("negative", "positive")
    decider = Decider(labels, DecisionRule(confident_from=limits).limits(labels))
    encoding = Encoding(np.array([1, 2, 3], np.int32), 3, 1)
    assert Prediction.of(decider, encoding, np.array([output], np.float32)).confident is expected


@pytest.mark.parametrize(("start_ids", "tokens", "unknown"), [(1, 1, 0), (1, 6, 3), (0, 0, 0), (0, 5, 3)])
def test_known_words(start_ids: int, tokens: int, unknown: int) -> None:
    """If no word is known, or one too few for half of them, the model is never confident, and with one more it is."""
    decider = Decider(("negative", "positive"), (0, 0), start_ids=start_ids)
    ids, output = np.ones(max(tokens, 1), np.int32), np.array([0.99], np.float32)
    assert Prediction.of(decider, Encoding(ids, tokens, unknown), output).confident is False
    assert Prediction.of(decider, Encoding(ids, tokens + 1, unknown), output).confident is True
    unlimited = Decider(("negative", "positive"), (None, None), start_ids=start_ids)
    assert Prediction.of(unlimited, Encoding(ids, tokens, unknown), output).confident is None


@pytest.mark.parametrize(("tokens", "score", "expected"), [(1, 0.99, False), (2, 0.99, True), (2, 0.6, False)])
def test_words_that_are_not_counted(tokens: int, score: float, expected: bool) -> None:
    """If unknown words are not counted, the score decides about a text with a token."""
    decider = Decider(("negative", "positive"), (0.9, 0.9))
    answer = Prediction.of(decider, Encoding(np.ones(tokens, np.int32), tokens, None), np.array([score], np.float32))
    assert (answer.confident, answer.unknown_tokens) == (expected, None)


def test_confident_at_another_threshold() -> None:
    """A threshold of the request changes the label, and the limit of the new label decides."""
    decider = Decider(("negative", "positive"), (0.2, 0.9))
    answer = Prediction.of(decider, Encoding(np.array([1, 5], np.int32), 2, 0), np.array([0.75], np.float32))
    assert not answer.confident
    assert answer.decided(decider, 0.8).confident


@given(
    outputs=st.integers(1, 4).flatmap(
        lambda width: arrays(
            np.float32, st.tuples(st.integers(1, 9), st.just(width)), elements=st.floats(0, 1, width=32)
        )
    ),
    threshold=st.floats(0.01, 0.99),
    limits=st.lists(st.none() | st.floats(0, 1) | st.just(math.inf), min_size=4, max_size=4),
)
def test_columns(outputs: npt.NDArray[np.float32], threshold: float, limits: list[float | None]) -> None:
    """The columns of several predictions are the fields of each."""
    labels = tuple("abcd"[: max(outputs.shape[1], 2)])
    decider = Decider(labels, limits[: len(labels)], threshold)
    encodings = [Encoding(np.arange(number + 1, dtype=np.int32), 2 * number, number) for number in range(len(outputs))]
    columns = PredictionColumns.of(decider, encodings, outputs)
    assert columns._fields == Prediction._fields
    expected = [Prediction.of(decider, encoding, output) for encoding, output in zip(encodings, outputs, strict=True)]
    rows = zip(*columns[:2], zip(*columns.probabilities, strict=True), *columns[3:], strict=True)
    assert [Prediction(*row) for row in rows] == expected
