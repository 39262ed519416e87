"""The service's own routes, and the service `sentiment.v1.Sentiment`."""

from __future__ import annotations

from sentiment_conv1d.service.protocols.native import grpc, rest
from sentiment_conv1d.service.protocols.protocol import Protocol

PROTOCOL = Protocol(rest=rest.PROTOCOLS, grpc=(grpc.SERVICE,))
