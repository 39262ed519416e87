"""The Open Inference Protocol over REST, with the extensions that Triton's clients use.

Sources: the protocol's inference_rest.md and open_inference_rest.yaml; Triton's docs/protocol/extension_*.md.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, FailFast

from sentiment_conv1d.service.errors import Forbidden, Invalid, Malformed
from sentiment_conv1d.service.inference.classifier import Classifier
from sentiment_conv1d.service.inference.dataplane import DataPlane
from sentiment_conv1d.service.models.index import Entry
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.readiness import Readiness
from sentiment_conv1d.service.models.reconciler import Reconciler
from sentiment_conv1d.service.oip import description, inference
from sentiment_conv1d.service.oip.inference import Input, Output, RequestedOutput
from sentiment_conv1d.service.oip.tensors import pack_bytes
from sentiment_conv1d.service.rest.cors import named_origins
from sentiment_conv1d.service.rest.endpoint import (
    Answer,
    Call,
    Endpoint,
    RestProtocol,
    parse,
    plain_error_body,
    to_json,
)
from sentiment_conv1d.service.rest.server.body import CHARGE, read_body
from sentiment_conv1d.service.rest.server.compression import compress
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.version import package_version

HEADER_LENGTH = b"inference-header-content-length"
_BINARY = b"application/octet-stream"
_MICROSECONDS = 1e-6
_DIGITS = re.compile(rb"[0-9]{1,19}")
_MAX_WHOLE_NUMBER = 2**64 - 1  # a UINT64, as in gRPC


class _Body(BaseModel):
    """Fields that the protocol does not name are ignored, as it asks for."""

    model_config = ConfigDict(strict=True, extra="ignore")


class InferInput(_Body):
    """One input tensor; `data` may be nested or flat, or follow the JSON in binary form."""

    name: str
    shape: Annotated[list[int], FailFast()]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: Any = None


class InferRequestedOutput(_Body):
    """One output that is asked for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(_Body):
    """An infer request: a batch of texts, or of ids."""

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: Annotated[list[InferInput], FailFast()]
    outputs: Annotated[list[InferRequestedOutput], FailFast()] = []


class InferOutput(BaseModel):
    """One output tensor, flat in row-major order."""

    name: str
    datatype: str
    shape: list[int]
    data: list[str] | list[float]


class InferResponse(BaseModel):
    """The outputs that were asked for, or all."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[InferOutput]


class OipError(BaseModel):
    """Every refusal of the protocol's routes."""

    error: str


PROTOCOL = RestProtocol("Open Inference Protocol", OipError, plain_error_body)


class Infer(Endpoint):
    """Probabilities for a batch of texts (`text`), or of ids that the caller made (`tokens`).

    JSON or the binary tensor extension both ways, gzip and deflate both ways, `classification` on `probabilities`.
    """

    protocol = PROTOCOL
    paths = ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer")
    summary = "Open Inference Protocol: infer"
    request_model = InferRequest
    response_model = InferResponse
    request_example: ClassVar[dict[str, Any]] = {
        "id": "1",
        "inputs": [
            {
                "name": "text",
                "shape": [1, 1],
                "datatype": "BYTES",
                "data": ["A gripping, beautifully acted film."],
            }
        ],
    }

    async def respond(self, call: Call) -> Answer:
        body, inputs, binary = _read(call, self.dataplane)
        parameters = body.parameters or {}
        request = inference.Request(
            model=call.parameters["model"],
            version=call.parameters.get("version", ""),
            inputs=inputs,
            outputs=[_requested(each, binary) for each in body.outputs],
            timeout=_whole_number(parameters, "timeout") * _MICROSECONDS or None,
        )
        classifier, outputs = await inference.infer(self.dataplane, self.models, request)
        wishes = {each.name: each.binary for each in request.outputs}
        head: dict[str, Any] = {
            "model_name": classifier.manifest.name,
            "model_version": str(classifier.manifest.version),
        }
        if body.id is not None:
            head["id"] = body.id
        return _compressed(_answer(head, outputs, wishes, binary), call)


def _read(call: Call, dataplane: DataPlane) -> tuple[InferRequest, list[Input], bool]:
    """The JSON, the inputs, and whether outputs are wanted in binary form unless they say otherwise."""
    header = call.headers.get(HEADER_LENGTH)
    if header is None:
        body = parse(InferRequest, call.body, dataplane)
        return body, _inputs(body, b""), _binary_output(body)
    if not _DIGITS.fullmatch(header):
        raise Malformed("Inference-Header-Content-Length is not a number of bytes")
    length = int(header)
    if length > len(call.body):
        raise Malformed(f"Inference-Header-Content-Length is {length}, and the body has {len(call.body)} bytes")
    if length == 0:
        return InferRequest(inputs=[]), [_raw_text(call.body)], True
    body = parse(InferRequest, call.body[:length], dataplane)
    return body, _inputs(body, call.body[length:]), _binary_output(body)


def _raw_text(body: bytes) -> Input:
    """A raw binary request: the body is one text, without the length that a BYTES element has elsewhere."""
    return Input(inference.TEXT, "BYTES", [1], raw=pack_bytes((body,)))


def _inputs(body: InferRequest, binary: bytes) -> list[Input]:
    inputs = []
    position = 0
    for each in body.inputs:
        size = (each.parameters or {}).get("binary_data_size")
        if size is None:
            inputs.append(Input(each.name, each.datatype, each.shape, data=each.data))
            continue
        if type(size) is not int or size < 0:
            raise Invalid(f"input '{each.name}': binary_data_size must be a whole number, not negative")
        if each.data is not None:
            raise Invalid(f"input '{each.name}' has both data and binary_data_size")
        if position + size > len(binary):
            raise Malformed(
                f"input '{each.name}': binary_data_size is {size}, and {len(binary) - position} bytes are left"
            )
        inputs.append(Input(each.name, each.datatype, each.shape, raw=binary[position : position + size]))
        position += size
    if position != len(binary):
        raise Malformed(f"{len(binary) - position} bytes of binary data belong to no input")
    return inputs


def _binary_output(body: InferRequest) -> bool:
    return _flag(body.parameters or {}, "binary_data_output", False)


def _requested(output: InferRequestedOutput, binary: bool) -> RequestedOutput:
    parameters = output.parameters or {}
    return RequestedOutput(
        output.name,
        binary=_flag(parameters, "binary_data", binary),
        classification=_whole_number(parameters, "classification"),
    )


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise Invalid(f"parameter '{name}' must be true or false")
    return value


def _whole_number(parameters: dict[str, Any], name: str) -> int:
    value = parameters.get(name, 0)
    if type(value) is not int or not 0 <= value <= _MAX_WHOLE_NUMBER:
        raise Invalid(f"parameter '{name}' must be a whole number of 64 bits, not negative")
    return value


def _answer(head: dict[str, Any], outputs: list[Output], wishes: dict[str, bool], binary: bool) -> Answer:
    described: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for output in outputs:
        tensor: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if wishes.get(output.name, binary):
            tail.append(output.raw())
            # Only a binary tensor may have parameters: Triton's C++ client takes any for the size.
            tensor["parameters"] = {"binary_data_size": len(tail[-1])}
        elif isinstance(output.data, np.ndarray):
            tensor["data"] = output.data.ravel()
        else:
            tensor["data"] = [element.decode() for element in output.data]
        described.append(tensor)
    document = to_json(head | {"outputs": described})
    if not tail:
        return Answer(document)
    return Answer(b"".join([document, *tail]), _BINARY, ((HEADER_LENGTH, str(len(document)).encode()),))


def _compressed(answer: Answer, call: Call) -> Answer:
    accepted = call.headers.get(b"accept-encoding")
    if accepted is None:
        return answer
    body, encoding = compress(answer.body, accepted)
    if not encoding:
        return answer
    return Answer(body, answer.content_type, (*answer.headers, (b"content-encoding", encoding)))


router = APIRouter(prefix="/v2", tags=[PROTOCOL.tag])

_REFUSED: dict[int | str, dict[str, Any]] = {404: {"model": OipError}}


class ServerMetadata(BaseModel):
    """The server and its extensions."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """One input or output; -1 in a shape is any size."""

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


class IndexRequest(_Body):
    """Which versions are listed."""

    ready: bool = False


@router.get("", summary="The server and its extensions")
@router.get("/", include_in_schema=False)
async def server_metadata() -> ServerMetadata:
    """Name, version and extensions."""
    return ServerMetadata(**description.server_metadata(package_version()))


@router.get("/health/live", summary="Is the server alive?")
async def live() -> dict[str, bool]:
    """200 as long as the process answers at all."""
    return {"live": True}


@router.get("/health/ready", summary="May traffic come here?", responses={503: {"model": OipError}})
async def ready(request: Request) -> dict[str, bool]:
    """200 while models answer, 503 once the service is shutting down."""
    _readiness(request).check()
    return {"ready": True}


@router.get("/models/stats", summary="Statistics of every model")
async def all_statistics(request: Request) -> dict[str, Any]:
    """Counts and durations since each model was loaded, of this process."""
    return _statistics(_models(request).select())


@router.get("/models/{model}", summary="A model's inputs and outputs", responses=_REFUSED)
@router.get("/models/{model}/versions/{version}", include_in_schema=False)
async def model_metadata(request: Request, model: str, version: str = "") -> ModelMetadata:
    """Inputs and outputs with their datatypes and shapes."""
    models = _models(request)
    classifier = models.get(model, version)
    return ModelMetadata(**description.model_metadata(classifier, models.versions(classifier.manifest.name)))


@router.get("/models/{model}/ready", summary="Does a model answer?", responses=_REFUSED)
@router.get("/models/{model}/versions/{version}/ready", include_in_schema=False)
async def model_ready(request: Request, model: str, version: str = "") -> ModelReady:
    """200 while that model answers, 404 for one that is not loaded, 503 once the service is shutting down."""
    classifier = _models(request).get(model, version)
    _readiness(request).check_draining()
    return ModelReady(name=classifier.manifest.name, ready=True)


@router.get("/models/{model}/config", summary="Triton's configuration of a model", responses=_REFUSED)
@router.get("/models/{model}/versions/{version}/config", include_in_schema=False)
async def model_config(request: Request, model: str, version: str = "") -> dict[str, Any]:
    """The model configuration that Triton's tools ask for."""
    return description.model_config(_models(request).get(model, version), _settings(request).max_batch_texts)


@router.get("/models/{model}/stats", summary="Statistics of a model", responses=_REFUSED)
@router.get("/models/{model}/versions/{version}/stats", include_in_schema=False)
async def model_statistics(request: Request, model: str, version: str = "") -> dict[str, Any]:
    """Counts and durations since the model was loaded, of this process."""
    return _statistics(_models(request).select(model, version))


@router.post("/repository/index", summary="Every version in the repository")
async def repository_index(request: Request) -> list[Entry]:
    """Every version in the repository's folder, loaded or not; `{"ready": true}` asks for the loaded ones."""
    body = await _body(request) or b"{}"  # clients send nothing at all for an empty object
    wanted = parse(IndexRequest, body, request.app.state.dataplane)
    return [each for each in await _reconciler(request).index() if each.state == "READY" or not wanted.ready]


async def check_administration(request: Request) -> None:
    """Raise `Forbidden` or `Unauthorized` unless the caller may load and unload models.

    Browsers send `Origin` with every POST. A page of this service's own origin is no exception: DNS rebinding gives the
    page of another site that origin too.
    """
    access: Access = request.app.state.access
    headers = request.headers
    from_page = "origin" in headers or "sec-fetch-site" in headers
    if from_page and headers.get("origin") not in named_origins(_settings(request).cors_origins):
        raise Forbidden("a web page may load and unload models only if --cors-origins names its origin")
    access.check_administration(headers.get("authorization"), headers.get("x-api-key"))


administration = APIRouter(
    prefix="/v2/repository/models/{model}",
    tags=[PROTOCOL.tag],
    dependencies=[Depends(check_administration)],
    default_response_class=Response,
    responses={status: {"model": OipError} for status in (401, 403, 404)},
)


@administration.post("/load", summary="Load a model")
async def load_model(request: Request, model: str) -> Response:
    """Serve what is to be served of a model as it lies in the repository's folder now."""
    await _reconciler(request).load(model)
    return Response()


@administration.post("/unload", summary="Unload a model")
async def unload_model(request: Request, model: str) -> Response:
    """Serve a model no more; requests that run are finished."""
    await _reconciler(request).unload(model)
    return Response()


def _models(request: Request) -> LoadedModels:
    models: LoadedModels = request.app.state.models
    return models


def _readiness(request: Request) -> Readiness:
    readiness: Readiness = request.app.state.readiness
    return readiness


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _reconciler(request: Request) -> Reconciler:
    reconciler: Reconciler = request.app.state.reconciler
    return reconciler


def _statistics(classifiers: list[Classifier]) -> dict[str, Any]:
    return {"model_stats": [description.model_statistics(each) for each in classifiers]}


async def _body(request: Request) -> bytes:
    settings = _settings(request)
    headers = dict(request.scope["headers"])
    charge = request.scope[CHARGE]
    return await read_body(headers, request.receive, settings.max_body_bytes, settings.body_timeout, charge)
