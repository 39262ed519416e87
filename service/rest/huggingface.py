"""What Hugging Face's clients send: `InferenceClient.text_classification`, and text-embeddings-inference's `/predict`.

The two disagree on one text: the first wants a list in a list, the second a list. So each has a route of its own.
Sources: huggingface_hub's inference client, text-embeddings-inference's router (types.rs, server.rs).
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any, ClassVar, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, RootModel

from service.classifier import Classifier, Prediction
from service.dataplane import DataPlane
from service.errors import Invalid, Malformed, Overloaded, RequestError, TooLarge, Unavailable
from service.rest.endpoint import Answer, Call, Endpoint, parse, to_json
from service.version import package_version


class Scored(BaseModel):
    """A label and its probability."""

    label: str
    score: float


class ClassificationParameters(BaseModel):
    """Parameters of a text classification."""

    model_config = ConfigDict(strict=True, extra="ignore")

    top_k: int | None = None
    function_to_apply: Literal["sigmoid", "softmax", "none"] | None = None


class ClassificationRequest(BaseModel):
    """One text or several."""

    model_config = ConfigDict(strict=True, extra="ignore")

    inputs: str | list[str]
    parameters: ClassificationParameters | None = None


class TeiRequest(BaseModel):
    """A text, a list of one text, or a batch of such lists."""

    model_config = ConfigDict(strict=True, extra="ignore")

    inputs: str | list[str] | list[list[str]]
    raw_scores: bool = False
    truncate: bool | None = None
    truncation_direction: str | None = None


class ScoredLists(RootModel[list[list[Scored]]]):
    """For every text its labels, the most probable first."""


class ScoredListOrLists(RootModel[list[Scored] | list[list[Scored]]]):
    """The labels of one text, or of every text of a batch."""


class HuggingFaceError(BaseModel):
    """Every refusal of these routes."""

    error: str
    error_type: str


#: text-embeddings-inference's words for what went wrong.
_ERROR_TYPES = {Overloaded.code: "overloaded", Unavailable.code: "unhealthy"}
_VALIDATION = (Malformed.code, Invalid.code, TooLarge.code)


def error_body(error: RequestError, request_id: str) -> bytes:
    """`{"error", "error_type"}`."""
    kind = "validation" if error.code in _VALIDATION else _ERROR_TYPES.get(error.code, "backend")
    return to_json({"error": error.message, "error_type": kind})


class _HuggingFace(Endpoint):
    tag = "Hugging Face"
    error_model = HuggingFaceError

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    def refusal(self, error: RequestError, request_id: str) -> bytes:
        return error_body(error, request_id)


class TextClassification(_HuggingFace):
    """What `InferenceClient.text_classification` sends; one list of labels for every text."""

    paths = ("/",)
    summary = "Hugging Face InferenceClient: text classification"
    request_model = ClassificationRequest
    response_model = ScoredLists
    request_example: ClassVar[dict[str, Any]] = {"inputs": "A gripping, beautifully acted film.", "parameters": {}}

    async def respond(self, call: Call) -> Answer:
        body = parse(ClassificationRequest, call.body)
        parameters = body.parameters or ClassificationParameters()
        classifier = self._dataplane.repository.get()
        _check_function(classifier, parameters.function_to_apply)
        if parameters.top_k is not None and parameters.top_k < 1:
            raise Invalid("parameters.top_k: must be at least 1")
        texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        predictions = await self._dataplane.predict(classifier, texts)
        return Answer(to_json([scored(classifier, each)[: parameters.top_k] for each in predictions]))


class TeiPredict(_HuggingFace):
    """text-embeddings-inference's `/predict`. A list of two texts is a pair there, which this model does not read."""

    paths = ("/predict",)
    summary = "text-embeddings-inference: predict"
    request_model = TeiRequest
    response_model = ScoredListOrLists
    request_example: ClassVar[dict[str, Any]] = {"inputs": "A gripping, beautifully acted film."}

    async def respond(self, call: Call) -> Answer:
        started = perf_counter()
        body = parse(TeiRequest, call.body)
        if body.raw_scores:
            raise Invalid("raw_scores: this model answers with probabilities only")
        if (body.truncation_direction or "left").lower() != "left":
            raise Invalid("truncation_direction: this model was trained on the last words of a text, which is 'left'")
        texts, single = _tei_texts(body.inputs)
        classifier = self._dataplane.repository.get()
        predictions = await self._dataplane.predict(classifier, texts)
        answers = [scored(classifier, each) for each in predictions]
        return Answer(
            to_json(answers[0] if single else answers),
            headers=(
                (b"x-compute-type", classifier.engine.device.encode()),
                (b"x-compute-characters", str(sum(map(len, texts))).encode()),
                (b"x-compute-tokens", str(sum(each.tokens for each in predictions)).encode()),
                (b"x-total-time", str(round((perf_counter() - started) * 1000)).encode()),
            ),
        )


def scored(classifier: Classifier, prediction: Prediction) -> list[dict[str, Any]]:
    """The labels of one text with their probabilities, the most probable first."""
    pairs = zip(classifier.labels, prediction.probabilities, strict=True)
    return [{"label": label, "score": score} for label, score in sorted(pairs, key=lambda pair: -pair[1])]


def _check_function(classifier: Classifier, function: str | None) -> None:
    """With two labels a sigmoid and a softmax of it are the same; anything else would need other scores than ours."""
    fits = {None, "softmax"} | ({"sigmoid"} if len(classifier.labels) == 2 else set())
    if function not in fits:
        raise Invalid(f"parameters.function_to_apply: {function!r} is not what this model ends in")


def _tei_texts(inputs: str | list[str] | list[list[str]]) -> tuple[Sequence[str], bool]:
    """The texts, and whether they are one text on its own rather than a batch."""
    if isinstance(inputs, str):
        return [inputs], True
    if not inputs:
        raise Invalid("inputs: at least one text is needed")
    if all(isinstance(each, str) for each in inputs):
        if len(inputs) > 1:
            raise Invalid("inputs: a list of texts is a pair, which this model does not read; a batch is [[text], …]")
        return [str(inputs[0])], True
    texts = []
    for number, row in enumerate(inputs):
        if not isinstance(row, list) or len(row) != 1:
            raise Invalid(f"inputs.{number}: a row of a batch is a list of one text")
        texts.append(row[0])
    return texts, False


router = APIRouter(tags=[_HuggingFace.tag])


@router.get("/info", summary="text-embeddings-inference: the model and its limits")
async def info(request: Request) -> dict[str, Any]:
    """The model and the limits of a request."""
    dataplane: DataPlane = request.app.state.dataplane
    classifier = dataplane.repository.get()
    manifest, settings = classifier.manifest, dataplane.settings
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
        "max_concurrent_requests": settings.max_pending_texts,
        "max_input_length": manifest.max_tokens,
        "max_batch_tokens": settings.max_batch_texts * manifest.max_tokens,
        "max_client_batch_size": settings.max_batch_texts,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": package_version(),
    }


@router.get("/health", summary="text-embeddings-inference: may traffic come here?", response_class=Response)
async def health(request: Request) -> Response:
    """200 while models answer, 503 once the service is shutting down."""
    dataplane: DataPlane = request.app.state.dataplane
    if not dataplane.ready:
        raise Unavailable("not ready")
    return Response()
