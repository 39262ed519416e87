"""The service `sentiment.v1.Sentiment`: texts in, predictions out."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from typing import Any

from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.inference import prediction as core
from sentiment_conv1d.inference.explaining.explainer import FILTERS
from sentiment_conv1d.inference.sentences import Sentence, deciding
from sentiment_conv1d.protos import sentiment_pb2 as pb
from sentiment_conv1d.service.grpc.service import Service, paths
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.scheduling.work import Work
from sentiment_conv1d.service.telemetry.request_context import RequestContext

_DESCRIPTOR = pb.DESCRIPTOR.services_by_name["Sentiment"]

PREDICT, PREDICT_BATCH, PREDICT_STREAM, EXPLAIN = paths(_DESCRIPTOR)


class Sentiment:
    """`sentiment.v1.Sentiment`."""

    def __init__(self, state: ServiceState) -> None:
        self._dataplane, self._models = state.dataplane, state.models

    def Predict(
        self, request: pb.PredictRequest, context: RequestContext
    ) -> Work[pb.Prediction] | Coroutine[Any, Any, pb.Prediction]:
        """Predict one text, and its sentences if the request asks for them."""
        text = request.text  # every access to the field decodes the text again
        model = self._models.get(request.model, request.version)
        if request.sentences:
            return self._predict_sentences(context, model, text)
        return self._dataplane.read_texts(
            context, model, (text,), lambda predictions: _fill(pb.Prediction(), model.manifest, *predictions)
        )

    PredictStream = Predict

    def PredictBatch(self, request: pb.PredictBatchRequest, context: RequestContext) -> Work[pb.PredictBatchResponse]:
        """Predict several texts, in their order."""
        texts = list(request.texts)
        model = self._models.get(request.model, request.version)

        def answer(predictions: list[core.Prediction]) -> pb.PredictBatchResponse:
            response = pb.PredictBatchResponse()
            for prediction in predictions:
                _fill(response.predictions.add(), model.manifest, prediction)
            return response

        return self._dataplane.read_texts(context, model, texts, answer)

    async def Explain(self, request: pb.ExplainRequest, context: RequestContext) -> pb.Explanation:
        """Predict one text and return each word's share of the decision."""
        model = self._models.get(request.model, request.version)
        text, label = request.text, request.label or None
        sentences: list[Sentence] = []
        if request.sentences:
            prediction, explanation, sentences = await self._dataplane.explain_sentences(
                context, model, text, label, FILTERS
            )
        else:
            prediction, explanation = await self._dataplane.explain(
                context, model, text, label, model.explainer.explain
            )
        contrast = explanation.contrast
        return pb.Explanation(
            prediction=_fill(pb.Prediction(), model.manifest, prediction),
            label=explanation.label,
            logit=explanation.logit,
            bias=explanation.bias,
            padding=explanation.padding,
            words=[pb.Explanation.Word(**asdict(word)) for word in explanation.words],
            filters=[pb.Explanation.Filter(**asdict(each)) for each in explanation.filters],
            contrast=None if contrast is None else pb.Explanation.Contrast(**asdict(contrast)),
            sentences=_sentences(model.manifest, text, sentences),
            decided_by=deciding(sentences, model.manifest, explanation.label),
        )

    async def _predict_sentences(self, context: RequestContext, model: ServedClassifier, text: str) -> pb.Prediction:
        prediction, explanation, sentences = await self._dataplane.explain_sentences(context, model, text, None)
        answer = pb.Prediction(
            sentences=_sentences(model.manifest, text, sentences),
            decided_by=deciding(sentences, model.manifest, prediction.label),
            logit=explanation.logit,
            bias=explanation.bias,
            padding=explanation.padding,
        )
        return _fill(answer, model.manifest, prediction)


SERVICE = Service(_DESCRIPTOR, Sentiment, models=paths(_DESCRIPTOR))


#: The fields that `pb.Prediction` and `core.Prediction` share. Floats are converted here, because protobuf takes longer
#: to convert a NumPy scalar.
_SHARED = [field for field in pb.Prediction.DESCRIPTOR.fields if field.name in core.Prediction._fields]
_FLOATS = tuple(field.name for field in _SHARED if field.type == field.TYPE_FLOAT)
_OTHERS = tuple(
    field.name
    for field in _SHARED
    if field.type not in (field.TYPE_FLOAT, field.TYPE_MESSAGE) and not (field.has_presence or field.is_repeated)
)


def _sentences(manifest: Manifest, text: str, sentences: Sequence[Sentence]) -> list[pb.Sentence]:
    return [
        pb.Sentence(
            text=text[each.start : each.end],
            start=each.start,
            end=each.end,
            share=each.share,
            prediction=_fill(pb.Prediction(), manifest, each.prediction),
        )
        for each in sentences
    ]


def _fill(message: pb.Prediction, manifest: Manifest, prediction: core.Prediction) -> pb.Prediction:
    """Set the fields one by one, which takes half as long as passing them to a new message."""
    for name in _OTHERS:
        setattr(message, name, getattr(prediction, name))
    for name in _FLOATS:
        setattr(message, name, float(getattr(prediction, name)))
    if prediction.unknown_tokens is not None:
        message.unknown_tokens = prediction.unknown_tokens
    if prediction.confident is not None:
        message.confident = prediction.confident
    if prediction.labels is not None:
        message.labels.extend(prediction.labels)
    for label, probability in zip(manifest.labels, prediction.probabilities, strict=True):
        each = message.probabilities.add()
        each.label = label
        each.probability = float(probability)
    message.model = manifest.name
    message.version = str(manifest.version)
    return message
