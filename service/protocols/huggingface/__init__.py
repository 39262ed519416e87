"""The protocols of Hugging Face's clients and containers."""

from __future__ import annotations

from sentiment_conv1d.service.protocols.huggingface import rest
from sentiment_conv1d.service.protocols.protocol import Protocol

PROTOCOL = Protocol(rest=(rest.PROTOCOL,))
