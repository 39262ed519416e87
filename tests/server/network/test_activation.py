"""Socket activation: the service takes the sockets that systemd passes, and leaves them open."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest

from loadtest.stubs import SentimentStub
from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.server.errors import ServerError
from sentiment_conv1d.server.network.activation import inherit
from tests.processes import PATIENCE, PROJECT, ServerProcess, environment
from tests.server.network.activation import command
from tests.server.network.callers import ask

Sockets = tuple[socket.socket, socket.socket]

TEXT = "A great film."
REQUEST = b"POST /v1/predict HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 25\r\n\r\n"
BODY = b'{"text": "A great film."}'


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Listening sockets for REST and gRPC, which this process holds as systemd does."""
    with socket.create_server(("127.0.0.1", 0)) as rest, socket.create_server(("127.0.0.1", 0)) as rpc:
        yield rest, rpc


def activated(sockets: Sockets, *flags: str) -> ServerProcess:
    """Start the service with sockets, in another order than it would open them in."""
    rest, rpc = sockets
    return ServerProcess("--workers", "2", *flags, prefix=shlex.join(command("grpc:rest", rpc, rest)))


def port(bound: socket.socket) -> int:
    return int(bound.getsockname()[1])


def refused(names: str, *sockets: socket.socket, flags: tuple[str, ...] = ()) -> str:
    """Start the service with sockets that it refuses, and return the message."""
    finished = subprocess.run(
        [*command(names, *sockets), sys.executable, "-m", "service", "serve", *flags],
        cwd=PROJECT,
        env=environment(),
        close_fds=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 2
    return finished.stderr


def test_answers_on_both(sockets: Sockets) -> None:
    """REST and gRPC answer on the sockets that are passed, instead of on the ports of the settings."""
    with activated(sockets) as server:
        assert (server.port, server.grpc_port) == tuple(map(port, sockets))
        assert server.client.post("/v1/predict", json={"text": TEXT}).json()["label"] == "positive"
        with grpc.insecure_channel(f"127.0.0.1:{port(sockets[1])}") as channel:
            assert SentimentStub(channel).Predict(PredictRequest(text=TEXT)).label == "positive"


def test_restart(sockets: Sockets) -> None:
    """SIGTERM ends the service with status 0. A client that connects before the next one runs waits for its answer."""
    with activated(sockets) as first:
        assert first.client.get("/readyz").status_code == httpx.codes.OK
        assert first.stop() == 0
    with socket.create_connection(("127.0.0.1", port(sockets[0])), PATIENCE) as waiting:
        waiting.sendall(REQUEST + BODY)
        with activated(sockets):
            answer = b"".join(iter(lambda: waiting.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200") and b'"positive"' in answer


def test_restart_under_load(sockets: Sockets) -> None:
    """Clients that connect all the time lose no request while the service restarts."""
    done = threading.Event()

    def call() -> list[bytes | None]:
        answers = []
        while not done.is_set():
            answers.append(ask(("127.0.0.1", port(sockets[0])), REQUEST + BODY))
        return answers

    with ThreadPoolExecutor(4) as clients:
        calls: list[Future[list[bytes | None]]] = []
        for _ in range(2):
            with activated(sockets) as server:
                calls = calls or [clients.submit(call) for _ in range(4)]
                assert server.client.get("/readyz").status_code == httpx.codes.OK
        with activated(sockets):
            done.set()
            answers = [answer for each in calls for answer in each.result(PATIENCE)]
    assert b"HTTP/1.1 200 OK\r\n" in answers
    assert set(answers) <= {b"HTTP/1.1 200 OK\r\n", None}


def test_unix_domain_sockets(tmp_path: Path) -> None:
    """The files of Unix domain sockets stay when the service ends."""
    paths = tmp_path / "rest.sock", tmp_path / "grpc.sock"
    with socket.socket(socket.AF_UNIX) as rest, socket.socket(socket.AF_UNIX) as rpc:
        for bound, path in zip((rest, rpc), paths, strict=True):
            bound.bind(str(path))
            bound.listen()
        # The flags tell `ServerProcess` where to connect. The service ignores them.
        with activated((rest, rpc), "--uds", str(paths[0]), "--grpc-uds", str(paths[1])) as server:
            assert server.client.post("/v1/predict", json={"text": TEXT}).json()["label"] == "positive"
            with grpc.insecure_channel(f"unix:{paths[1]}") as channel:
                assert SentimentStub(channel).Predict(PredictRequest(text=TEXT)).label == "positive"
    assert all(path.is_socket() for path in paths)


def test_one_socket(sockets: Sockets) -> None:
    """A protocol without a passed socket listens as the settings say."""
    rest, _ = sockets
    prefix = shlex.join(command("rest", rest))
    with ServerProcess("--workers", "1", prefix=prefix) as server:
        assert server.port == port(rest)
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            assert SentimentStub(channel).Predict(PredictRequest(text=TEXT)).label == "positive"


@pytest.mark.parametrize("names", ["rest:other", "rest:rest", "sentiment-conv1d.socket:grpc"])
def test_other_names(sockets: Sockets, names: str) -> None:
    """A socket with an unknown name, or a second one with the same name, is refused in a sentence."""
    message = refused(names, *sockets)
    assert (
        message.startswith("error: systemd passed a socket named ") and "expected one each of grpc and rest" in message
    )


def test_grpc_is_off(sockets: Sockets) -> None:
    """A socket for gRPC is refused if gRPC is off, and the message names the setting and the command that helps."""
    message = refused("rest:grpc", *sockets, flags=("--no-grpc",))
    assert "gRPC is off (--no-grpc, SENTIMENT_GRPC=false)" in message
    assert "`systemctl disable --now sentiment-conv1d-grpc.socket`" in message
    with ServerProcess("--workers", "1", "--no-grpc", prefix=shlex.join(command("rest", sockets[0]))) as server:
        assert server.client.post("/v1/predict", json={"text": TEXT}).json()["label"] == "positive"


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_not_listening(kind: socket.SocketKind) -> None:
    """A socket that does not listen, or not for streams, is refused."""
    with socket.socket(socket.AF_INET, kind) as bound:
        bound.bind(("127.0.0.1", 0))
        assert "'rest', which is not a listening stream socket: use ListenStream=" in refused("rest", bound)


@pytest.mark.parametrize("family", ["AF_UNIX", "AF_VSOCK"])
def test_other_addresses(family: str) -> None:
    """An abstract socket, or one of another address family, is refused."""
    try:
        bound = socket.socket(getattr(socket, family))
        bound.bind(
            f"\0{os.urandom(8).hex()}" if family == "AF_UNIX" else (socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY)
        )
    except (AttributeError, OSError) as error:
        pytest.skip(f"{family} cannot be used here: {error}")
    with bound:
        bound.listen()
        assert "use ListenStream= with a port or the path of a Unix domain socket" in refused("rest", bound)


def test_sockets_of_another_process() -> None:
    """Variables that a parent has left in the environment are ignored, and removed."""
    variables = {"LISTEN_PID": str(os.getppid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "rest:grpc", "HOME": "/"}
    assert inherit({"rest", "grpc"}, variables) == {}
    assert variables == {"HOME": "/"}


def test_names_of_older_systemd() -> None:
    """Without names, nothing tells the sockets apart."""
    with pytest.raises(ServerError, match="a socket named ''"):
        inherit({"rest"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
