"""The gRPC methods that Ray's proxies pass to replicas. Proxies do not parse messages."""

from __future__ import annotations

from typing import Any

import grpc

from sentiment_conv1d.service.grpc import health, oip, sentiment

#: Maps the path of every method to whether it is a stream. Ray finds a method by the last part of its path, so the
#: `Predict` of TensorFlow Serving cannot be served beside that of `sentiment.v1.Sentiment`.
METHODS = {
    **dict.fromkeys(sentiment.ROUTES, False),
    **dict.fromkeys(oip.ROUTES, False),
    **dict.fromkeys((*oip.POLLED, health.CHECK), False),
    sentiment.PREDICT_STREAM: True,
    oip.MODEL_STREAM_INFER: True,
}


class Message:
    """The bytes of a message. It replaces the generated class."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    @classmethod
    def FromString(cls, content: bytes) -> Message:
        """Keep the bytes."""
        return cls(content)

    def SerializeToString(self) -> bytes:
        """Return the bytes."""
        return self.content


def add_services(servicer: Any, server: Any) -> None:
    """Add the services to a proxy's server. Ray replaces the servicer."""
    services: dict[str, dict[str, Any]] = {}
    for path, streaming in METHODS.items():
        _, service, method = path.split("/")
        make = grpc.stream_stream_rpc_method_handler if streaming else grpc.unary_unary_rpc_method_handler
        handler = make(servicer, request_deserializer=Message.FromString, response_serializer=Message.SerializeToString)
        services.setdefault(service, {})[method] = handler
    for service, handlers in services.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
