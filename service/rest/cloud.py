"""What clouds ask of a container: SageMaker's two routes, and Vertex AI's routes by environment variable.

Sources: SageMaker's "your own inference code", Vertex AI's "custom container requirements".
"""

from __future__ import annotations

from typing import Any, ClassVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, RootModel

from service.dataplane import DataPlane
from service.errors import Invalid, Malformed, RequestError
from service.rest import huggingface, tfserving
from service.rest.endpoint import Answer, Call, Endpoint, parse


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

    paths = ("/invocations",)
    summary = "SageMaker: invocations"
    tag = "Clouds"
    request_model = InvocationRequest
    response_model = InvocationResponse
    error_model = tfserving.TfServingError
    request_example: ClassVar[dict[str, Any]] = {"instances": ["A gripping, beautifully acted film."]}

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    async def respond(self, call: Call) -> Answer:
        body = _read(call, self._dataplane)
        if body.instances is not None:
            return await tfserving.predict(self._dataplane, call)
        if body.inputs is None:
            raise Invalid("the body: inputs or instances is needed")
        return await huggingface.classify(self._dataplane, body.inputs, body.parameters, flat=True)

    def refusal(self, error: RequestError, request_id: str) -> bytes:
        return tfserving.error_body(error, request_id)

    def describe(self, path: str) -> dict[str, Any]:
        operation = super().describe(path)
        operation["requestBody"]["content"]["text/plain"] = {"schema": {"type": "string"}}
        return operation


class VertexPredict(Endpoint):
    """Vertex AI: rows under `instances`, at the route that `AIP_PREDICT_ROUTE` names."""

    summary = "Vertex AI: predict"
    tag = "Clouds"
    request_model = tfserving.TfServingRequest
    response_model = tfserving.TfServingResponse
    error_model = tfserving.TfServingError
    request_example: ClassVar[dict[str, Any]] = {"instances": ["A gripping, beautifully acted film."]}

    def __init__(self, dataplane: DataPlane, path: str) -> None:
        self._dataplane = dataplane
        self.paths = (path,)

    async def respond(self, call: Call) -> Answer:
        return await tfserving.predict(self._dataplane, call)

    def refusal(self, error: RequestError, request_id: str) -> bytes:
        return tfserving.error_body(error, request_id)


def _read(call: Call, dataplane: DataPlane) -> InvocationRequest:
    media_type = call.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"text/plain":
        return parse(InvocationRequest, call.body, dataplane)
    try:
        return InvocationRequest(inputs=call.body.decode())
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8") from None


router = APIRouter(tags=[Invocations.tag])


@router.get(
    "/ping",
    summary="SageMaker: may traffic come here?",
    response_class=Response,
    responses={503: {"model": tfserving.TfServingError}},
)
async def ping(request: Request) -> Response:
    """200 while models answer, 503 once the service is shutting down."""
    dataplane: DataPlane = request.app.state.dataplane
    dataplane.check_ready()
    return Response()
