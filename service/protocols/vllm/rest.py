"""The classification API of vLLM and SGLang.

Source: vLLM's OpenAI-compatible server, "Classification API", and its protocol of errors; SGLang's `/v1/classify`.
"""

from __future__ import annotations

from time import time

from pydantic import BaseModel, Field

from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.server.errors import RequestError
from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.rest.endpoint import (
    EXAMPLE,
    EndpointRequest,
    LenientBody,
    Texts,
    model_headers,
    parse,
    texts_of,
    to_json,
)
from sentiment_conv1d.service.rest.protocol import PlainProtocol
from sentiment_conv1d.service.scheduling.work import Work


class ClassifyRequest(LenientBody):
    """One text or several."""

    input: Texts
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


class Vllm(PlainProtocol):
    """The routes, whose errors are `{"error": {"message", "type", "param", "code"}}`."""

    error_model = VllmErrorResponse

    def error_body(self, error: RequestError, request_id: str) -> bytes:
        status = self.status(error)
        kind = f"{status.phrase.title().replace(' ', '')}Error"
        return to_json({"error": {"message": error.message, "type": kind, "param": None, "code": status.value}})


PROTOCOL = Vllm("vLLM and SGLang")

_CLASSIFY = (
    "vLLM and SGLang: classify",
    ClassifyRequest,
    ClassifyResponse,
    {"model": "imdb-cnn", "input": [EXAMPLE, "Two dull hours."]},
)


@PROTOCOL.endpoint("/classify", *_CLASSIFY)
@PROTOCOL.endpoint("/v1/classify", *_CLASSIFY)
def classify(state: ServiceState, request: EndpointRequest) -> Work[Answer]:
    """Return the label of each text, and the probabilities of all labels.

    SGLang and newer clients use `/v1/classify`.
    """
    body = parse(ClassifyRequest, request.body, state.dataplane)
    texts = texts_of("input", body.input, "a text is needed; ids of another tokenizer are not read")
    classifier = state.models.get(body.model)
    manifest = classifier.manifest
    identity = f"classify-{request.context.id}"

    def answer(predictions: list[Prediction]) -> Answer:
        tokens = sum(each.tokens for each in predictions)
        document = {
            "id": identity,
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

    return state.dataplane.read_texts(request.context, classifier, texts, answer)
