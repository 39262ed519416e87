"""The generated stubs and the handlers are those of the .proto files."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from grpc_health.v1 import health_pb2

from service.dataplane import DataPlane
from service.grpc import health, oip, sentiment
from service.grpc.methods import Counted as Caller
from service.grpc.protos import inference_pb2, sentiment_pb2
from service.keeper import Keeper
from tests.processes import PROJECT

PROTOS = Path("service/grpc/protos")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stubs made anew by the command of `make stubs`."""
    out = tmp_path_factory.mktemp("stubs")
    files = sorted(str(path.relative_to(PROJECT)) for path in (PROJECT / PROTOS).glob("*.proto"))
    kinds = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "--proto_path=.", *kinds, *files]
    subprocess.run(command, cwd=PROJECT, check=True)
    return out / PROTOS


def test_stubs_are_not_stale(generated: Path) -> None:
    """`make stubs` would change nothing."""
    names = {path.name for path in generated.iterdir()}
    assert names == {path.name for path in (PROJECT / PROTOS).glob("*_pb2*")}
    for name in names:
        assert (PROJECT / PROTOS / name).read_text() == (generated / name).read_text(), f"{name}: run `make stubs`"


def test_every_method_has_its_handler() -> None:
    """What the .proto files and the health protocol name is answered, with as many messages either way as they say."""
    dataplane = cast(DataPlane, SimpleNamespace(metrics=None, repository=None))
    caller = Caller(dataplane)
    handlers = {
        **oip.OpenInference(dataplane, cast(Keeper, None)).handlers(caller),
        **sentiment.Sentiment(dataplane).handlers(caller),
        **{f"/{health.SERVICE}/{name}": handler for name, handler in health.Health(()).handlers().items()},
    }
    methods = {
        f"/{service.full_name}/{method.name}": (method.client_streaming, method.server_streaming)
        for module in (inference_pb2, sentiment_pb2, health_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert {
        path: (handler.request_streaming, handler.response_streaming) for path, handler in handlers.items()
    } == methods
