"""The generated stubs are those of the .proto files."""

import subprocess
import sys
from pathlib import Path

import pytest

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
