"""TensorFlow Serving over gRPC, called with TensorFlow's messages and TensorFlow Serving's published stubs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from tests.processes import ServerProcess, eventually
from tests.service.artifacts import publish_table
from tests.service.grpc.channels import connect, refused

TEXTS = ("A gripping, beautifully acted film.", "Dull, très long, and a waste of time.", "")
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def prediction_service(channel: grpc.Channel) -> PredictionServiceStub:
    """Return a stub for the server with the shipped model."""
    return PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def expected(server: ServerProcess) -> list[dict[str, Any]]:
    """Return the answers of the native route to `TEXTS`."""
    return [server.client.post("/v1/predict", json={"text": text}).json() for text in TEXTS]


def predict_request(tensor: Any = TEXTS, name: str = "text", **spec: Any) -> predict_pb2.PredictRequest:
    """Build a request with one input for the shipped model. `spec` are more fields of its `ModelSpec`."""
    request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(name="imdb-cnn", **spec))
    request.inputs[name].CopyFrom(tensor if isinstance(tensor, Message) else tf.make_tensor_proto(tensor))
    return request


def example(**features: list[bytes]) -> tf.train.Example:
    """Build an example with features of bytes."""
    lists = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=values)) for name, values in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=lists))


def classify_request(*examples: tf.train.Example, context: tf.train.Example | None = None) -> Any:
    """Build a request with examples, in a list with context if `context` is given."""
    request = classification_pb2.ClassificationRequest(model_spec=model_pb2.ModelSpec(name="imdb-cnn"))
    if context is None:
        request.input.example_list.examples.extend(examples)
    else:
        request.input.example_list_with_context.examples.extend(examples)
        request.input.example_list_with_context.context.CopyFrom(context)
    return request


@pytest.mark.parametrize("column", [False, True])
def test_predict(prediction_service: Any, expected: list[dict[str, Any]], column: bool) -> None:
    """A batch of shape [batch] or [batch, 1] gets the answers of the native route, by the name of the output."""
    response = prediction_service.Predict(predict_request([[text] for text in TEXTS] if column else TEXTS))
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("imdb-cnn", 1, "serving_default")
    outputs = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
    assert {name: values.shape for name, values in outputs.items()} == {
        "label": (3,),
        "score": (3,),
        "probabilities": (3, 2),
    }
    assert [label.decode() for label in outputs["label"]] == [each["label"] for each in expected]
    assert outputs["score"].tolist() == pytest.approx([each["score"] for each in expected], abs=1e-6)
    for row, each in zip(outputs["probabilities"].tolist(), expected, strict=True):
        assert row == pytest.approx(list(each["probabilities"].values()), abs=1e-6)


def test_predict_scalar(prediction_service: Any, expected: list[dict[str, Any]]) -> None:
    """A scalar is a batch of one text, and the default model answers a request that names no model."""
    request = predict_request(TEXTS[0])
    request.ClearField("model_spec")
    response = prediction_service.Predict(request)
    assert response.model_spec.name == "imdb-cnn"
    assert tf.make_ndarray(response.outputs["score"]).tolist() == pytest.approx([expected[0]["score"]], abs=1e-6)


def test_output_filter(prediction_service: Any) -> None:
    """The answer has only the outputs of the filter."""
    assert list(prediction_service.Predict(filtered("score")).outputs) == ["score"]


def test_version(prediction_service: Any) -> None:
    """A request can name a version by its number, and a version or label that is not served is NOT_FOUND."""
    request = predict_request()
    request.model_spec.version.value = 1
    assert prediction_service.Predict(request).model_spec.version.value == 1
    request.model_spec.version.value = 9
    assert refused(lambda: prediction_service.Predict(request)).code == grpc.StatusCode.NOT_FOUND
    refusal = refused(lambda: prediction_service.Predict(predict_request(version_label="stable")))
    assert refusal.code == grpc.StatusCode.NOT_FOUND and "version 'stable' of model 'imdb-cnn'" in refusal.message


def filtered(*names: str) -> predict_pb2.PredictRequest:
    """Build a request for some outputs."""
    request = predict_request()
    request.output_filter.extend(names)
    return request


def two_inputs() -> predict_pb2.PredictRequest:
    """Build a request with a second input."""
    request = predict_request()
    request.inputs["more"].CopyFrom(tf.make_tensor_proto(["text"]))
    return request


def repeated_value() -> predict_pb2.PredictRequest:
    """Build a request whose shape has more elements than its values."""
    request = predict_request(["text"])
    request.inputs["text"].tensor_shape.dim[0].size = 10**12
    return request


@pytest.mark.parametrize(
    ("request_of", "reason"),
    [
        (lambda: predict_request(name="words"), "inputs: text is needed, and nothing else"),
        (two_inputs, "inputs: text is needed"),
        (predict_pb2.PredictRequest, "inputs: text is needed"),
        (lambda: predict_request([1, 2]), "inputs.text: the dtype is DT_STRING"),
        (
            lambda: predict_request([["one", "two"]]),
            "2 texts in string_val, and the shape is not [batch] or [batch, 1]",
        ),
        (repeated_value, "inputs.text: 1 text in string_val, and the shape is not"),
        (lambda: predict_request([b"good", b"\xff"]), "text 1: not UTF-8"),
        (lambda: predict_request(signature_name="regress"), "there is no signature 'regress'"),
        (lambda: predict_request(tf.make_tensor_proto([], dtype=tf.string)), "at least one text is needed"),
        (lambda: filtered("logits"), "there is no output 'logits'; there are: label, score, probabilities"),
        (lambda: filtered("score", "score"), "output_filter: an output is named twice"),
    ],
)
def test_bad_predict(prediction_service: Any, request_of: Callable[[], Any], reason: str) -> None:
    """A request that cannot be answered is rejected with the reason."""
    refusal = refused(lambda: prediction_service.Predict(request_of()))
    assert refusal.code == INVALID
    assert reason in refusal.message


def test_classify(prediction_service: Any, expected: list[dict[str, Any]]) -> None:
    """Every example gets the probabilities of all labels, in the order of the model's labels."""
    response = prediction_service.Classify(classify_request(*(example(text=[text.encode()]) for text in TEXTS)))
    for answer, each in zip(response.result.classifications, expected, strict=True):
        assert {one.label: one.score for one in answer.classes} == pytest.approx(each["probabilities"], abs=1e-6)
        assert [one.label for one in answer.classes] == list(each["probabilities"])


def test_classify_with_context(prediction_service: Any, expected: list[dict[str, Any]]) -> None:
    """Examples can have a context, whose features are not read."""
    request = classify_request(example(text=[TEXTS[0].encode()]), context=example(stars=[b"5"]))
    [answer] = prediction_service.Classify(request).result.classifications
    assert {one.label: one.score for one in answer.classes} == pytest.approx(expected[0]["probabilities"], abs=1e-6)


@pytest.mark.parametrize(
    ("request_of", "reason"),
    [
        (classification_pb2.ClassificationRequest, "input: an example_list is needed"),
        (lambda: classify_request(example(text=[b"one"]), example()), "example 1: the feature text needs one value"),
        (lambda: classify_request(example(text=[b"one", b"two"])), "example 0: the feature text needs one value"),
        (lambda: classify_request(example(), context=example(text=[b"one"])), "example 0: the feature text needs one"),
        (lambda: classify_request(example(text=[b"\xff"])), "text 0: not UTF-8"),
    ],
)
def test_bad_classify(prediction_service: Any, request_of: Callable[[], Any], reason: str) -> None:
    """Examples that cannot be classified are rejected with the reason."""
    refusal = refused(lambda: prediction_service.Classify(request_of()))
    assert refusal.code == INVALID
    assert reason in refusal.message


def test_metadata(prediction_service: Any) -> None:
    """The metadata contain the signature, in a message that TensorFlow Serving's stubs unpack."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "imdb-cnn"
    response = prediction_service.GetModelMetadata(request)
    assert (response.model_spec.name, response.model_spec.version.value) == ("imdb-cnn", 1)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["serving_default"]
    assert {name: info.dtype for name, info in signature.inputs.items()} == {"text": tf.string.as_datatype_enum}
    assert [each.size for each in signature.outputs["probabilities"].tensor_shape.dim] == [-1, 2]
    for fields in ([], ["signature_def"] * 2, ["signature"]):
        request.metadata_field[:] = fields
        assert refused(lambda: prediction_service.GetModelMetadata(request)).code == INVALID


def test_status(tmp_path: Path) -> None:
    """The status lists the served and the rejected versions, or only the named one."""
    publish_table(tmp_path)
    publish_table(tmp_path)
    [model] = (path for path in tmp_path.iterdir() if path.is_dir())
    (model / "2" / "model.onnx").write_bytes(b"damaged")
    with ServerProcess("--watch-interval", "0", repository=tmp_path) as process, connect(process) as channel:
        stub = ModelServiceStub(channel)
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=model_pb2.ModelSpec(name=model.name))
        states = get_model_status_pb2.ModelVersionStatus
        newest, oldest = stub.GetModelStatus(request).model_version_status
        assert (oldest.version, oldest.state, oldest.status.error_code) == (1, states.AVAILABLE, 0)
        assert (newest.version, newest.state) == (2, states.END)
        assert "model.onnx" in newest.status.error_message
        request.model_spec.version.value = 1
        assert [each.version for each in stub.GetModelStatus(request).model_version_status] == [1]
        request.model_spec.name = "other"
        assert refused(lambda: stub.GetModelStatus(request)).code == grpc.StatusCode.NOT_FOUND


def test_metrics(server: ServerProcess, prediction_service: Any) -> None:
    """Calls are counted under the path of their method."""
    series = 'sentiment_requests_total{protocol="grpc",route="/tensorflow.serving.PredictionService/Predict"'

    def count() -> float:
        lines = server.metrics().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(series) and 'status="OK"' in line)

    before = count()
    prediction_service.Predict(predict_request())
    eventually(lambda: count() > before)
