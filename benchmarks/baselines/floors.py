"""Applications that return a constant: the cost of the server and the framework alone.

`python -m benchmarks.baselines.floors PORT GRPC_PORT` serves the constant over gRPC, and over HTTP for the
readiness check.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from sentiment_conv1d.protos import sentiment_pb2 as pb

_BODY = b'{"label":"positive","score":0.99773777,"probabilities":{"negative":0.0022622347,"positive":0.99773777}}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]


class Review(BaseModel):
    """The body of a request."""

    text: str


fastapi_app = FastAPI()


@fastapi_app.post("/v1/predict")
async def predict(review: Review) -> dict[str, Any]:
    """Return a constant."""
    return {
        "label": "positive",
        "score": 0.99773777,
        "probabilities": {"negative": 0.0022622347, "positive": 0.99773777},
    }


async def asgi_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Return a constant, without a framework."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


class Constant:
    """Returns a constant from `Predict` and for every message of `PredictStream`."""

    async def Predict(self, request: pb.PredictRequest, context: Any) -> pb.Prediction:
        """Return a constant."""
        return self._prediction()

    async def PredictStream(
        self, request_iterator: AsyncIterator[pb.PredictRequest], context: Any
    ) -> AsyncIterator[pb.Prediction]:
        """Return the constant for every message."""
        async for _ in request_iterator:
            yield self._prediction()

    def _prediction(self) -> pb.Prediction:
        probability = pb.Prediction.LabelProbability
        return pb.Prediction(
            label="positive",
            score=0.99773777,
            probabilities=[
                probability(label="negative", probability=0.0022622347),
                probability(label="positive", probability=0.99773777),
            ],
            confident=True,
        )


def _handler(constant: Constant) -> grpc.GenericRpcHandler:
    kinds: dict[str, Callable[..., Any]] = {
        "Predict": grpc.unary_unary_rpc_method_handler,
        "PredictStream": grpc.stream_stream_rpc_method_handler,
    }
    methods = {
        name: kind(getattr(constant, name), pb.PredictRequest.FromString, pb.Prediction.SerializeToString)
        for name, kind in kinds.items()
    }
    return grpc.method_handlers_generic_handler("sentiment.v1.Sentiment", methods)


async def serve(port: int, grpc_port: int) -> None:
    """Serve both constants, on the event loop that the service uses."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_handler(Constant()),))
    server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    await server.start()
    await uvicorn.Server(uvicorn.Config(asgi_app, port=port, log_level="error")).serve()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
