"""Requests of every protocol, alone or mixed. They are encoded before the test starts."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import orjson

from loadtest.errors import LoadTestError
from loadtest.traffic.target import Target
from sentiment_conv1d.protos.inference_pb2 import ModelInferRequest
from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest


class Transport(Enum):
    """The transport of a request."""

    HTTP = "http"
    GRPC = "grpc"
    STREAM = "stream"


class Form(NamedTuple):
    """A kind of request."""

    title: str
    transport: Transport
    path: str  # a route or a gRPC method; can contain {model}
    body: Callable[[Sequence[str], str], bytes]  # from texts and the name of the model
    batched: bool = False


class Request(NamedTuple):
    """One encoded request."""

    form: str
    transport: Transport
    method: str  # gRPC method; empty over HTTP
    payload: bytes  # a complete HTTP/1.1 request, or a gRPC message
    texts: int


def _predict(texts: Sequence[str], model: str) -> bytes:
    return orjson.dumps({"text": texts[0]})


def _predict_batch(texts: Sequence[str], model: str) -> bytes:
    return orjson.dumps({"texts": list(texts)})


def _infer(texts: Sequence[str], model: str) -> bytes:
    given = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}
    return orjson.dumps({"inputs": [given]})


def _model_infer(texts: Sequence[str], model: str) -> bytes:
    given = ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[len(texts)])
    given.contents.bytes_contents.extend(text.encode() for text in texts)
    return ModelInferRequest(model_name=model, inputs=[given]).SerializeToString()


def _message(texts: Sequence[str], model: str) -> bytes:
    return PredictRequest(text=texts[0]).SerializeToString()


#: All kinds of requests, by their names on the command line.
FORMS = {
    "rest": Form("native REST", Transport.HTTP, "/v1/predict", _predict),
    "rest-batch": Form("native REST, batches", Transport.HTTP, "/v1/predict_batch", _predict_batch, batched=True),
    "oip-rest": Form("Open Inference Protocol, REST", Transport.HTTP, "/v2/models/{model}/infer", _infer),
    "oip-grpc": Form(
        "Open Inference Protocol, gRPC", Transport.GRPC, "/inference.GRPCInferenceService/ModelInfer", _model_infer
    ),
    "grpc": Form("typed gRPC", Transport.GRPC, "/sentiment.v1.Sentiment/Predict", _message),
    "grpc-stream": Form("typed gRPC stream", Transport.STREAM, "/sentiment.v1.Sentiment/PredictStream", _message),
}


def parse_mix(given: str) -> dict[str, float]:
    """Parse `rest` or `rest=70,oip-grpc=30` into weights by form. Raises `LoadTestError`."""
    mix: dict[str, float] = {}
    for part in given.split(","):
        name, _, share = part.strip().partition("=")
        if name not in FORMS:
            raise LoadTestError(f"there is no traffic {name!r}; there are {', '.join(FORMS)}")
        try:
            mix[name] = float(share or 1)
        except ValueError:
            raise LoadTestError(f"{part.strip()!r}: the share must be a number") from None
        if not 0 < mix[name] < 1e9:
            raise LoadTestError(f"{part.strip()!r}: the share must be above 0")
    return mix


def make_requests(mix: Mapping[str, float], texts: Sequence[str], target: Target, batch: int) -> list[Request]:
    """Return as many requests as there are texts, always in the same order."""
    shuffled = random.Random(0)  # noqa: S311 - the same traffic in every run
    names = shuffled.choices(list(mix), list(mix.values()), k=len(texts))
    return [_make(name, texts, number, target, batch) for number, name in enumerate(names)]


def _make(name: str, texts: Sequence[str], number: int, target: Target, batch: int) -> Request:
    form = FORMS[name]
    size = batch if form.batched else 1
    body = form.body([texts[(number * size + each) % len(texts)] for each in range(size)], target.model)
    if form.transport is not Transport.HTTP:
        return Request(name, form.transport, form.path, body, size)
    head = target.head("POST", form.path.format(model=target.model), len(body))
    return Request(name, form.transport, "", head + body, size)
