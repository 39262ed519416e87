"""Routes that cloud platforms require of a container: SageMaker's two, and those that Vertex AI sets by variables.

Sources: SageMaker's "your own inference code", Vertex AI's "custom container requirements".
"""

from __future__ import annotations

from typing import Any, ClassVar

from fastapi import APIRouter, Request, Response
from pydantic import RootModel

from sentiment_conv1d.service.errors import Invalid, Malformed
from sentiment_conv1d.service.inference.dataplane import DataPlane
from sentiment_conv1d.service.rest import huggingface, operations, tfserving
from sentiment_conv1d.service.rest.endpoint import Endpoint, EndpointRequest, LenientBody, parse
from sentiment_conv1d.service.rest.protocol import PlainError, RestProtocol
from sentiment_conv1d.service.rest.server.request import Answer
from sentiment_conv1d.service.rest.state import state_of
from sentiment_conv1d.service.settings import Settings

_REFUSED: dict[int | str, dict[str, Any]] = {503: {"model": PlainError}}


class InvocationRequest(LenientBody):
    """Texts in `inputs`, as for Hugging Face's containers, or in `instances`, as for TensorFlow's."""

    inputs: huggingface.Texts = None
    parameters: huggingface.ClassificationParameters | None = None
    instances: list[Any] | None = None


class InvocationResponse(
    RootModel[list[huggingface.Scored] | list[list[huggingface.Scored]] | tfserving.TfServingResponse]
):
    """For `inputs` and plain text, the labels of each text. For `instances`, `predictions`."""


class Invocations(Endpoint):
    """Classify a text or several in `inputs`, rows in `instances`, or a body of type `text/plain`."""

    summary = "SageMaker: invocations"
    request_model = InvocationRequest
    response_model = InvocationResponse
    request_example: ClassVar[dict[str, Any]] = {"instances": ["A gripping, beautifully acted film."]}
    takes_text = True

    async def respond(self, request: EndpointRequest) -> Answer:
        body = _read(request, self.dataplane)
        if body.instances is not None:
            return await tfserving.predict(self.dataplane, self.models, request)
        if body.inputs is None:
            raise Invalid("the body: inputs or instances is needed")
        return await huggingface.classify(self.dataplane, self.models, body.inputs, body.parameters, flat=True)


class VertexPredict(tfserving.Predict):
    """Classify rows in `instances`. `AIP_PREDICT_ROUTE` sets the path of this route."""

    summary = "Vertex AI: predict"


def _read(request: EndpointRequest, dataplane: DataPlane) -> InvocationRequest:
    media_type = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"text/plain":
        return parse(InvocationRequest, request.body, dataplane)
    try:
        return InvocationRequest(inputs=request.body.decode())
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8") from None


router = APIRouter()


@router.get("/ping", summary="SageMaker: readiness", response_class=Response, responses=_REFUSED)
async def ping(request: Request) -> Response:
    """Return 200 while the service answers requests, and 503 during shutdown."""
    state_of(request).readiness.check()
    return Response()


SAGEMAKER = RestProtocol("Clouds", {"/invocations": Invocations}, (router,), health=("/ping",))


def vertex_ai(settings: Settings) -> RestProtocol:
    """Return the routes that Vertex AI sets. They precede all other routes, because they may match the same paths."""
    named = APIRouter()
    if settings.health_route:
        summary = "Vertex AI: readiness"
        named.add_api_route(settings.health_route, operations.readyz, summary=summary, responses=_REFUSED)
    endpoints = {settings.predict_route: VertexPredict} if settings.predict_route else {}
    health = (settings.health_route,) if settings.health_route else ()
    return RestProtocol("Clouds", endpoints, (named,), health)
