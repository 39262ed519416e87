"""What clouds ask of a container: SageMaker's two routes, and Vertex AI's routes by environment variable.

Sources: SageMaker's "your own inference code", Vertex AI's "custom container requirements".
"""

from __future__ import annotations

from typing import Any, ClassVar

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from service.dataplane import DataPlane
from service.errors import Invalid, Malformed, RequestError, Unavailable
from service.rest import tfserving
from service.rest.endpoint import Answer, Call, Endpoint, to_json
from service.rest.huggingface import scored


class InvocationRequest(BaseModel):
    """Texts under `inputs`, as Hugging Face's containers take them, or under `instances`, as TensorFlow's do."""

    model_config = ConfigDict(extra="ignore")

    inputs: str | list[str] | None = None
    instances: list[Any] | None = None


class InvocationResponse(BaseModel):
    """What goes with the form of the request."""

    model_config = ConfigDict(extra="allow")


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
        if call.headers.get(b"content-type", b"").startswith(b"text/plain"):
            return await self._labels(_plain(call.body), single=True)
        try:
            document = orjson.loads(call.body)
        except orjson.JSONDecodeError as error:
            raise Malformed(f"the body is not valid JSON: {error}") from None
        if isinstance(document, dict) and "instances" in document:
            return await tfserving.predict(self._dataplane, call)
        if not isinstance(document, dict) or "inputs" not in document:
            raise Invalid("the body: an object with inputs or instances is needed")
        inputs = document["inputs"]
        single = isinstance(inputs, str)
        texts = [inputs] if single else inputs
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise Invalid("inputs: a text or a list of texts is needed")
        return await self._labels(texts, single)

    def refusal(self, error: RequestError, request_id: str) -> bytes:
        return to_json({"error": error.message})

    async def _labels(self, texts: list[str], single: bool) -> Answer:
        """The labels of one text, most probable first, or of each of several."""
        classifier = self._dataplane.repository.get()
        predictions = await self._dataplane.predict(classifier, texts)
        answers = [scored(classifier, each) for each in predictions]
        return Answer(to_json(answers[0] if single else answers))


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
        return to_json({"error": error.message})


def _plain(body: bytes) -> list[str]:
    try:
        return [body.decode()]
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8") from None


router = APIRouter(tags=[Invocations.tag])


@router.get("/ping", summary="SageMaker: may traffic come here?", response_class=Response)
async def ping(request: Request) -> Response:
    """200 while models answer, 503 once the service is shutting down."""
    dataplane: DataPlane = request.app.state.dataplane
    if not dataplane.ready:
        raise Unavailable("not ready")
    return Response()
