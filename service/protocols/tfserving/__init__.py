"""TensorFlow Serving's protocol, which KServe v1 and Vertex AI send as well."""

from __future__ import annotations

from sentiment_conv1d.service.protocols.protocol import Protocol
from sentiment_conv1d.service.protocols.tfserving import grpc, rest

PROTOCOL = Protocol(rest=(rest.PROTOCOL,), grpc=grpc.SERVICES)
