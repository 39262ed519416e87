"""Reflection: a client that only knows the address can call every method."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.protos.descriptors import message_class


@pytest.fixture
def database(channel: grpc.Channel) -> ProtoReflectionDescriptorDatabase:
    """Return the descriptors of the server."""
    return ProtoReflectionDescriptorDatabase(channel)


def test_services(database: ProtoReflectionDescriptorDatabase) -> None:
    """Reflection lists our service, the Open Inference Protocol, TensorFlow Serving, health and itself."""
    assert sorted(database.get_services()) == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
        "sentiment.v1.Sentiment",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    ]


def unary(channel: grpc.Channel, pool: DescriptorPool, service: str, method: str, **fields: Any) -> Any:
    """Call a method with messages that are built only from descriptors."""
    descriptor = pool.FindServiceByName(service).FindMethodByName(method)
    call: Any = channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(descriptor.output_type).FromString,
    )
    return call(GetMessageClass(descriptor.input_type)(**fields))


def test_predict(channel: grpc.Channel, database: ProtoReflectionDescriptorDatabase, classifier: Classifier) -> None:
    """A client can call our service without stubs."""
    text = "A gripping, beautifully acted film."
    answer = unary(channel, DescriptorPool(database), "sentiment.v1.Sentiment", "Predict", text=text)
    [right] = classifier.predict([text])
    assert (answer.label, answer.tokens, answer.version) == ("positive", right.tokens, "1")
    assert answer.score == pytest.approx(right.score, abs=1e-6)


def test_open_inference(channel: grpc.Channel, database: ProtoReflectionDescriptorDatabase) -> None:
    """A client can call the Open Inference Protocol without stubs."""
    pool = DescriptorPool(database)
    service = "inference.GRPCInferenceService"
    assert unary(channel, pool, service, "ServerReady").ready
    assert unary(channel, pool, service, "ModelReady", name="imdb-cnn").ready
    text = {"name": "text", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"great"]}}
    answer = unary(channel, pool, service, "ModelInfer", model_name="imdb-cnn", inputs=[text])
    assert {output.name for output in answer.outputs} == {"label", "score", "probabilities"}


def test_every_method_is_described(database: ProtoReflectionDescriptorDatabase) -> None:
    """The messages of every method of every service are known."""
    pool = DescriptorPool(database)
    for service in database.get_services():
        methods = pool.FindServiceByName(service).methods
        assert methods
        for method in methods:
            assert GetMessageClass(method.input_type)() == GetMessageClass(method.input_type)()
            assert GetMessageClass(method.output_type).DESCRIPTOR.full_name == method.output_type.full_name


def ask(channel: grpc.Channel, version: str, **question: Any) -> Any:
    """Return the answer to one question, in one version of the protocol."""
    package = f"grpc.reflection.{version}"
    call: Any = channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_class(f"{package}.ServerReflectionResponse").FromString,
    )
    [answer] = call(iter([message_class(f"{package}.ServerReflectionRequest")(host="a", **question)]))
    assert answer.valid_host == "a"
    return answer


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_questions(channel: grpc.Channel, version: str) -> None:
    """Both versions answer every kind of question."""
    services = ask(channel, version, list_services="").list_services_response.service
    names = [service.name for service in services]
    assert {f"grpc.reflection.{each}.ServerReflection" for each in ("v1", "v1alpha")} < set(names)

    for name in (*names, "sentiment.v1.Sentiment.Predict", "grpc.health.v1.HealthListRequest"):
        files = ask(channel, version, file_containing_symbol=name).file_descriptor_response.file_descriptor_proto
        file = FileDescriptorProto.FromString(files[0])  # its dependencies follow
        assert name.startswith(f"{file.package}.")
        described = ask(channel, version, file_by_filename=file.name).file_descriptor_response
        assert described.file_descriptor_proto == files

    message = "sentiment.v1.Prediction"
    numbers = ask(channel, version, all_extension_numbers_of_type=message).all_extension_numbers_response
    assert (numbers.base_type_name, numbers.extension_number) == (message, [])


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
@pytest.mark.parametrize(
    "question",
    [
        {"file_by_filename": "google/protobuf/descriptor.proto"},
        {"file_containing_symbol": "sentiment.v1.Sentiment.Forget"},
        {"file_containing_symbol": "\0"},
        {"file_containing_symbol": "google.protobuf.FileDescriptorProto"},
        {"file_containing_extension": {"containing_type": "sentiment.v1.Prediction", "extension_number": 1}},
        {"all_extension_numbers_of_type": "google.protobuf.FileOptions"},
    ],
    ids=str,
)
def test_unused_descriptors(channel: grpc.Channel, version: str, question: dict[str, Any]) -> None:
    """Descriptors that no service needs are not found, even if the process knows them."""
    error = ask(channel, version, **question).error_response
    assert (error.error_code, error.error_message) == (5, "the name is not known")


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_request_without_a_question(channel: grpc.Channel, version: str) -> None:
    """A request without a question is INVALID_ARGUMENT."""
    error = ask(channel, version).error_response
    assert (error.error_code, error.error_message) == (3, "the request is empty")
