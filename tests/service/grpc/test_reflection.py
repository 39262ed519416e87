"""Reflection: a client that has nothing but the address finds out the rest."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from service.classifier import Classifier


@pytest.fixture
def database(channel: grpc.Channel) -> ProtoReflectionDescriptorDatabase:
    """The server's descriptors."""
    return ProtoReflectionDescriptorDatabase(channel)


def test_services(database: ProtoReflectionDescriptorDatabase) -> None:
    """The services are ours, the Open Inference Protocol, health and reflection itself."""
    assert sorted(database.get_services()) == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
        "sentiment.v1.Sentiment",
    ]


def unary(channel: grpc.Channel, pool: DescriptorPool, service: str, method: str, **fields: Any) -> Any:
    """Call a method with messages made from descriptors alone."""
    descriptor = pool.FindServiceByName(service).FindMethodByName(method)
    call: Any = channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(descriptor.output_type).FromString,
    )
    return call(GetMessageClass(descriptor.input_type)(**fields))


def test_predict(channel: grpc.Channel, database: ProtoReflectionDescriptorDatabase, classifier: Classifier) -> None:
    """Our service can be called without our stubs."""
    text = "A gripping, beautifully acted film."
    answer = unary(channel, DescriptorPool(database), "sentiment.v1.Sentiment", "Predict", text=text)
    [right] = classifier.predict([text])
    assert (answer.label, answer.tokens, answer.version) == ("positive", right.tokens, "1")
    assert answer.score == pytest.approx(right.score, abs=1e-6)


def test_open_inference(channel: grpc.Channel, database: ProtoReflectionDescriptorDatabase) -> None:
    """So can the Open Inference Protocol."""
    pool = DescriptorPool(database)
    service = "inference.GRPCInferenceService"
    assert unary(channel, pool, service, "ServerReady").ready
    assert unary(channel, pool, service, "ModelReady", name="imdb-cnn").ready
    text = {"name": "text", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"great"]}}
    answer = unary(channel, pool, service, "ModelInfer", model_name="imdb-cnn", inputs=[text])
    assert {output.name for output in answer.outputs} == {"label", "score", "probabilities"}


def test_every_method_is_described(database: ProtoReflectionDescriptorDatabase) -> None:
    """Every method of every service has its messages."""
    pool = DescriptorPool(database)
    for service in database.get_services():
        methods = pool.FindServiceByName(service).methods
        assert methods
        for method in methods:
            assert GetMessageClass(method.input_type)() == GetMessageClass(method.input_type)()
            assert GetMessageClass(method.output_type).DESCRIPTOR.full_name == method.output_type.full_name
