"""The measured servers: how each is started, and the form of its requests and responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import answers, environments, rest
from benchmarks.rest import Form
from benchmarks.serving.__main__ import make_installed, make_servers
from benchmarks.serving.cases import CPP, FASTAPI, NODE, SERVICE
from loadtest.processes import Server

#: Environment variables with folders for temporary files.
_SCRATCH = ("TMPDIR", "RAY_TMPDIR", "PYTRITON_HOME")


class OtherServer(NamedTuple):
    """Another model server. `benchmarks.other_servers.applications.NAME` runs it, in the environment of that name."""

    name: str
    title: str
    package: str
    probe: str
    form: Form
    probability: Callable[[Any], float]  # of `positive`, in an answer


class MeasuredServer(NamedTuple):
    """A measured server."""

    title: str
    server: Server
    form: Form
    probability: Callable[[Any], float]


def _inputs(texts: Sequence[str]) -> Any:
    return {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [len(texts), 1], "data": list(texts)}]}


def _output(answer: Any) -> float:
    probability: float = answer["outputs"][0]["data"][0]
    return probability


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


def references(workers: int) -> list[MeasuredServer]:
    """Return this service and the applications, those in Node and C++ if they are installed."""
    servers = {server.name: server for server in [*make_servers(workers), *make_installed(workers)]}
    names = [name for name in (SERVICE, CPP, NODE, FASTAPI) if name in servers]
    return [MeasuredServer(name, servers[name], rest.PREDICT, answers.scored) for name in names]


def measured_server(other: OtherServer, workers: int, scratch: Path) -> MeasuredServer:
    """Return another server, with a folder for temporary files.

    Raises `NotInstalled`.
    """
    server = Server(
        other.title,
        *("-m", f"benchmarks.other_servers.applications.{other.name}", "{port}", str(workers)),
        probe=other.probe,
        python=environments.interpreter(other.name),
        environment=dict.fromkeys(_SCRATCH, str(scratch)),
    )
    return MeasuredServer(other.title, server, other.form, other.probability)
