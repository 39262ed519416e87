"""Infer requests without a transport: inputs, outputs and errors."""

import asyncio
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.server.errors import DeadlineExceeded, Malformed, TooLarge
from sentiment_conv1d.service.errors import Invalid, NotFound
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.protocols.oip.inference import InferenceRequest, Input, Output, RequestedOutput, infer
from sentiment_conv1d.service.protocols.oip.tensors import pack_bytes
from sentiment_conv1d.service.scheduling.dataplane import DataPlane
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.telemetry.metrics import Metrics
from sentiment_conv1d.service.telemetry.request_context import RequestContext
from tests.service.scheduling.test_dataplane import BATCHING, LIMITS

Ask = Callable[..., list[Output]]

TEXTS = ("A gripping, beautifully acted film.", "Dull and far too long.", "")


@pytest.fixture(scope="module")
def ask(classifier: ServedClassifier) -> Iterator[Ask]:
    """Answer inputs with the shipped model, for the requested outputs."""
    models = LoadedModels("imdb-cnn")
    models.put(classifier)
    dataplane = DataPlane(LIMITS, BATCHING, Metrics({}), models)

    def answer(
        *inputs: Input,
        outputs: Sequence[RequestedOutput] = (),
        model: str = "imdb-cnn",
        timeout: float | None = None,
    ) -> list[Output]:
        def check(manifest: Manifest, tensors: list[Output]) -> list[Output]:
            assert manifest is classifier.manifest
            return tensors

        asked = InferenceRequest(model, "", inputs, outputs, timeout)
        return asyncio.run(dataplane.run(infer(dataplane, models, RequestContext("id"), asked, check)))

    yield answer
    dataplane.close()


def text(data: Any = ("x",), shape: Sequence[int] | None = None, datatype: str = "BYTES") -> Input:
    """Build the input `text` with JSON data."""
    return Input("text", datatype, [len(data), 1] if shape is None else shape, data=list(data))


def tokens(data: Any = ((1, 2, 3),), shape: Sequence[int] | None = None, datatype: str = "INT32") -> Input:
    """Build the input `tokens` with JSON data."""
    shape = [len(data), len(data[0])] if shape is None else shape
    return Input("tokens", datatype, shape, data=[list(row) for row in data])


def names(outputs: Sequence[Output]) -> list[str]:
    """Return the names of the outputs in their order."""
    return [output.name for output in outputs]


def test_all_outputs(ask: Ask, classifier: ServedClassifier) -> None:
    """Without requested outputs, the answer has all: the label, its probability, and every label's probability."""
    label, score, probabilities = ask(text(TEXTS))
    expected = classifier.predict(TEXTS)
    assert (label.name, label.datatype, label.shape) == ("label", "BYTES", [3, 1])
    assert label.data == [each.label.encode() for each in expected]
    assert (score.name, score.datatype, score.shape) == ("score", "FP32", [3, 1])
    assert np.array_equal(score.data, [each.score for each in expected])
    assert (probabilities.name, probabilities.datatype, probabilities.shape) == ("probabilities", "FP32", [3, 2])
    assert np.array_equal(probabilities.data, [each.probabilities for each in expected])


def test_flat_shape(ask: Ask) -> None:
    """Texts of shape [batch] get a label and a score of that shape."""
    assert [output.shape for output in ask(text(TEXTS, [3]))] == [[3], [3], [3, 2]]


def test_binary_is_the_same(ask: Ask) -> None:
    """JSON data and binary data get the same answer, nested or flat, as characters or bytes."""
    raw = pack_bytes([each.encode() for each in TEXTS])
    expected = [str(output) for output in ask(text(TEXTS))]
    for same in (
        Input("text", "BYTES", [3, 1], raw=raw),
        text([[each] for each in TEXTS]),
        text([each.encode() for each in TEXTS]),
    ):
        assert [str(output) for output in ask(same)] == expected


def test_tokens(ask: Ask, classifier: ServedClassifier) -> None:
    """A caller's ids get the answer of their text, as JSON data or in binary form."""
    [encoding] = classifier.encode(TEXTS[:1])
    ids = encoding.ids.tolist()
    expected = [str(output) for output in ask(text(TEXTS[:1]))]
    assert [str(output) for output in ask(tokens([ids]))] == expected
    raw = struct.pack(f"<{len(ids)}i", *ids)
    assert [str(output) for output in ask(Input("tokens", "INT32", [1, len(ids)], raw=raw))] == expected


@pytest.mark.parametrize(
    "wished", [["score"], ["probabilities", "label"], ["label", "probabilities", "score"], ["score", "label"]]
)
def test_order_of_outputs(ask: Ask, wished: list[str]) -> None:
    """The answer has exactly the requested outputs, in the requested order."""
    assert names(ask(text(), outputs=[RequestedOutput(name) for name in wished])) == wished


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ([RequestedOutput("logits")], "no output 'logits'; there are: label, score, probabilities"),
        ([RequestedOutput("")], "no output ''"),
        ([RequestedOutput("Label")], "no output 'Label'"),
        ([RequestedOutput("label"), RequestedOutput("score"), RequestedOutput("label")], "'label' is requested twice"),
        ([RequestedOutput("label", classification=1)], "only 'probabilities' supports classification"),
        ([RequestedOutput("score", classification=2)], "only 'probabilities' supports classification"),
    ],
)
def test_invalid_outputs(ask: Ask, outputs: list[RequestedOutput], reason: str) -> None:
    """A requested output that does not exist is refused."""
    with pytest.raises(Invalid, match=reason):
        ask(text(), outputs=outputs)


@pytest.mark.parametrize(("wished", "given"), [(1, 1), (2, 2), (3, 2), (2**63, 2)])
def test_classification(ask: Ask, classifier: ServedClassifier, wished: int, given: int) -> None:
    """Classes are `value:index:label`, the most probable first, and at most as many as there are labels."""
    [output] = ask(text(TEXTS), outputs=[RequestedOutput("probabilities", classification=wished)])
    assert (output.name, output.datatype, output.shape) == ("probabilities", "BYTES", [3, given])
    elements = iter(output.data)
    for prediction in classifier.predict(TEXTS):
        values = []
        for place in range(given):
            value, index, label = next(elements).decode().split(":")
            assert label == classifier.labels[int(index)]
            assert float(value) == pytest.approx(prediction.probabilities[int(index)], abs=1e-6)
            assert (label == prediction.label) == (place == 0)
            values.append(float(value))
        assert values == sorted(values, reverse=True)


def test_both_inputs(ask: Ask) -> None:
    """If a request has both inputs, the text is answered, for any order and any ids."""
    expected = [str(output) for output in ask(text(TEXTS))]
    noise = tokens([[2**31 - 1, -(2**31), 5000, -1]] * 3)
    assert [str(output) for output in ask(text(TEXTS), noise)] == expected
    assert [str(output) for output in ask(noise, text(TEXTS))] == expected
    assert [output.shape for output in ask(text(TEXTS, [3]), noise)] == [[3], [3], [3, 2]]


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([], "one of the inputs text and tokens is needed"),
        ([text(), text()], "'text' is given twice"),
        ([tokens(), text(), tokens()], "'tokens' is given twice"),
        ([text(), Input("other", "BYTES", [1, 1], data=["x"])], "no input 'other'; there are: text, tokens"),
        ([Input("TEXT", "BYTES", [1, 1], data=["x"])], "no input 'TEXT'"),
        ([text(["a", "b"]), tokens()], "different numbers of rows"),
        ([text(), tokens([[1], [1]])], "different numbers of rows"),
        ([text(), tokens(shape=[3])], "'tokens' has shape"),
        ([text(), tokens(datatype="FP32")], "'tokens' has datatype INT32, not FP32"),
        ([text(), tokens(shape=[1, 4])], "3 elements in its data, 4 in its shape"),
        ([text(), tokens(shape=[2**62, 0])], "a dimension is not from 1"),
        ([text(shape=[]), tokens()], "different numbers of rows"),
    ],
)
def test_invalid_inputs(ask: Ask, inputs: list[Input], reason: str) -> None:
    """Inputs that are unknown, duplicate, missing or inconsistent are refused."""
    with pytest.raises(Invalid, match=reason):
        ask(*inputs)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (text(datatype="INT32"), "has datatype BYTES, not INT32"),
        (text(datatype="bytes"), "has datatype BYTES, not bytes"),
        (text(datatype=""), "has datatype BYTES, not "),
        (text(shape=[]), r"has shape \[batch, 1\] or \[batch\], not \[\]"),
        (text(shape=[1, 1, 1]), "has shape"),
        (text(["a", "b"], [1, 2]), "has shape"),
        (text(shape=[-1, 1]), "a dimension is not from 1"),
        (text(shape=[2**62]), "1 element in its data, 4,611,686,018,427,387,904 in its shape"),
        (text(shape=[2]), "1 element in its data, 2 in its shape"),
        (text([None]), "element 0 is not a string"),
        (text(["a", 1]), "element 1 is not a string"),
        (Input("text", "BYTES", [1]), "data must be a list"),
        (tokens(datatype="INT64"), "has datatype INT32, not INT64"),
        (tokens(shape=[3]), r"has shape \[batch, sequence length\], not \[3\]"),
        (tokens(shape=[1, 3, 1]), "has shape"),
        (tokens(shape=[-1, -3]), "a dimension is not from 1"),
        (tokens(shape=[2**62, 4]), "3 elements in its data"),
        (tokens([[True]]), "element 0 is not an INT32"),
        (tokens([[1.0]]), "element 0 is not an INT32"),
        (tokens([["1"]]), "element 0 is not an INT32"),
        (tokens([[1, None]]), "element 1 is not an INT32"),
        (tokens([[2**31]]), "element 0 is not an INT32"),
        (tokens([[-(2**31) - 1]]), "element 0 is not an INT32"),
        (tokens([[5000]]), "ids must be between 0 and 4999"),
        (tokens([[1, -1]]), "ids must be between 0 and 4999"),
        (tokens([[0] * 401]), "401 ids per text; the model reads 1 to 400"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid_tensors(ask: Ask, given: Input, reason: str) -> None:
    """A tensor with an invalid datatype, shape, elements or ids is refused with the reason."""
    with pytest.raises(Invalid, match=reason):
        ask(given)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (Input("text", "BYTES", [1], raw=b""), "0 elements in the binary data, 1 in its shape"),
        (Input("text", "BYTES", [1], raw=b"\x01\0\0\0\xff"), "element 0 is not UTF-8"),
        (
            Input("tokens", "INT32", [2**62, 4], raw=b""),
            "0 bytes of data, 73,786,976,294,838,206,464 by its shape",
        ),
    ],
)
def test_invalid_binary_data(ask: Ask, given: Input, reason: str) -> None:
    """Binary data that does not fit its shape is refused as malformed."""
    with pytest.raises(Malformed, match=reason):
        ask(given)


def test_most_ids(ask: Ask) -> None:
    """The first and the last id are accepted, and as many ids as the model reads."""
    assert names(ask(tokens([[0, 4999] * 200]))) == ["label", "score", "probabilities"]


def test_too_many_rows(ask: Ask) -> None:
    """More rows than the limit are refused, as texts and as ids."""
    with pytest.raises(TooLarge, match="1025 texts"):
        ask(text(["x"] * 1025))
    with pytest.raises(TooLarge, match="100000 texts"):
        ask(Input("tokens", "INT32", [100_000, 1], raw=bytes(400_000)))


def test_many_texts_are_not_read(ask: Ask) -> None:
    """A large tensor with more texts than the limit is refused before its texts are read."""
    with pytest.raises(TooLarge, match="5000 texts"):
        ask(Input("text", "BYTES", [5000], raw=b"\xff" * 20_000))


def test_many_rows(ask: Ask) -> None:
    """Rows up to the limit are answered in their order, as texts and as ids."""
    words = ["awful", "great"]
    rows = [words[number % 2] for number in range(1024)]
    [label] = ask(text(rows), outputs=[RequestedOutput("label")])
    singly = [ask(text([word]), outputs=[RequestedOutput("label")])[0].data for word in words]
    assert list(label.data) == [element for one, other in [singly] * 512 for element in (*one, *other)]
    ids = np.arange(1024 * 3, dtype="<i4").reshape(1024, 3) % 5000
    [score] = ask(Input("tokens", "INT32", [1024, 3], raw=ids.tobytes()), outputs=[RequestedOutput("score")])
    [last] = ask(tokens([ids[-1].tolist()]), outputs=[RequestedOutput("score")])
    assert isinstance(score.data, np.ndarray) and isinstance(last.data, np.ndarray)
    assert score.data[-1] == pytest.approx(last.data[0], abs=1e-6)


def test_time_limit(ask: Ask) -> None:
    """The time limit of a request holds for texts and for ids."""
    for given in (text(["word " * 400] * 1024), Input("tokens", "INT32", [1024, 400], raw=bytes(4 * 1024 * 400))):
        with pytest.raises(DeadlineExceeded, match="no answer within 1e-09 s"):
            ask(given, timeout=1e-9)


def test_unknown_model(ask: Ask) -> None:
    """A model that does not exist is NotFound, whatever else is invalid."""
    with pytest.raises(NotFound):
        ask(model="other")
