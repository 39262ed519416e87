"""Hugging Face's protocols: `InferenceClient.text_classification`, and `/predict` of text-embeddings-inference.

Their answers for a single text differ: the first is a list in a list, and the second is a list. Each therefore has its
own route.
Sources: huggingface_hub's inference client, text-embeddings-inference's router (types.rs, server.rs).
"""

from __future__ import annotations

from time import perf_counter
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, RootModel, TypeAdapter, WithJsonSchema

from sentiment_conv1d.service.errors import DeadlineExceeded, Invalid, Overloaded, RequestError, Unavailable
from sentiment_conv1d.service.inference.classifier import Classifier
from sentiment_conv1d.service.inference.dataplane import DataPlane
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.prediction import Prediction
from sentiment_conv1d.service.rest.endpoint import Endpoint, EndpointRequest, LenientBody, model_headers, parse, to_json
from sentiment_conv1d.service.rest.protocol import RestProtocol
from sentiment_conv1d.service.rest.server.request import Answer
from sentiment_conv1d.service.rest.state import state_of
from sentiment_conv1d.service.version import package_version

#: Checked by hand up to the first fault: pydantic would report all faults, and a million take seconds.
Texts = Annotated[Any, WithJsonSchema(TypeAdapter(str | list[str]).json_schema())]
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


def error_body(error: RequestError, request_id: str) -> bytes:
    """`{"error", "error_type"}`."""
    return to_json({"error": error.message, "error_type": _ERROR_TYPES.get(error.code, "validation")})


class TextClassification(Endpoint):
    """Classify the texts of `InferenceClient.text_classification`. The answer has a list of labels for each text."""

    summary = "Hugging Face InferenceClient: text classification"
    request_model = ClassificationRequest
    response_model = ScoredLists
    request_example: ClassVar[dict[str, Any]] = {"inputs": "A gripping, beautifully acted film.", "parameters": {}}

    async def respond(self, request: EndpointRequest) -> Answer:
        body = parse(ClassificationRequest, request.body, self.dataplane)
        return await classify(self.dataplane, self.models, body.inputs, body.parameters)


class TeiPredict(Endpoint):
    """`/predict` of text-embeddings-inference, where a list of two texts is a pair. Pairs are not supported."""

    summary = "text-embeddings-inference: predict"
    request_model = TeiRequest
    response_model = ScoredListOrLists
    request_example: ClassVar[dict[str, Any]] = {"inputs": "A gripping, beautifully acted film."}

    async def respond(self, request: EndpointRequest) -> Answer:
        started = perf_counter()
        body = parse(TeiRequest, request.body, self.dataplane)
        if (body.truncation_direction or "left").lower() != "left":
            raise Invalid("truncation_direction: this model was trained on the last words of a text, which is 'left'")
        texts, single = _tei_texts(body.inputs)
        classifier = self.models.get(texts=texts)
        predictions = await self.dataplane.predict(classifier, texts)
        if body.truncate is False and any(each.truncated for each in predictions):
            longest = max(each.tokens for each in predictions)
            raise Invalid(
                f"inputs: {longest} tokens; the model reads {classifier.manifest.max_tokens}, truncate is false"
            )
        answers = [scored(classifier, each, raw=body.raw_scores) for each in predictions]
        return Answer(
            to_json(answers[0] if single else answers),
            headers=(
                *model_headers(classifier.manifest),
                (b"x-compute-type", classifier.engine.device.encode()),
                (b"x-compute-characters", str(sum(map(len, texts))).encode()),
                (b"x-compute-tokens", str(sum(each.tokens for each in predictions)).encode()),
                (b"x-total-time", str(round((perf_counter() - started) * 1000)).encode()),
            ),
        )


async def classify(
    dataplane: DataPlane,
    models: LoadedModels,
    inputs: Any,
    parameters: ClassificationParameters | None,
    *,
    flat: bool = False,
) -> Answer:
    """Return the labels of every text, the most probable first.

    With `flat`, a single text gets its list directly, not in a list of one.
    Raises `RequestError`.
    """
    parameters = parameters or ClassificationParameters()
    texts = _texts(inputs)
    classifier = models.get(texts=texts)
    # A sigmoid over two labels is a softmax as well; over more it would need other scores than ours.
    if parameters.function_to_apply == "sigmoid" and len(classifier.labels) > 2:
        raise Invalid("parameters.function_to_apply: this model ends in a softmax, not in a sigmoid")
    predictions = await dataplane.predict(classifier, texts)
    answers = [scored(classifier, each)[: parameters.top_k] for each in predictions]
    document = answers[0] if flat and isinstance(inputs, str) else answers
    return Answer(to_json(document), headers=model_headers(classifier.manifest))


def scored(classifier: Classifier, prediction: Prediction, *, raw: bool = False) -> list[dict[str, Any]]:
    """Return the labels of a text with their probabilities, or logits if `raw`, the most probable first."""
    scores = prediction.logits(classifier.manifest.activation) if raw else prediction.probabilities
    pairs = zip(classifier.labels, scores, strict=True)
    return [{"label": label, "score": score} for label, score in sorted(pairs, key=lambda pair: -pair[1])]


def _texts(inputs: Any) -> list[str]:
    texts = [inputs] if isinstance(inputs, str) else inputs
    if not isinstance(texts, list):
        raise Invalid("inputs: a text or a list of texts is needed")
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise Invalid(f"inputs.{number}: a text is needed")
    return texts


def _tei_texts(inputs: Any) -> tuple[list[str], bool]:
    """Return the texts, and whether the request has a single text instead of a list."""
    if not isinstance(inputs, list) or not inputs or isinstance(inputs[0], str):
        texts = _texts(inputs)
        if len(texts) > 1:
            raise Invalid("inputs: a list of texts is a pair, which this model does not read; a batch is [[text], …]")
        return texts, True
    texts = []
    for number, row in enumerate(inputs):
        if not isinstance(row, list) or len(row) != 1 or not isinstance(row[0], str):
            raise Invalid(f"inputs.{number}: a row of a batch is a list of one text")
        texts.append(row[0])
    return texts, False


router = APIRouter()


@router.get("/info", summary="text-embeddings-inference: the model and its limits")
async def info(request: Request) -> dict[str, Any]:
    """Describe the model and the limits of a request."""
    classifier = state_of(request).models.get()
    manifest, settings = classifier.manifest, state_of(request).settings
    labels = {label: number for number, label in enumerate(manifest.labels)}
    return {
        "model_id": manifest.name,
        "model_sha": str(manifest.version),
        "model_dtype": "float32",
        "model_type": {
            "classifier": {
                "id2label": {str(number): label for label, number in labels.items()},
                "label2id": labels,
            }
        },
        "max_concurrent_requests": settings.max_concurrent_requests,
        "max_input_length": manifest.max_tokens,
        "max_batch_tokens": settings.max_batch_texts * manifest.max_tokens,
        "max_client_batch_size": settings.max_batch_texts,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": package_version(),
    }


@router.get(
    "/health",
    summary="text-embeddings-inference: readiness",
    response_class=Response,
    responses={503: {"model": HuggingFaceError}},
)
async def health(request: Request) -> Response:
    """Return 200 while the service answers requests, and 503 during shutdown."""
    state_of(request).readiness.check()
    return Response()


PROTOCOL = RestProtocol(
    "Hugging Face",
    {"/": TextClassification, "/predict": TeiPredict},
    (router,),
    health=("/health",),
    error_model=HuggingFaceError,
    error_body=error_body,
)
