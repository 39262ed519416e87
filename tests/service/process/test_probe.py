"""The container's health probe exits with status 0 while the service on this machine is ready."""

import socket
import threading
from pathlib import Path

import pytest

from sentiment_conv1d.server.errors import ServerError
from sentiment_conv1d.server.network.sockets import bind
from tests.processes import PROBE, ServerProcess, run

#: As in a container. Only for checks that end at once.
MODULE = ("-m", "service.process.probe")


def probe(port: int | str, *arguments: str, **variables: str) -> tuple[int, str]:
    result = run(*(arguments or PROBE), SENTIMENT_PORT=str(port), **variables)
    assert "Traceback" not in result.stderr
    return result.returncode, result.stderr


def test_ready(server: ServerProcess) -> None:
    """A ready service is healthy, even if the environment configures a proxy."""
    proxies = {"http_proxy": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9"}
    assert probe(server.port, **proxies) == (0, "")


def test_closed_port() -> None:
    """If nothing listens, the probe fails."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        status, reason = probe(bound.getsockname()[1], *MODULE)
    assert status == 1 and "Connection refused" in reason


def answering(listener: socket.socket, answer: bytes) -> threading.Thread:
    """Answer the next connection of a listener."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("localhost", "127.0.0.1"),
        ("::", "::1"),
        ("0::0", "::1"),
        ("::1", "::1"),
    ],
)
def test_where_the_service_listens(host: str, address: str) -> None:
    """The probe requests the configured address, or the loopback address if the service listens on all."""
    try:
        listener = bind(address, 0)
    except ServerError:
        pytest.skip(f"no {address} here")
    with listener:
        listener.socket.listen()
        thread = answering(listener.socket, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert probe(listener.socket.getsockname()[1], SENTIMENT_HOST=host) == (0, "")
        thread.join()


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 503 Service Unavailable\r\n\r\nleaving"])
def test_not_ready(answer: bytes) -> None:
    """Any status but 200 is unhealthy, and so is an answer that is not HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = answering(listener, answer)
        status, reason = probe(listener.getsockname()[1])
        thread.join()
    assert status == 1 and reason.startswith("not ready: ")


def test_invalid_port() -> None:
    """An invalid port is unhealthy."""
    assert probe("eight", *MODULE)[0] == 1


def test_key_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    """The probe and the service read a key file that begins with a byte order mark."""
    (file := tmp_path / "keys").write_text("\N{BYTE ORDER MARK}probe-key-0123456789\n", "utf-8")
    with ServerProcess("--workers", "1", "--no-grpc", "--no-open-health", SENTIMENT_API_KEY_FILE=str(file)) as server:
        assert probe(server.port, SENTIMENT_API_KEY_FILE=str(file)) == (0, "")
