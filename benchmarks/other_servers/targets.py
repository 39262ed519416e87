"""The measured servers: how each is started, and the form of its requests and responses."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import rest
from benchmarks.other_servers import environments
from benchmarks.rest import Form
from benchmarks.serving.__main__ import make_installed, make_servers
from benchmarks.serving.cases import COMPETENT, CPP, NAIVE, NODE, SERVICE
from loadtest.errors import LoadTestError
from loadtest.processes import Server

#: Environment variables with folders for temporary files.
_SCRATCH = ("TMPDIR", "RAY_TMPDIR", "PYTRITON_HOME")

#: Tolerance of the answers, because batches add up in another order.
_TOLERANCE = 1e-4
_PATIENCE = 60.0


class OtherServer(NamedTuple):
    """Another model server. `benchmarks.other_servers.applications.NAME` runs it, in the environment of that name."""

    name: str
    title: str
    package: str
    probe: str
    form: Form
    probability: Callable[[Any], float]  # of `positive`, in an answer


class Target(NamedTuple):
    """A measured server."""

    title: str
    server: Server
    form: Form
    probability: Callable[[Any], float]

    def check(self, truth: Mapping[str, float]) -> None:
        """Wait for the answer to the first text, and compare the probabilities of all texts.

        Raises `LoadTestError`.
        """
        for text, expected in truth.items():
            answer = self._answer(text)
            if abs(self.probability(answer) - expected) > _TOLERANCE:
                raise LoadTestError(f"{self.title} answers {answer} instead of {expected} for {text!r}")

    def _answer(self, text: str) -> Any:
        url = f"http://127.0.0.1:{self.server.port}{self.form.path}"
        body = json.dumps(self.form.body([text])).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                with urllib.request.urlopen(request, timeout=_PATIENCE) as response:
                    return json.load(response)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise LoadTestError(f"{self.title} does not answer: {error}\n{self.server.log()}") from error
                time.sleep(0.05)


def _inputs(texts: Sequence[str]) -> Any:
    return {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [len(texts), 1], "data": list(texts)}]}


def _output(answer: Any) -> float:
    probability: float = answer["outputs"][0]["data"][0]
    return probability


def _scored(answer: Any) -> float:
    score: float = answer["score"]
    return score if answer["label"] == "positive" else 1 - score


_TEXT = Form("/predict", lambda texts: {"text": texts[0]})
_TEXTS = Form("/predict", lambda texts: {"texts": list(texts)})
_INFER = Form("/v2/models/sentiment/infer", _inputs)

OTHER_SERVERS = (
    OtherServer("litserve", "LitServe", "litserve", "/health", _TEXT, lambda answer: float(answer["probability"])),
    OtherServer("bentoml", "BentoML", "bentoml", "/readyz", _TEXTS, lambda answer: float(answer[0])),
    OtherServer("mlserver", "MLServer", "mlserver", "/v2/health/ready", _INFER, _output),
    OtherServer("ray", "Ray Serve", "ray", "/-/healthz", _TEXT, lambda answer: float(answer["probability"])),
    OtherServer("pytriton", "PyTriton", "nvidia-pytriton", "/v2/health/ready", _INFER, _output),
)


def references(workers: int, model: Path) -> list[Target]:
    """Return this service and the applications, those in Node and C++ if they are installed."""
    servers = {server.name: server for server in [*make_servers(workers), *make_installed(workers, model)]}
    names = [name for name in (SERVICE, COMPETENT, NODE, CPP, NAIVE) if name in servers]
    return [Target(name, servers[name], rest.PREDICT, _scored) for name in names]


def target_of(other: OtherServer, workers: int, model: Path, scratch: Path) -> Target:
    """Return another server with a model and a folder for temporary files. See `applications.classifier`.

    Raises `NotInstalled`.
    """
    server = Server(
        other.title,
        *("-m", f"benchmarks.other_servers.applications.{other.name}", "{port}", str(workers)),
        probe=other.probe,
        python=environments.interpreter(other.name),
        environment={"MODEL_FOLDER": str(model), **dict.fromkeys(_SCRATCH, str(scratch))},
    )
    return Target(other.title, server, other.form, other.probability)
