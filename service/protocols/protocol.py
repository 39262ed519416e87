"""A protocol that clients speak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sentiment_conv1d.service.grpc.service import Service
from sentiment_conv1d.service.rest.protocol import RestProtocol


class Protocol(NamedTuple):
    """The routes of a protocol over REST, and its services over gRPC."""

    rest: Sequence[RestProtocol] = ()
    grpc: Sequence[Service] = ()
