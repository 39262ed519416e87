"""The classification API of vLLM and SGLang.

Source: vLLM's OpenAI-compatible server, "Classification API", and its protocol of errors; SGLang's `/v1/classify`.
"""

from __future__ import annotations

from time import time
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, Field, TypeAdapter, WithJsonSchema

from sentiment_conv1d.service.errors import Invalid, RequestError
from sentiment_conv1d.service.rest.endpoint import Endpoint, EndpointRequest, LenientBody, model_headers, parse, to_json
from sentiment_conv1d.service.rest.protocol import RestProtocol
from sentiment_conv1d.service.rest.server.request import Answer
from sentiment_conv1d.service.telemetry.request_context import current_id

#: Checked by hand up to the first fault: pydantic would report all faults, and a million take seconds.
_Input = Annotated[Any, WithJsonSchema(TypeAdapter(str | list[str]).json_schema())]


class ClassifyRequest(LenientBody):
    """One text or several."""

    input: _Input
    model: str = ""
    use_activation: bool | None = Field(None, description="False: `probs` are logits.")


class Classified(BaseModel):
    """The label of one text."""

    index: int
    label: str
    probs: list[float] = Field(description="In the order of the model's labels.")
    num_classes: int


class Usage(BaseModel):
    """Tokens of all texts, before truncation."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int = 0


class ClassifyResponse(BaseModel):
    """The labels of the texts, in their order."""

    id: str
    object: str
    created: int
    model: str
    data: list[Classified]
    usage: Usage


class VllmError(BaseModel):
    """The error. `code` is the HTTP status."""

    message: str
    type: str
    param: str | None
    code: int


class VllmErrorResponse(BaseModel):
    """An error of these routes."""

    error: VllmError


class Classify(Endpoint):
    """Return the label of each text, and the probabilities of all labels."""

    summary = "vLLM and SGLang: classify"
    request_model = ClassifyRequest
    response_model = ClassifyResponse
    request_example: ClassVar[dict[str, Any]] = {
        "model": "imdb-cnn",
        "input": ["A gripping, beautifully acted film.", "Two dull hours."],
    }

    async def respond(self, request: EndpointRequest) -> Answer:
        body = parse(ClassifyRequest, request.body, self.dataplane)
        texts = _texts(body.input)
        classifier = self.models.get(body.model, texts=texts)
        manifest = classifier.manifest
        predictions = await self.dataplane.predict(classifier, texts)
        tokens = sum(each.tokens for each in predictions)
        document = {
            "id": f"classify-{current_id()}",
            "object": "list",
            "created": int(time()),
            "model": manifest.name,
            "data": [
                {
                    "index": index,
                    "label": each.label,
                    "probs": each.logits(manifest.activation) if body.use_activation is False else each.probabilities,
                    "num_classes": len(manifest.labels),
                }
                for index, each in enumerate(predictions)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
        }
        return Answer(to_json(document), headers=model_headers(manifest))


class ClassifyV1(Classify):
    """Return the same as `/classify`, at the path that SGLang and newer clients use."""


def _texts(given: Any) -> list[str]:
    texts = given if isinstance(given, list) else [given]
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            place = f"input.{number}" if isinstance(given, list) else "input"
            raise Invalid(f"{place}: a text is needed; ids of another tokenizer are not read")
    return texts


def error_body(error: RequestError, request_id: str) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`."""
    status = PROTOCOL.status(error)
    kind = f"{status.phrase.title().replace(' ', '')}Error"
    return to_json({"error": {"message": error.message, "type": kind, "param": None, "code": status.value}})


PROTOCOL = RestProtocol(
    "vLLM and SGLang",
    {"/classify": Classify, "/v1/classify": ClassifyV1},
    error_model=VllmErrorResponse,
    error_body=error_body,
)
