"""The applications in Python that the service is compared with: one in FastAPI, and the service's own in uvicorn.

`python -m benchmarks.baselines.applications fastapi PORT,PORT` (or `hosted`) serves one with a worker on each port.
If workers accept from one port, as with `uvicorn --workers 2`, chance distributes the connections, and one of two can
get none.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp

import sentiment_conv1d
from benchmarks import ARTIFACT
from benchmarks.baselines.competent import Competent


def fastapi() -> FastAPI:
    """Return the application in FastAPI. It parses and answers with orjson, because pydantic would take more time."""
    app, classifier = FastAPI(), Competent(ARTIFACT)

    @app.post("/v1/predict")
    async def predict(request: Request) -> Response:
        [positive] = classifier.predict([orjson.loads(await request.body())["text"]])
        label, score = ("positive", positive) if positive >= 0.5 else ("negative", 1 - positive)
        return Response(orjson.dumps({"label": label, "score": score}), media_type="application/json")

    return app


def hosted() -> ASGIApp:
    """Return the REST application of the service, for an unchanged uvicorn."""
    return sentiment_conv1d.asgi(sentiment_conv1d.load(ARTIFACT.parent.name))


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
