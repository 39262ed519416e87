"""Listening on ports and on Unix domain sockets for sidecars."""

import errno
import os
import signal
import socket
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from select import select

import grpc
import pytest

from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.server.errors import ServerError
from sentiment_conv1d.server.network.sockets import bind, bind_unix, drop_syn
from sentiment_conv1d.stubs import SentimentStub
from tests.kernel_memory import kernel_megabytes
from tests.proc import children, sockets
from tests.processes import PATIENCE, PROBE, ServerProcess, eventually, run
from tests.server.network.callers import ask
from tests.service.certificates import Authority

#: Bytes after which the kernel has raised the limits of a connection, if it may, and the most that it holds otherwise.
FAST_BYTES = 64_000_000
KERNEL_MEGABYTES = 0.5


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "a" * 70])
def test_invalid_addresses(host: str) -> None:
    """An address that is not local or not valid is refused with one sentence."""
    with pytest.raises(ServerError, match=rf"^cannot listen on {host}:0: .*\w"):
        bind(host, 0)


def test_port_taken_at_the_last_moment() -> None:
    """Two servers can bind the same port, and the second one that listens is refused with one sentence."""
    with bind("127.0.0.1", 0) as first, bind("127.0.0.1", first.socket.getsockname()[1]) as second:
        first.listen(30)
        with pytest.raises(ServerError, match="cannot listen: Address already in use"):
            second.listen(30)


@pytest.mark.parametrize("direction", ["received", "sent"])
def test_memory_of_a_connection(direction: str) -> None:
    """The kernel holds little for a connection that was fast before one side stopped reading."""
    with bind("127.0.0.1", 0) as listener, socket.socket() as caller:
        listener.listen(30)
        caller.connect(listener.socket.getsockname())
        with listener.socket.accept()[0] as accepted:
            sender, receiver = (caller, accepted) if direction == "received" else (accepted, caller)
            with ThreadPoolExecutor(1) as pool:
                sending = pool.submit(sender.sendall, bytes(FAST_BYTES))
                left = FAST_BYTES
                while left:
                    left -= len(receiver.recv(1_000_000))
                sending.result(PATIENCE)
            sender.setblocking(False)
            while select([], [sender], [], 1)[1]:
                with suppress(BlockingIOError):
                    sender.send(bytes(65_536))
            assert 0 < kernel_megabytes([listener.socket.getsockname()[1]]) < KERNEL_MEGABYTES


def test_time_of_a_connection() -> None:
    """The kernel ends a connection whose peer receives nothing a little later than the service does."""
    with bind("127.0.0.1", 0) as listener, socket.socket() as caller:
        listener.listen(30)
        caller.connect(listener.socket.getsockname())
        with listener.socket.accept()[0] as accepted:
            milliseconds = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert 30_000 < milliseconds <= 40_000


def test_ipv6() -> None:
    """A server that listens on IPv6 also accepts IPv4."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        listener = bind("::1", 0)
    except ServerError:
        pytest.skip("no IPv6 address here")
    with listener:
        assert listener.socket.family == socket.AF_INET6


@pytest.fixture
def paths(tmp_path: Path) -> tuple[str, ...]:
    """Return flags for two Unix domain sockets in a temporary folder."""
    return ("--uds", str(tmp_path / "rest.sock"), "--grpc-uds", str(tmp_path / "grpc.sock"))


@pytest.fixture
def sidecar(paths: tuple[str, ...]) -> Iterator[ServerProcess]:
    """Serve only on sockets, with two workers and a restrictive umask."""
    with ServerProcess("--workers", "2", "--access-log", *paths, prefix="sh -c 'umask 077; exec \"$@\"' sh") as process:
        yield process


def test_unix_domain_sockets(sidecar: ServerProcess, tmp_path: Path) -> None:
    """REST and gRPC answer on the sockets, and the log contains the paths and no client address."""
    answer = sidecar.client.post("/v1/predict", json={"text": "A great film."}, headers={"X-Request-ID": "local-1"})
    assert answer.json()["label"] == "positive"
    with grpc.insecure_channel(f"unix:{tmp_path}/grpc.sock") as channel:
        assert SentimentStub(channel).Predict(PredictRequest(text="A great film.")).label == "positive"
    sidecar.wait_for_log(f"listening on unix:{tmp_path}/rest.sock \\(http\\)")
    sidecar.wait_for_log(f"listening on unix:{tmp_path}/grpc.sock \\(grpc\\)")
    assert "client=None" in sidecar.wait_for_log("POST /v1/predict.*request_id=local-1.*")[0]


def test_unix_domain_sockets_are_spread_and_removed(sidecar: ServerProcess, tmp_path: Path) -> None:
    """Both workers get connections, owner and group can connect, and the files are removed at shutdown."""
    for name in ("rest.sock", "grpc.sock"):
        assert stat.filemode((tmp_path / name).stat().st_mode) == "srw-rw----"
    before = [sockets(pid) for pid in children(sidecar.process.pid)]

    def held() -> list[int]:
        now = [sockets(pid) for pid in children(sidecar.process.pid)]
        return [len(each - old) for each, old in zip(now, before, strict=True)]

    def spread() -> bool:
        """Open eight connections. A worker that gets no processor time gets none of them."""
        eventually(lambda: held() == [0, 0])
        with ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(tmp_path / "rest.sock"))
            eventually(lambda: sum(held()) == 8)
            return held() == [4, 4]

    eventually(spread)
    assert sidecar.stop() == 0
    assert list(tmp_path.iterdir()) == []


def test_socket_of_a_killed_server(paths: tuple[str, ...], tmp_path: Path) -> None:
    """The socket of a killed server is replaced, and the socket of a running one is refused by name."""
    killed = ServerProcess("--workers", "1", *paths)
    killed.stop(signal.SIGKILL)
    killed.abandon()
    assert (tmp_path / "rest.sock").exists()
    with ServerProcess("--workers", "1", *paths) as process:
        assert process.client.get("/readyz").status_code == 200
        refusal = run("-m", "service", "serve", *paths)
        assert refusal.returncode == os.EX_TEMPFAIL
        assert refusal.stderr.endswith(f"cannot listen on {tmp_path}/rest.sock: another process listens on it\n")
        assert process.client.get("/readyz").status_code == 200


def test_tls_on_a_unix_domain_socket(paths: tuple[str, ...], tmp_path: Path) -> None:
    """TLS works on a socket, and the probe can connect."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    with ServerProcess("--workers", "1", "--tls-certificate", str(certificate), "--tls-key", str(key), *paths):
        variables = {"SENTIMENT_UDS": paths[1], "SENTIMENT_TLS_CERTIFICATE": str(certificate)}
        probe = run(*PROBE, **variables)
        assert (probe.returncode, probe.stderr) == (0, "")


def test_invalid_paths(tmp_path: Path) -> None:
    """A regular file, a missing folder and a path that is too long are refused with one sentence."""
    file = tmp_path / "file"
    file.write_text("mine")
    for path in (file, tmp_path / "missing" / "rest.sock", tmp_path / ("x" * 120)):
        with pytest.raises(ServerError, match=rf"^cannot listen on {path}: .*\w"), bind_unix(path):
            pass
    assert file.read_text() == "mine"


def allows_filters() -> bool:
    """Return whether the system lets this process filter the packets of a socket, which some containers forbid."""
    with socket.socket() as filtered:
        try:
            drop_syn(filtered)
        except OSError:
            return False
    return True


def test_new_callers_during_the_shutdown(tmp_path: Path) -> None:
    """Earlier connections can still be accepted, and new callers wait on a port and fail on a path."""
    with bind("127.0.0.1", 0) as port, bind_unix(tmp_path / "rest.sock") as path, ExitStack() as stack:
        for listener in (port, path):
            listener.listen(30)
            address = listener.socket.getsockname()
            early = [stack.enter_context(socket.socket(listener.socket.family)) for _ in range(3)]
            for caller in early:
                caller.connect(address)
            listener.refuse()
            late = stack.enter_context(socket.socket(listener.socket.family))
            late.setblocking(False)
            assert late.connect_ex(address) == (errno.EINPROGRESS if listener is port else errno.ENOENT)
            accepted = [stack.enter_context(listener.socket.accept()[0]) for _ in early]
            with suppress(BlockingIOError):
                while True:  # other programs can have connected to the port too
                    accepted.append(stack.enter_context(listener.socket.accept()[0]))
            if listener is port:
                addresses = {caller.getpeername() for caller in accepted}
                assert {caller.getsockname() for caller in early} <= addresses
                assert late.getsockname() not in addresses or not allows_filters()


@pytest.mark.parametrize("kind", ["port", "path"])
def test_connections_during_the_shutdown(kind: str, paths: tuple[str, ...]) -> None:
    """Callers that reconnect for every request get an answer or cannot connect, until none can connect."""
    if kind == "port" and not allows_filters():
        pytest.skip("this system forbids the filter without which the last connections can be reset")
    flags = ("--workers", "2", *(paths if kind == "path" else ()))

    request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    def ask_often(process: ServerProcess) -> int:
        answered = 0
        while True:
            try:
                answer = ask(paths[1] if kind == "path" else ("127.0.0.1", process.port), request)
            except (ConnectionRefusedError, FileNotFoundError):
                return answered
            assert answer in (b"HTTP/1.1 200 OK\r\n", None)
            answered += answer is not None

    for _ in range(2):
        with ServerProcess(*flags) as process, ThreadPoolExecutor(32) as pool:
            answers = [pool.submit(ask_often, process) for _ in range(32)]
            process.client.get("/readyz")
            assert process.stop() == 0
            assert sum(each.result() for each in answers) > 0


def test_socket_of_a_later_server(tmp_path: Path) -> None:
    """A server whose path another one has taken does not listen. A server that stops removes only its own socket."""
    path = tmp_path / "rest.sock"
    with bind_unix(path), ExitStack() as later:
        with bind_unix(path) as first:  # it does not listen, so another server can take its file
            later.enter_context(bind_unix(path))
            with pytest.raises(ServerError, match=r"cannot listen: another process has taken .*/rest\.sock"):
                first.listen(30)
        assert first.socket.fileno() == -1 and path.exists()
    assert not path.exists()
