"""The applications that the service is compared with: FastAPI and pydantic around a classifier, and its own in uvicorn.

`python -m benchmarks.baselines.applications naive PORT,PORT` (or `competent`, or `hosted`) serves one with a worker on
each port.
If workers accept from one port, as with `uvicorn --workers 2`, chance distributes the connections, and one of two can
get none.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable

import onnx
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.types import ASGIApp

import sentiment_conv1d
from benchmarks.baselines.competent import Competent
from benchmarks.baselines.naive import ARTIFACT, Naive, unfolded_graph


class Review(BaseModel):
    """The body of a request."""

    text: str


class Sentiment(BaseModel):
    """The body of a response."""

    label: str
    score: float


def naive() -> FastAPI:
    """Return the first version, see `benchmarks.baselines.naive`."""
    return _application(Naive().predict)


def competent() -> FastAPI:
    """Return the competent version, see `benchmarks.baselines.competent`."""
    classifier = make_competent()
    return _application(lambda text: classifier.predict([text])[0])


def hosted() -> ASGIApp:
    """Return the REST application of the service, for an unchanged uvicorn."""
    return sentiment_conv1d.asgi(sentiment_conv1d.load(ARTIFACT.parent.name))


def make_competent() -> Competent:
    """Return the competent classifier with the shipped model."""
    graph = unfolded_graph(onnx.load(ARTIFACT / "model.onnx"), "time")
    return Competent(graph.SerializeToString(), (ARTIFACT / "tokenizer.json").read_bytes())


def _application(positive: Callable[[str], float]) -> FastAPI:
    app = FastAPI()

    @app.post("/v1/predict")
    async def predict(review: Review) -> Sentiment:
        probability = positive(review.text)
        label = "positive" if probability >= 0.5 else "negative"
        return Sentiment(label=label, score=max(probability, 1 - probability))

    return app


def serve(name: str, port: int) -> None:
    """Run one worker."""
    application = f"benchmarks.baselines.applications:{name}"
    uvicorn.run(application, factory=True, port=port, access_log=False, log_level="error")


def main() -> None:
    """Serve a worker on each port until SIGTERM."""
    name, ports = sys.argv[1:]
    workers = [multiprocessing.Process(target=serve, args=(name, int(port))) for port in ports.split(",")]
    for worker in workers:
        worker.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        for worker in workers:
            worker.join()
    finally:
        for worker in workers:
            worker.terminate()


if __name__ == "__main__":
    main()
