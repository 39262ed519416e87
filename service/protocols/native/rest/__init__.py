"""The native routes: predictions, descriptions of models, and explanations."""

from __future__ import annotations

from sentiment_conv1d.service.protocols.native.rest import explanations, predictions

PROTOCOLS = (predictions.PROTOCOL, explanations.PROTOCOL)
