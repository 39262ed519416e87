"""The routes that cloud platforms require of a container."""

from __future__ import annotations

from sentiment_conv1d.service.protocols.clouds import rest
from sentiment_conv1d.service.protocols.protocol import Protocol

PROTOCOL = Protocol(rest=(rest.SAGEMAKER,))
