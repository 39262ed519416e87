"""The generated stubs and the methods are those of the .proto files."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from service.dataplane import DataPlane
from service.grpc import health, oip, reflection, sentiment
from service.grpc.methods import Counted
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


def test_every_method_is_answered() -> None:
    """What the .proto files and the protocols of health and reflection name, with as many messages either way."""
    dataplane = cast(DataPlane, SimpleNamespace(metrics=None, repository=None))
    counted = Counted(dataplane)
    answered = {
        **oip.OpenInference(dataplane, cast(Keeper, None)).methods(counted),
        **sentiment.Sentiment(dataplane).methods(counted),
        **health.Health(()).methods(),
        **reflection.Reflection(()).methods(),
    }
    described = {
        f"/{service.full_name}/{method.name}": (method.client_streaming, method.server_streaming)
        for module in (inference_pb2, sentiment_pb2, health_pb2, reflection_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert {
        path: (method.request_streaming, method.response_streaming) for path, method in answered.items()
    } == described
