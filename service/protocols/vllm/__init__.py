"""The classification API of vLLM and SGLang."""

from __future__ import annotations

from sentiment_conv1d.service.protocols.protocol import Protocol
from sentiment_conv1d.service.protocols.vllm import rest

PROTOCOL = Protocol(rest=(rest.PROTOCOL,))
