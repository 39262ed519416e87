"""Hugging Face's protocols: `InferenceClient.text_classification`, and `/predict` of text-embeddings-inference.

Their answers for a single text differ: the first is a list in a list, and the second is a list. Each therefore has its
own route.
Sources: huggingface_hub's inference client, text-embeddings-inference's router (types.rs, server.rs).
"""

from __future__ import annotations

from time import perf_counter
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import BaseModel, Field, RootModel, TypeAdapter, WithJsonSchema

from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.server.errors import DeadlineExceeded, Overloaded, RequestError, Unavailable
from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.service.errors import Invalid
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
from sentiment_conv1d.service.rest.protocol import PlainProtocol, state_of
from sentiment_conv1d.service.scheduling.work import Work
from sentiment_conv1d.service.telemetry.request_context import RequestContext
from sentiment_conv1d.service.version import package_version

#: Checked by `_tei_texts` for the same reason as `Texts`.
_TeiTexts = Annotated[Any, WithJsonSchema(TypeAdapter(str | list[str] | list[list[str]]).json_schema())]


class Scored(BaseModel):
    """A label and its probability."""

    label: str
    score: float


class ClassificationParameters(LenientBody):
    """Parameters of a text classification."""

    top_k: int | None = Field(None, ge=1)
    function_to_apply: Literal["sigmoid", "softmax"] | None = None


class ClassificationRequest(LenientBody):
    """One text or several."""

    inputs: Texts
    parameters: ClassificationParameters | None = None


class TeiRequest(LenientBody):
    """A text, a list of one text, or a batch of such lists."""

    inputs: _TeiTexts
    raw_scores: bool = False
    truncate: bool | None = None
    truncation_direction: str | None = None


class ScoredLists(RootModel[list[list[Scored]]]):
    """For every text its labels, the most probable first."""


class ScoredListOrLists(RootModel[list[Scored] | list[list[Scored]]]):
    """The labels of one text, or of every text of a batch."""


class HuggingFaceError(BaseModel):
    """An error of these routes."""

    error: str
    error_type: str


#: The error types of text-embeddings-inference; all others are the caller's fault, `validation`.
_ERROR_TYPES = {
    Overloaded.code: "overloaded",
    Unavailable.code: "unhealthy",
    DeadlineExceeded.code: "backend",
    RequestError.code: "backend",
}


class HuggingFace(PlainProtocol):
    """The routes, whose errors are `{"error", "error_type"}`."""

    error_model = HuggingFaceError

    def error_body(self, error: RequestError, request_id: str) -> bytes:
        return to_json({"error": error.message, "error_type": _ERROR_TYPES.get(error.code, "validation")})


PROTOCOL = HuggingFace("Hugging Face")
PROTOCOL.probe("/health", "text-embeddings-inference: readiness")


@PROTOCOL.endpoint(
    "/",
    "Hugging Face InferenceClient: text classification",
    ClassificationRequest,
    ScoredLists,
    {"inputs": EXAMPLE, "parameters": {}},
)
def text_classification(state: ServiceState, request: EndpointRequest) -> Work[Answer]:
    """Classify the texts of `InferenceClient.text_classification`. The answer has a list of labels for each text."""
    body = parse(ClassificationRequest, request.body, state.dataplane)
    return classify(state, request.context, body.inputs, body.parameters)


@PROTOCOL.endpoint("/predict", "text-embeddings-inference: predict", TeiRequest, ScoredListOrLists, {"inputs": EXAMPLE})
def tei_predict(state: ServiceState, request: EndpointRequest) -> Work[Answer]:
    """`/predict` of text-embeddings-inference, where a list of two texts is a pair. Pairs are not supported."""
    started = perf_counter()
    body = parse(TeiRequest, request.body, state.dataplane)
    texts, single = _tei_texts(body.inputs)
    classifier = state.models.get()
    manifest = classifier.manifest
    side, kept = ("right", "first") if classifier.tokenizer.keeps_first else ("left", "last")
    if (body.truncation_direction or side).lower() != side:
        raise Invalid(f"truncation_direction: must be {side!r}, because this model reads the {kept} words of a text")

    def answer(predictions: list[Prediction]) -> Answer:
        if body.truncate is False and any(each.truncated for each in predictions):
            longest = max(each.tokens for each in predictions)
            raise Invalid(f"inputs: {longest} tokens, but the model reads {manifest.max_tokens}, and truncate is false")
        answers = [scored(classifier, each, raw=body.raw_scores) for each in predictions]
        return Answer(
            to_json(answers[0] if single else answers),
            headers=(
                *model_headers(manifest),
                (b"x-compute-type", classifier.engine.device.encode()),
                (b"x-compute-characters", str(sum(map(len, texts))).encode()),
                (b"x-compute-tokens", str(sum(each.tokens for each in predictions)).encode()),
                (b"x-total-time", str(round((perf_counter() - started) * 1000)).encode()),
            ),
        )

    return state.dataplane.read_texts(request.context, classifier, texts, answer)


@PROTOCOL.get("/info", summary="text-embeddings-inference: the model and its limits")
async def info(request: Request) -> dict[str, Any]:
    """Describe the model and the limits of a request."""
    classifier = state_of(request).models.get()
    manifest, settings = classifier.manifest, state_of(request).settings
    labels = dict(enumerate(manifest.labels))
    return {
        "model_id": manifest.name,
        "model_sha": str(manifest.version),
        "model_dtype": "float32",
        "model_type": {
            "classifier": {"id2label": labels, "label2id": {label: number for number, label in labels.items()}}
        },
        "max_concurrent_requests": settings.max_concurrent_requests,
        "max_input_length": manifest.max_tokens,
        "max_batch_tokens": settings.max_batch_texts * manifest.max_tokens,
        "max_client_batch_size": settings.max_batch_texts,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": package_version(),
    }


def classify(
    state: ServiceState,
    context: RequestContext,
    inputs: Any,
    parameters: ClassificationParameters | None,
    *,
    flat: bool = False,
) -> Work[Answer]:
    """Return the work that answers with the labels of every text, the most probable first.

    With `flat`, a single text gets its list directly, not in a list of one.
    Raises `RequestError`.
    """
    parameters = parameters or ClassificationParameters()
    texts = texts_of("inputs", inputs)
    classifier = state.models.get()
    # A sigmoid over two labels is a softmax as well; otherwise, the other function would need other scores than ours.
    manifest = classifier.manifest
    if manifest.outputs > 1 and parameters.function_to_apply not in (None, manifest.activation):
        one, other = (
            ("softmax", "sigmoid") if manifest.activation == "softmax" else ("sigmoid for each label", "softmax")
        )
        raise Invalid(f"parameters.function_to_apply: this model ends in a {one}, not in a {other}")

    def answer(predictions: list[Prediction]) -> Answer:
        answers = [scored(classifier, each)[: parameters.top_k] for each in predictions]
        document = answers[0] if flat and isinstance(inputs, str) else answers
        return Answer(to_json(document), headers=model_headers(classifier.manifest))

    return state.dataplane.read_texts(context, classifier, texts, answer)


def scored(classifier: Classifier, prediction: Prediction, *, raw: bool = False) -> list[dict[str, Any]]:
    """Return the labels of a text with their probabilities, or logits if `raw`, the most probable first."""
    scores = prediction.logits(classifier.manifest.activation) if raw else prediction.probabilities
    pairs = zip(classifier.labels, scores, strict=True)
    return [{"label": label, "score": score} for label, score in sorted(pairs, key=lambda pair: -pair[1])]


def _tei_texts(inputs: Any) -> tuple[list[str], bool]:
    """Return the texts, and whether the request has a single text instead of a list."""
    if not isinstance(inputs, list) or not inputs or isinstance(inputs[0], str):
        texts = texts_of("inputs", inputs)
        if len(texts) > 1:
            raise Invalid("inputs: a list of texts is a pair, which this model does not read; a batch is [[text], …]")
        return texts, True
    texts = []
    for number, row in enumerate(inputs):
        if not isinstance(row, list) or len(row) != 1 or not isinstance(row[0], str):
            raise Invalid(f"inputs.{number}: a row of a batch is a list of one text")
        texts.append(row[0])
    return texts, False
