"""The routes that clouds ask of a container: SageMaker's two, and Vertex AI's, which environment variables name.

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
    """Texts under `inputs`, as Hugging Face's containers take them, or under `instances`, as TensorFlow's do."""

    inputs: huggingface.Texts = None
    parameters: huggingface.ClassificationParameters | None = None
    instances: list[Any] | None = None


class InvocationResponse(
    RootModel[list[huggingface.Scored] | list[list[huggingface.Scored]] | tfserving.TfServingResponse]
):
    """The labels of one text or of each of several for `inputs` and plain text, `predictions` for `instances`."""


class Invocations(Endpoint):
    """SageMaker: `inputs` with one text or several, `instances` with rows, or the text itself as `text/plain`."""

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
    """Vertex AI: rows under `instances`, at the route that `AIP_PREDICT_ROUTE` names."""

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


@router.get("/ping", summary="SageMaker: may traffic come here?", response_class=Response, responses=_REFUSED)
async def ping(request: Request) -> Response:
    """200 while models answer, 503 once the service is shutting down."""
    state_of(request).readiness.check()
    return Response()


SAGEMAKER = RestProtocol("Clouds", {"/invocations": Invocations}, (router,), health=("/ping",))


def vertex_ai(settings: Settings) -> RestProtocol:
    """The routes that Vertex AI names. They come before all others, which they may look like."""
    named = APIRouter()
    if settings.health_route:
        summary = "Vertex AI: may traffic come here?"
        named.add_api_route(settings.health_route, operations.readyz, summary=summary, responses=_REFUSED)
    endpoints = {settings.predict_route: VertexPredict} if settings.predict_route else {}
    health = (settings.health_route,) if settings.health_route else ()
    return RestProtocol("Clouds", endpoints, (named,), health)
