"""The Open Inference Protocol.

`tensors` reads and writes the protocol's data, `inference` answers an inference request, and `description` describes
the server and its models. `rest` and `grpc` convert their messages to these types and back.
"""

from __future__ import annotations

from sentiment_conv1d.service.protocols.oip import grpc, rest
from sentiment_conv1d.service.protocols.protocol import Protocol

PROTOCOL = Protocol(rest=rest.PROTOCOLS, grpc=(grpc.SERVICE,))
