"""Metadata and health of the server and its models, and Triton's model configuration and statistics.

Sources: the protocol's inference_rest.md; Triton's docs/protocol/extension_{model_configuration,statistics}.md.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request
from pydantic import BaseModel

from sentiment_conv1d.service.protocols.oip import description
from sentiment_conv1d.service.rest.protocol import PlainProtocol, state_of

PROTOCOL = PlainProtocol("Open Inference Protocol", prefix="/v2")


class ServerMetadata(BaseModel):
    """The server and its extensions."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """An input or output. A size of -1 in its shape stands for any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model's inputs and outputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(BaseModel):
    """Whether a model answers."""

    name: str
    ready: bool


@PROTOCOL.get("", summary="Describe the server")
@PROTOCOL.get("/", include_in_schema=False)
async def server_metadata() -> ServerMetadata:
    """Return the name, the version and the extensions of the server."""
    return ServerMetadata(**description.server_metadata())


PROTOCOL.probe("/health/live", "Liveness", b'{"live":true}', dict[str, bool], readiness=False)
PROTOCOL.probe("/health/ready", "Readiness", b'{"ready":true}', dict[str, bool])


@PROTOCOL.get("/models/stats", summary="Statistics of every model")
async def all_statistics(request: Request) -> dict[str, Any]:
    """Return counts and durations of all workers since each model was loaded."""
    return {"model_stats": [description.model_statistics(each) for each in state_of(request).models.select()]}


@PROTOCOL.get("/models/{model}", summary="A model's inputs and outputs")
@PROTOCOL.get("/models/{model}/versions/{version}", include_in_schema=False)
async def model_metadata(request: Request, model: str, version: str = "") -> ModelMetadata:
    """Return the inputs and outputs with their datatypes and shapes."""
    models = state_of(request).models
    classifier = models.get(model, version)
    return ModelMetadata(**description.model_metadata(classifier, models.versions(classifier.manifest.name)))


@PROTOCOL.get("/models/{model}/ready", summary="Readiness of a model")
@PROTOCOL.get("/models/{model}/versions/{version}/ready", include_in_schema=False)
async def model_ready(request: Request, model: str, version: str = "") -> ModelReady:
    """Return 200 if the model is ready, 404 if it is not loaded, and 503 during shutdown."""
    classifier = state_of(request).models.get(model, version)
    state_of(request).check_draining()
    return ModelReady(name=classifier.manifest.name, ready=True)


@PROTOCOL.get("/models/{model}/config", summary="Triton's configuration of a model")
@PROTOCOL.get("/models/{model}/versions/{version}/config", include_in_schema=False)
async def model_config(request: Request, model: str, version: str = "") -> dict[str, Any]:
    """Return the model configuration, which Triton's tools request."""
    state = state_of(request)
    return description.model_config(state.models.get(model, version), state.settings.max_batch_texts)


@PROTOCOL.get("/models/{model}/stats", summary="Statistics of a model")
@PROTOCOL.get("/models/{model}/versions/{version}/stats", include_in_schema=False)
async def model_statistics(request: Request, model: str, version: str = "") -> dict[str, Any]:
    """Return counts and durations of all workers since the model was loaded."""
    chosen = state_of(request).models.select(model, version)
    return {"model_stats": [description.model_statistics(each) for each in chosen]}
