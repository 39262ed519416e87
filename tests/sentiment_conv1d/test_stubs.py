"""The gRPC client stubs have the methods of the .proto files. The tests of the service make calls with them."""

from __future__ import annotations

import grpc
import pytest

from sentiment_conv1d.stubs import GRPCInferenceServiceStub, SentimentStub


@pytest.mark.parametrize("stub", [SentimentStub, GRPCInferenceServiceStub])
def test_methods(stub: type[SentimentStub | GRPCInferenceServiceStub]) -> None:
    """Every method of the service is an attribute of its stub, with the streams of the .proto file."""
    with grpc.insecure_channel("localhost:1") as channel:
        made = stub(channel)
    for method in stub.service.methods:
        kind = type(getattr(made, method.name)).__name__
        expected = ["Stream" if many else "Unary" for many in (method.client_streaming, method.server_streaming)]
        assert kind.startswith("_" + "".join(expected)), method.name


def test_misspelled_method() -> None:
    """A misspelled method raises an AttributeError that names the service."""
    with (
        grpc.insecure_channel("localhost:1") as channel,
        pytest.raises(AttributeError, match=r"sentiment\.v1\.Sentiment has no method Predictt"),
    ):
        SentimentStub(channel).Predictt  # noqa: B018
