"""This project's own service: texts in, predictions out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict

from model.artifact import Manifest
from service import prediction as core
from service.dataplane import DataPlane
from service.explaining.explainer import FILTERS
from service.grpc.call import Caller, Context
from service.grpc.protos import sentiment_pb2 as pb
from service.grpc.protos.sentiment_pb2_grpc import SentimentServicer

SERVICE = "sentiment.v1.Sentiment"
PREDICT, PREDICT_BATCH, PREDICT_STREAM, EXPLAIN = ROUTES = tuple(
    f"/{SERVICE}/{method}" for method in ("Predict", "PredictBatch", "PredictStream", "Explain")
)


class Sentiment(SentimentServicer):
    """`sentiment.v1.Sentiment`."""

    def __init__(self, dataplane: DataPlane, caller: Caller) -> None:
        self._dataplane = dataplane
        self._caller = caller

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.Prediction:
        """One text."""
        return await self._caller.unary(PREDICT, context, lambda: self._predict(request, context))

    async def PredictBatch(self, request: pb.PredictBatchRequest, context: Context) -> pb.PredictBatchResponse:
        """Several texts, answered in order."""
        return await self._caller.unary(PREDICT_BATCH, context, lambda: self._predict_batch(request, context))

    async def PredictStream(
        self, request_iterator: AsyncIterator[pb.PredictRequest], context: Context
    ) -> AsyncIterator[pb.Prediction]:
        """Texts answered in order. The next one is read only when the answer before it was taken."""

        async def answers() -> AsyncIterator[pb.Prediction]:
            async for request in self._caller.messages(request_iterator):
                yield await self._predict(request, context)

        async for answer in self._caller.stream(PREDICT_STREAM, context, answers()):
            yield answer

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.Explanation:
        """The prediction with every word's share of it."""
        return await self._caller.unary(EXPLAIN, context, lambda: self._explain(request, context))

    async def _predict(self, request: pb.PredictRequest, context: Context) -> pb.Prediction:
        model = self._dataplane.repository.get(request.model, request.version)
        predictions = await self._dataplane.predict(model, (request.text,), context.time_remaining())
        return _message(model.manifest, predictions[0])

    async def _predict_batch(self, request: pb.PredictBatchRequest, context: Context) -> pb.PredictBatchResponse:
        model = self._dataplane.repository.get(request.model, request.version)
        predictions = await self._dataplane.predict(model, request.texts, context.time_remaining())
        return pb.PredictBatchResponse(predictions=[_message(model.manifest, each) for each in predictions])

    async def _explain(self, request: pb.ExplainRequest, context: Context) -> pb.Explanation:
        model = self._dataplane.repository.get(request.model, request.version)
        prediction, explanation = await self._dataplane.explain(
            model, request.text, request.label or None, FILTERS, context.time_remaining()
        )
        return pb.Explanation(
            prediction=_message(model.manifest, prediction),
            label=explanation.label,
            logit=explanation.logit,
            bias=explanation.bias,
            padding=explanation.padding,
            words=[pb.Explanation.Word(**asdict(word)) for word in explanation.words],
            filters=[pb.Explanation.Filter(**asdict(each)) for each in explanation.filters],
        )


def _message(manifest: Manifest, prediction: core.Prediction) -> pb.Prediction:
    return pb.Prediction(
        label=prediction.label,
        score=float(prediction.score),
        probabilities=[
            pb.Prediction.LabelProbability(label=label, probability=float(probability))
            for label, probability in zip(manifest.labels, prediction.probabilities, strict=True)
        ],
        tokens=prediction.tokens,
        unknown_tokens=prediction.unknown_tokens,
        truncated=prediction.truncated,
        model=manifest.name,
        version=str(manifest.version),
    )
