"""The model repository extension: lists versions, and loads and unloads models.

Source: Triton's docs/protocol/extension_model_repository.md.
"""

from __future__ import annotations

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from sentiment_conv1d.server.errors import Unauthorized
from sentiment_conv1d.server.http.asgi import CHARGE, read_body
from sentiment_conv1d.service.errors import Forbidden
from sentiment_conv1d.service.models.index import Entry
from sentiment_conv1d.service.rest.cors import named_origins
from sentiment_conv1d.service.rest.endpoint import Body, LenientBody, StrictBody, parse
from sentiment_conv1d.service.rest.protocol import PlainProtocol, state_of
from sentiment_conv1d.service.scheduling.dataplane import INLINE_CHARACTERS

PROTOCOL = PlainProtocol("Open Inference Protocol", prefix="/v2/repository")


class IndexRequest(LenientBody):
    """The versions to list."""

    ready: bool = False


@PROTOCOL.post("/index", summary="List the versions in the repository")
async def repository_index(request: Request) -> list[Entry]:
    """Return all versions in the repository, or with `{"ready": true}` those that are loaded."""
    wanted = await _read(request, IndexRequest)
    return [each for each in await state_of(request).reconciler.index() if each.state == "READY" or not wanted.ready]


async def check_administration(request: Request) -> None:
    """Raise `Forbidden` or `Unauthorized` unless the caller may load, unload and label models.

    Browsers send `Origin` with every POST. A page of this service's own origin is no exception: DNS rebinding gives the
    page of another site that origin too.
    """
    headers = request.headers
    from_page = "origin" in headers or "sec-fetch-site" in headers
    if from_page and headers.get("origin") not in named_origins(state_of(request).settings.cors_origins):
        raise Forbidden("a web page may load, unload and label models only if --cors-origins names its origin")
    state_of(request).access.check_administration(dict(request.scope["headers"]))


class RoutingRequest(StrictBody):
    """The labels of a model's versions."""

    labels: dict[str, int] | None = Field(
        None,
        description="Versions by label, which replace all labels of the model; without it, these stay. The version "
        "labelled `default` answers the requests that name none.",
    )


class RoutingResponse(BaseModel):
    """The labels of a model's versions."""

    labels: dict[str, int]


ADMINISTRATION = PlainProtocol(
    "Open Inference Protocol",
    prefix="/v2/repository/models/{model}",
    dependencies=[Depends(check_administration)],
    default_response_class=Response,
    responses=PROTOCOL.errors(Unauthorized, Forbidden),
)


@ADMINISTRATION.post("/load", summary="Load a model")
async def load_model(request: Request, model: str) -> Response:
    """Load the versions that the policy chooses from the model's folder in the repository."""
    await state_of(request).reconciler.load(model)
    return Response()


@ADMINISTRATION.post("/unload", summary="Unload a model")
async def unload_model(request: Request, model: str) -> Response:
    """Stop serving a model; running requests are finished."""
    await state_of(request).reconciler.unload(model)
    return Response()


@ADMINISTRATION.post(
    "/routing",
    summary="Label the versions of a model",
    response_class=JSONResponse,
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": RoutingRequest.model_json_schema()}}}},
)
async def label_versions(request: Request, model: str) -> RoutingResponse:
    """Replace the labels of a model's versions in all workers, and return them."""
    body, state = await _read(request, RoutingRequest), state_of(request)
    name = state.models.name_of(model)
    if body.labels is not None:
        await state.reconciler.label(name, body.labels)
    return RoutingResponse(labels=dict(state.models.labels(name)))


async def _read(request: Request, model: type[Body]) -> Body:
    state = state_of(request)
    headers = dict(request.scope["headers"])
    charge, seconds = request.scope[CHARGE], state.settings.body_timeout
    body = await read_body(headers, request.receive, INLINE_CHARACTERS, seconds, charge)
    return parse(model, body or b"{}", state.dataplane)  # clients send nothing at all for an empty object
