"""The Open Inference Protocol over REST, with the extensions that Triton's clients use."""

from __future__ import annotations

from sentiment_conv1d.service.rest.oip import metadata, repository
from sentiment_conv1d.service.rest.oip.inference import Infer
from sentiment_conv1d.service.rest.protocol import RestProtocol

PROTOCOL = RestProtocol(
    "Open Inference Protocol",
    dict.fromkeys(("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"), Infer),
    (metadata.router, repository.router, repository.administration),
    health=("/v2/health/live", "/v2/health/ready"),
    prefix="/v2",
)
