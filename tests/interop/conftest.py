"""Clients on four implementations of gRPC, and servers for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.interop import programs
from tests.interop.client import Client, Messages
from tests.processes import PROJECT, ServerProcess

PROTOS = PROJECT / "sentiment_conv1d" / "protos"

#: Interfaces whose descriptors the service derives from other .proto files.
OLDER = PROJECT / "tests/interop/protos"
HERE = Path(__file__).parent

#: The build function of each client.
CLIENTS: dict[str, Callable[[Path], programs.Command]] = {
    "go": lambda build: programs.go(HERE / "go/client.go", build),
    "java": lambda build: programs.java([HERE / "java/Client.java"], build),
    "node": lambda _: programs.node(HERE / "node/client.js"),
    "python": lambda _: programs.python(HERE / "python/client.py"),
}


class Connect(Protocol):
    """Starts a client of a server's gRPC port, over TLS if an authority's certificate is given."""

    def __call__(self, server: ServerProcess, *authority: Path) -> Client: ...


@pytest.fixture(scope="session")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Messages:
    """The messages of the service's .proto files."""
    descriptors = tmp_path_factory.mktemp("protos") / "descriptors.binpb"
    paths = [f"--proto_path={folder}" for folder in (PROTOS, OLDER)]
    files = [file for folder in (PROTOS, OLDER) for file in folder.rglob("*.proto")]
    protoc: programs.Command = [sys.executable, "-m", "grpc_tools.protoc", *paths]
    programs.run(*protoc, f"--descriptor_set_out={descriptors}", "--include_imports", *files)
    return Messages(descriptors)


@pytest.fixture(scope="session", params=CLIENTS)
def connect(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, messages: Messages) -> Connect:
    """Build each client."""
    command = CLIENTS[request.param](tmp_path_factory.mktemp(request.param))
    return lambda server, *authority: Client(command, f"127.0.0.1:{server.grpc_port}", messages, *authority)


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """Run a server with the shipped model, for tests that only make calls."""
    # Room for long texts of calls that another test has cancelled, because long texts weigh more.
    with ServerProcess("--max-pending-texts", "8192") as process:
        yield process


@pytest.fixture(scope="session")
def client(connect: Connect, server: ServerProcess) -> Iterator[Client]:
    """Start each client for that server."""
    with connect(server) as client:
        yield client
