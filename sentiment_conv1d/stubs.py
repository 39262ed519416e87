"""Stubs for Python clients of the service's gRPC APIs, built from the message descriptors. They need grpcio."""

from __future__ import annotations

from typing import Any, ClassVar

try:
    import grpc
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("the gRPC stubs need grpcio: pip install grpcio", name=error.name) from None
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from sentiment_conv1d.protos import inference_pb2, sentiment_pb2


class _Stub:
    """Has a multicallable for every method of `service`, like a generated stub."""

    service: ClassVar[ServiceDescriptor]

    def __init__(self, channel: grpc.Channel | grpc.aio.Channel) -> None:
        for method in self.service.methods:
            kinds = ("stream" if many else "unary" for many in (method.client_streaming, method.server_streaming))
            multicallable = getattr(channel, "_".join(kinds))(
                f"/{self.service.full_name}/{method.name}",
                request_serializer=GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            setattr(self, method.name, multicallable)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.service.full_name} has no method {name}")


class SentimentStub(_Stub):
    """Stub of the service's own API."""

    service = sentiment_pb2.DESCRIPTOR.services_by_name["Sentiment"]


class GRPCInferenceServiceStub(_Stub):
    """Stub of the Open Inference Protocol."""

    service = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
