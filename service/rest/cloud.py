"""What clouds ask of a container: SageMaker's two routes, and Vertex AI's routes by environment variable.

Sources: SageMaker's "your own inference code", Vertex AI's "custom container requirements".
"""

from __future__ import annotations

from typing import Any, ClassVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, RootModel

from sentiment_conv1d.service.errors import Invalid, Malformed
from sentiment_conv1d.service.inference.dataplane import DataPlane
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.readiness import Readiness
from sentiment_conv1d.service.rest import huggingface, tfserving
from sentiment_conv1d.service.rest.endpoint import Answer, Call, Endpoint, RestProtocol, parse, plain_error_body

PROTOCOL = RestProtocol("Clouds", tfserving.TfServingError, plain_error_body)


class InvocationRequest(BaseModel):
    """Texts under `inputs`, as Hugging Face's containers take them, or under `instances`, as TensorFlow's do."""

    model_config = ConfigDict(strict=True, extra="ignore")

    inputs: huggingface.Texts = None
    parameters: huggingface.ClassificationParameters | None = None
    instances: list[Any] | None = None


class InvocationResponse(
    RootModel[list[huggingface.Scored] | list[list[huggingface.Scored]] | tfserving.TfServingResponse]
):
    """The labels of one text or of each of several for `inputs` and plain text, `predictions` for `instances`."""


class Invocations(Endpoint):
    """SageMaker: `inputs` with one text or several, `instances` with rows, or the text itself as `text/plain`."""

    protocol = PROTOCOL
    paths = ("/invocations",)
    summary = "SageMaker: invocations"
    request_model = InvocationRequest
    response_model = InvocationResponse
    request_example: ClassVar[dict[str, Any]] = {"instances": ["A gripping, beautifully acted film."]}

    async def respond(self, call: Call) -> Answer:
        body = _read(call, self.dataplane)
        if body.instances is not None:
            return await tfserving.predict(self.dataplane, self.models, call)
        if body.inputs is None:
            raise Invalid("the body: inputs or instances is needed")
        return await huggingface.classify(self.dataplane, self.models, body.inputs, body.parameters, flat=True)

    def describe(self, path: str) -> dict[str, Any]:
        operation = super().describe(path)
        operation["requestBody"]["content"]["text/plain"] = {"schema": {"type": "string"}}
        return operation


class VertexPredict(Endpoint):
    """Vertex AI: rows under `instances`, at the route that `AIP_PREDICT_ROUTE` names."""

    protocol = PROTOCOL
    summary = "Vertex AI: predict"
    request_model = tfserving.TfServingRequest
    response_model = tfserving.TfServingResponse
    request_example: ClassVar[dict[str, Any]] = {"instances": ["A gripping, beautifully acted film."]}

    def __init__(self, dataplane: DataPlane, models: LoadedModels, path: str) -> None:
        super().__init__(dataplane, models)
        self.paths = (path,)

    async def respond(self, call: Call) -> Answer:
        return await tfserving.predict(self.dataplane, self.models, call)


def _read(call: Call, dataplane: DataPlane) -> InvocationRequest:
    media_type = call.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"text/plain":
        return parse(InvocationRequest, call.body, dataplane)
    try:
        return InvocationRequest(inputs=call.body.decode())
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8") from None


router = APIRouter(tags=[PROTOCOL.tag])


@router.get(
    "/ping",
    summary="SageMaker: may traffic come here?",
    response_class=Response,
    responses={503: {"model": tfserving.TfServingError}},
)
async def ping(request: Request) -> Response:
    """200 while models answer, 503 once the service is shutting down."""
    readiness: Readiness = request.app.state.readiness
    readiness.check()
    return Response()
