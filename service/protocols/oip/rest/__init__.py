"""The Open Inference Protocol over REST, with the extensions that Triton's clients use."""

from __future__ import annotations

from sentiment_conv1d.service.protocols.oip.rest import inference, metadata, repository

PROTOCOLS = (inference.PROTOCOL, metadata.PROTOCOL, repository.PROTOCOL, repository.ADMINISTRATION)
