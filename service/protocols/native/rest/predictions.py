"""The native routes: predictions for a text or a batch of texts, and descriptions of the loaded models."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import orjson
from fastapi import Request
from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, WithJsonSchema
from pydantic_core import PydanticCustomError

from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.manifest import Metrics, ParityCheck, Sample
from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.prediction import Prediction, prediction_body
from sentiment_conv1d.inference.sentences import sentences_body
from sentiment_conv1d.server.errors import RequestError
from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.service.errors import Invalid
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.protocols.tfserving.description import model_status
from sentiment_conv1d.service.rest.endpoint import EXAMPLE, EndpointRequest, StrictBody, parse, to_json
from sentiment_conv1d.service.rest.protocol import RestProtocol, state_of
from sentiment_conv1d.service.scheduling.dataplane import INLINE_CHARACTERS, DataPlane, unanswered
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.scheduling.work import Work


def _version(given: Any) -> str:
    """Return a version as the models are found by it. In JSON, a number can be an integer, and a label is a string."""
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise PydanticCustomError("version_type", "Input should be an integer or a string")
    return str(given)


class ModelRequest(StrictBody):
    """A body that can name a model and its version."""

    model: str = Field("", description="A model by its name; without it, the default one.")
    version: Annotated[str, BeforeValidator(_version), WithJsonSchema(TypeAdapter(int | str).json_schema())] = Field(
        "",
        description="A version that is served, as an integer or a string, or its label; without it, the one labelled "
        "`default`, or the newest.",
    )


class DecisionRequest(ModelRequest):
    """A body that can change the threshold and the form of the answer."""

    threshold: float | None = Field(
        None, gt=0, lt=1, description="The probability of the second label from which on it is the label; two labels."
    )
    top_k: int | None = Field(None, ge=1, description="Return only so many of the most probable labels, highest first.")
    logits: bool = Field(False, description="Return the logits too.")


class PredictRequest(DecisionRequest):
    """One review."""

    hints: ClassVar = {"texts": "/v1/predict takes one review in `text`, and /v1/predict_batch several in `texts`"}
    text: str = Field(description="The review. An empty one is valid and read as its start id alone.")
    sentences: bool = Field(
        False, description="Return the sentences too, with their own predictions and shares in the logit of the text."
    )


class PredictBatchRequest(DecisionRequest):
    """Several reviews."""

    hints: ClassVar = {"text": "/v1/predict_batch takes reviews in `texts`, and /v1/predict one review in `text`"}
    # Elements are checked by hand, because with `on_error` a bad one is not an error of the body.
    texts: Annotated[list[Any], WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1})] = Field(
        description="The reviews, at least one."
    )
    on_error: Literal["fail", "report"] = Field(
        "fail", description="Whether a bad text fails the request, or is listed in `errors` while others are answered."
    )


class ModelReference(BaseModel):
    """The model that answered."""

    name: str
    version: str


class PredictionBody(BaseModel):
    """The answer for one review."""

    label: str
    score: float = Field(description="Probability of `label`.", ge=0, le=1)
    probabilities: dict[str, float] = Field(description="Probability of every label.")
    tokens: int = Field(description="Ids of the whole review, the start id included.", ge=0)
    unknown_tokens: Annotated[int, Field(ge=0)] | None = Field(
        description="Of those, words the model does not know; null if its tokenizer finds parts of words."
    )
    truncated: bool = Field(description="Whether the model read only a part of the review.")
    confident: bool | None = Field(
        description="Whether the model knows at least half of the words, and one, and `score` reaches "
        "`decision.confident_from` of the label; null if that has no limit for the label."
    )
    labels: list[str] = Field(
        [],
        description="The labels whose probability reaches their threshold in `decision.thresholds`, possibly none; "
        "only of models that give a text several labels.",
    )
    model: ModelReference
    logits: dict[str, float] = Field({}, description="With `logits`, the logit of every returned label.")


class SentenceBody(PredictionBody):
    """A sentence, with its prediction as a text of its own."""

    text: str
    start: int = Field(description="Offset of its first character in the text that was sent.")
    end: int = Field(description="Offset after its last character.")
    share: float = Field(description="The sum of the shares of its words in the logit of the whole text.")


class SentencesBody(BaseModel):
    """With `sentences`: the sentences of the text, and which of them decided."""

    sentences: list[SentenceBody] = Field([], description="With `sentences`, the sentences in their order.")
    decided_by: int | None = Field(
        None, description="With `sentences`, the index of the one that adds most to the label; null if none does."
    )


class PredictResponse(PredictionBody, SentencesBody):
    """The answer for one review. `logit` = `bias` + `padding` + the shares of all sentences."""

    logit: float = Field(0.0, description="With `sentences`, the logit of `/v1/explain` for the label.")
    bias: float = Field(0.0, description="With `sentences`, the part of the logit that no word has.")
    padding: float = Field(0.0, description="With `sentences`, the share of pad ids and start id.")


class TextError(BaseModel):
    """Why a text of a batch has no prediction."""

    index: int = Field(description="The position of the text in the request, from 0.")
    code: str
    message: str


class PredictBatchResponse(BaseModel):
    """Predictions in the order of the texts."""

    predictions: list[PredictionBody | None]
    errors: list[TextError] = Field([], description='With `"on_error": "report"`, the texts whose prediction is null.')


class TokenizerDescription(BaseModel):
    """How texts become the ids that a model reads."""

    padding_id: int
    start_id: int | None = Field(description="The id before the first word of every text; null if there is none.")
    unknown_id: int | None = Field(
        description="The id of unknown words; null if unknown words are dropped, or there are none."
    )
    counts_unknown: bool = Field(description="Whether `unknown_tokens` counts unknown words, or is null.")
    padding_side: Literal["left", "right"] = Field(description="Where a short text is padded.")
    truncation_side: Literal["left", "right"] = Field(description="Where a long text is cut.")


class ModelDescription(BaseModel):
    """A loaded model."""

    name: str
    version: str
    version_labels: list[str] = Field(description="The labels of the version, by which requests can name it.")
    labels: list[str]
    activation: str
    max_tokens: int
    vocabulary_size: int
    tokenizer: TokenizerDescription
    execution_provider: str
    created: str = Field(description="UTC, ISO 8601.")
    precision: str = Field(description="What the convolutions are computed in.")
    convolution_widths: list[int] = Field(description="Empty where the model is not of the Conv1D family.")
    configuration: dict[str, Any] | None = Field(description="How it was trained; null for a model trained elsewhere.")
    metrics: Metrics | None
    decision: DecisionRule = Field(description="How the label follows from the probabilities.")
    samples: list[Sample] = Field(description="Texts to try, which its trainer published.")
    parity: list[ParityCheck] = Field(description="Comparisons made before it was published.")
    text_parity: str = Field(description="What shows that texts get the ids that the model was trained with.")
    unverified: bool = Field(description="Whether nothing shows it: the model was exported with --unverified.")
    needs_words: bool = Field(description="Whether a text without a word that the model reads has no answer.")
    explainable: bool = Field(description="Whether `/v1/explain` and `/v1/inspect` can explain what it decides.")
    libraries: dict[str, str] = Field(description="The libraries that made the model, with their versions.")
    ready: bool = Field(description="KServe's field.")
    model_version_status: list[dict[str, Any]] = Field(description="TensorFlow Serving's field.")


class OpenAIModel(BaseModel):
    """A model as OpenAI's clients list it."""

    id: str = Field(description="The name that requests give as `model`.")
    object: Literal["model"] = "model"
    created: int = Field(description="Seconds since 1970.")
    owned_by: str = "sentiment-conv1d"


class ModelList(BaseModel):
    """The loaded models. `object` and `data` are the form of OpenAI's API, for its clients' `models.list()`."""

    models: list[ModelDescription]
    object: Literal["list"] = "list"
    data: list[OpenAIModel] = Field(description="Every name once.")


PROTOCOL = RestProtocol("native")


@PROTOCOL.endpoint("/v1/predict", "Classify one review", PredictRequest, PredictResponse, {"text": EXAMPLE})
def predict(state: ServiceState, request: EndpointRequest) -> Work[Answer] | Coroutine[Any, Any, Answer]:
    """Return the label of a review, the probability of each label, and whether the review was truncated."""
    if (text := _only_text(request.body)) is not None:
        classifier = state.models.get()
        return state.dataplane.read_texts(
            request.context,
            classifier,
            (text,),
            lambda predictions: Answer(to_json(prediction_body(classifier.manifest, predictions[0]))),
        )
    body = parse(PredictRequest, request.body, state.dataplane)
    classifier = _classifier(state.models, body)
    if body.sentences:
        return _predict_sentences(state, request, classifier, body)
    return state.dataplane.read_texts(
        request.context,
        classifier,
        (body.text,),
        lambda predictions: Answer(to_json(_decided_body(classifier, predictions[0], body))),
    )


@PROTOCOL.endpoint(
    "/v1/predict_batch",
    "Classify several reviews",
    PredictBatchRequest,
    PredictBatchResponse,
    {"texts": [EXAMPLE, "Two dull hours that I will never get back."]},
)
def predict_batch(state: ServiceState, request: EndpointRequest) -> Work[Answer] | Answer:
    """Return the predictions for several reviews, in their order.

    A bad text fails the request, unless `on_error` is `report`: then its prediction is null and `errors` names it.
    """
    body = parse(PredictBatchRequest, request.body, state.dataplane)
    if body.on_error == "report":
        state.dataplane.check_count(len(body.texts))  # before every bad text gets an error
    errors = _errors(body, state.dataplane)
    good = [text for index, text in enumerate(body.texts) if index not in errors]
    classifier = _classifier(state.models, body)

    def answer(predictions: list[Prediction]) -> Answer:
        if classifier.manifest.needs_words:
            places = [index for index in range(len(body.texts)) if index not in errors]
            for index, each in zip(places, predictions, strict=True):
                if not each.is_answer:
                    errors[index] = unanswered(index)
            predictions = [each for each in predictions if each.is_answer]
        answers: list[Any] = [_decided_body(classifier, each, body) for each in predictions]
        for index in sorted(errors):
            answers.insert(index, None)
        if body.on_error == "fail":
            return Answer(to_json({"predictions": answers}))
        named = [
            {"index": index, "code": error.code, "message": error.message} for index, error in sorted(errors.items())
        ]
        return Answer(to_json({"predictions": answers, "errors": named}))

    if errors and not good:
        return answer([])
    reports = body.on_error == "report"
    return state.dataplane.read_texts(request.context, classifier, good, answer, reports=reports)


@PROTOCOL.get("/v1/models", summary="List the loaded models")
async def list_models(request: Request) -> ModelList:
    """Return all loaded versions, with the metrics of their manifests."""
    models = state_of(request).models
    named = {each.manifest.name: each.manifest for each in models}
    data = [OpenAIModel(id=name, created=_timestamp(manifest.created)) for name, manifest in named.items()]
    return ModelList(models=[_description(models, each) for each in models], data=data)


@PROTOCOL.get("/v1/models/{name}", summary="Describe a loaded model")
async def describe_model(request: Request, name: str) -> ModelDescription:
    """Return the version that answers requests which name no version, with the metrics of its manifest."""
    models = state_of(request).models
    return _description(models, models.get(name))


async def _predict_sentences(
    state: ServiceState, request: EndpointRequest, classifier: ServedClassifier, body: PredictRequest
) -> Answer:
    prediction, explanation, sentences = await state.dataplane.explain_sentences(
        request.context, classifier, body.text, None
    )
    document = _decided_body(classifier, prediction, body)
    label = document["label"]  # decided with the threshold of the request
    document |= {name: getattr(explanation, name) for name in ("logit", "bias", "padding")}
    document |= sentences_body(
        classifier.manifest, body.text, label, sentences, lambda each: _decided_body(classifier, each, body)
    )
    return Answer(to_json(document))


def _only_text(body: bytes) -> str | None:
    """Return the text of a short body that contains only a text, as most do, or None for any other body.

    Pydantic checks the others. orjson, which also writes the answer, takes a twentieth of a short request less.
    """
    if len(body) > INLINE_CHARACTERS:
        return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    text = document.get("text") if isinstance(document, dict) and len(document) == 1 else None
    return text if isinstance(text, str) else None


def _errors(body: PredictBatchRequest, dataplane: DataPlane) -> dict[int, RequestError]:
    """Return the errors of bad texts by index. Raises the first one unless the request asks for a report."""
    errors: dict[int, RequestError] = {}
    for index, text in enumerate(body.texts):
        try:
            if not isinstance(text, str):
                raise Invalid(f"texts.{index}: a text is needed")
            dataplane.check_text(text, index)
        except RequestError as error:
            if body.on_error == "fail":
                raise
            errors[index] = error.with_traceback(None)  # a traceback would keep the texts in memory
    return errors


def _classifier(models: LoadedModels, body: DecisionRequest) -> ServedClassifier:
    """Return the classifier that a body names. Raises `NotFound`, or `Invalid` if the model has no single threshold."""
    classifier = models.get(body.model, body.version)
    manifest = classifier.manifest
    if body.threshold is not None and manifest.multilabel:
        raise Invalid("threshold: this model has one for each label; compare `probabilities` with thresholds of yours")
    if body.threshold is not None and manifest.outputs > 1:
        raise Invalid("threshold: this model has none, because it chooses the most probable of its labels")
    return classifier


def _decided_body(classifier: Classifier, prediction: Prediction, body: DecisionRequest) -> dict[str, Any]:
    """Return the answer for one review with the threshold, the labels and the logits that the request asks for."""
    manifest = classifier.manifest
    if body.threshold is not None:
        prediction = prediction.decided(classifier.decider, body.threshold)
    document = prediction_body(manifest, prediction)
    if body.logits:
        logits = prediction.logits(manifest.activation)
        document["logits"] = dict(zip(manifest.labels, logits, strict=True))
    if body.top_k is not None:
        probabilities: dict[str, Any] = document["probabilities"]
        highest = sorted(probabilities, key=probabilities.__getitem__, reverse=True)[: body.top_k]
        for name in document.keys() & {"probabilities", "logits"}:
            document[name] = {label: document[name][label] for label in highest}
    return document


def _timestamp(created: str) -> int:
    """Return the time of a manifest in seconds since 1970; 0 if it is not a time."""
    try:
        return int(datetime.fromisoformat(created).timestamp())
    except ValueError:
        return 0


def _description(models: LoadedModels, classifier: Classifier) -> ModelDescription:
    manifest, tokenizer = classifier.manifest, classifier.tokenizer
    beside = {
        "tokenizer": {
            "padding_id": tokenizer.padding_id,
            "start_id": tokenizer.start_id,
            "unknown_id": tokenizer.unknown_id,
            "padding_side": "right" if tokenizer.pads_behind else "left",
            "truncation_side": "right" if tokenizer.keeps_first else "left",
            "counts_unknown": isinstance(tokenizer, VocabularyTokenizer),
        },
        "version": str(manifest.version),
        "version_labels": models.labels_of(manifest.name, manifest.version),
        "execution_provider": classifier.engine.provider,
        "explainable": classifier.explainer.explainable,
        "text_parity": manifest.text_parity,
        "ready": True,
        **model_status(models, manifest.name),
    }
    return ModelDescription.model_validate(dict(manifest) | beside)
