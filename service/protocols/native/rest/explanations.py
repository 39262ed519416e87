"""Explanations: the share of each word in the decision, and all values between a text and its prediction."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from sentiment_conv1d.artifact.explaining.reading import Word
from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.inference.explaining.explainer import FILTERS, Contrast, Explanation, Filter
from sentiment_conv1d.inference.explaining.inspection import BankView, FilterView, LayerView
from sentiment_conv1d.inference.prediction import Prediction, prediction_body
from sentiment_conv1d.inference.sentences import sentences_body
from sentiment_conv1d.server.errors import TooLarge
from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.service.errors import explaining
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.protocols.native.rest.predictions import ModelRequest, PredictionBody, SentencesBody
from sentiment_conv1d.service.rest.endpoint import EXAMPLE, EndpointRequest, StrictBody, parse, to_json
from sentiment_conv1d.service.rest.protocol import RestProtocol

#: Bytes of a float32 in JSON, and of its comma, at most. A request of a hundred bytes can get an answer of megabytes,
#: so the answer is charged before it is computed.
_NUMBER_BYTES = 16


class ExplainRequest(ModelRequest):
    """A review, and which explanation to return."""

    hints: ClassVar = {"texts": "/v1/explain takes one review in `text`"}
    text: str = Field(description="The review.")
    label: str | None = Field(None, description="The label to explain; without it, the predicted one.")
    filters: int = Field(FILTERS, ge=0, description="How many of the filters that moved the logit most.")
    sentences: bool = Field(
        False, description="Return the sentences too, with their own predictions and the sums of their words' shares."
    )


def _omit_default(schema: dict[str, Any]) -> None:
    """Omit the default of a field that is absent and never null."""
    del schema["default"]


class ExplanationBody(BaseModel):
    """`logit` = `bias` + `padding` + the shares of all words."""

    prediction: PredictionBody
    label: str = Field(description="The label that was asked for, or the predicted one.")
    logit: float = Field(description="Of the second label in a model with a single sigmoid, of `label` in others.")
    bias: float
    padding: float = Field(description="The share of pad ids and start id.")
    words: list[Word]
    filters: list[Filter]
    contrast: Contrast | SkipJsonSchema[None] = Field(
        None,
        description="`positive` against `negative`; only of models with these labels and `neutral`.",
        json_schema_extra=_omit_default,
    )


class ExplainResponse(ExplanationBody, SentencesBody):
    """`logit` = `bias` + `padding` + the shares of all words, or of all sentences."""


PROTOCOL = RestProtocol("native")


@PROTOCOL.endpoint("/v1/explain", "Explain one decision", ExplainRequest, ExplainResponse, {"text": EXAMPLE})
async def explain(state: ServiceState, request: EndpointRequest) -> Answer:
    """Return the exact share of each word in the logit, and the filters that changed it most, with their words.

    A text longer than the model reads has shares only for the words that the model read.
    """
    body = parse(ExplainRequest, request.body, state.dataplane)
    classifier = state.models.get(body.model, body.version)
    manifest, dataplane = classifier.manifest, state.dataplane
    if body.sentences:
        prediction, explanation, sentences = await dataplane.explain_sentences(
            request.context, classifier, body.text, body.label, body.filters
        )
        document = _explanation(manifest, prediction, explanation)
        predict = partial(prediction_body, manifest)
        document |= sentences_body(manifest, body.text, explanation.label, sentences, predict)
        return Answer(to_json(document))
    work = partial(classifier.explainer.explain, filters=body.filters)
    prediction, explanation = await dataplane.explain(request.context, classifier, body.text, body.label, work)
    return Answer(to_json(_explanation(manifest, prediction, explanation)))


class FilterChoice(StrictBody):
    """A filter of the model."""

    width: int
    index: int


class InspectRequest(ModelRequest):
    """A review, and which values to return."""

    hints: ClassVar = {"texts": "/v1/inspect takes one review in `text`"}
    text: str = Field(description="The review.")
    label: str | None = Field(None, description="The label to explain; without it, the predicted one.")
    filter: FilterChoice | None = Field(
        None, description="The filter to show in full; without it, the one that moved the logit most."
    )
    feature_map: bool = Field(False, description="Whether to send the feature maps, megabytes for the shipped models.")


class InspectionBody(BaseModel):
    """All values between the text and the prediction, for all positions of the model's input."""

    explanation: ExplanationBody
    labels: list[str]
    vocabulary_size: int
    ids: list[int] = Field(description="[sequence length], with the padding.")
    first_word: int = Field(description="Position of the first word of `explanation.words`.")
    embedding: list[list[float]] = Field(
        description="[sequence length][embedding]; for an 8-bit model [sequence length][width]: what a word adds to "
        "the filter at each place."
    )
    filter: FilterView
    banks: list[BankView]
    layers: list[LayerView] = Field(description="The last one gives the logits.")
    final: str = Field(description="The ONNX operator that makes probabilities of the logits.")


@PROTOCOL.endpoint(
    "/v1/inspect", "Show how the model reads one review", InspectRequest, InspectionBody, {"text": EXAMPLE}
)
async def inspect(state: ServiceState, request: EndpointRequest) -> Answer:
    """Return all values between a text and its prediction: ids, embeddings, activations, pooled and dense values."""
    body = parse(InspectRequest, request.body, state.dataplane)
    classifier = state.models.get(body.model, body.version)
    explainer, manifest = classifier.explainer, classifier.manifest
    chosen = None if body.filter is None else (body.filter.width, body.filter.index)
    with explaining():
        size = _NUMBER_BYTES * explainer.count_numbers(feature_map=body.feature_map)
    if size > (limit := state.settings.max_buffered_bytes):
        raise TooLarge(f"the answer would have about {size} bytes; requests can hold {limit}")
    with request.charge.reserve(size):
        work = partial(explainer.inspect, chosen=chosen, feature_map=body.feature_map)
        prediction, (explanation, inspection) = await state.dataplane.explain(
            request.context, classifier, body.text, body.label, work
        )
        document = {
            "explanation": _explanation(manifest, prediction, explanation),
            "labels": manifest.labels,
            "vocabulary_size": manifest.vocabulary_size,
            **{name: getattr(inspection, name) for name in type(inspection).__dataclass_fields__},
        }
        return Answer(to_json(document))


def _explanation(manifest: Manifest, prediction: Prediction, explanation: Explanation) -> dict[str, Any]:
    fields = {name: getattr(explanation, name) for name in type(explanation).__dataclass_fields__}
    if explanation.contrast is None:
        del fields["contrast"]
    return {"prediction": prediction_body(manifest, prediction), **fields}
