"""Another caller, in a separate process, that requests predictions over REST and gRPC at a steady rate.

`python -m tests.attacks.probe` reads lines of a REST port, a gRPC port, an API key and the certificate of an authority
(these two or `-`), calls the latest pair, and writes a line for every answer: protocol, when the request was due,
seconds until the answer, and its status.
"""

from __future__ import annotations

import http.client
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import grpc

from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import PATIENCE, PROJECT, ServerProcess, environment

#: Seconds between two requests of one protocol.
PACE = 0.02

PROTOCOLS = ("REST", "gRPC")


_WRITING = threading.Lock()


class Wait(NamedTuple):
    """A request: its due time on the monotonic clock, the seconds until its answer, and whether it was right."""

    protocol: str
    due: float
    seconds: float
    status: str


class Probe:
    """Runs the process in a `with` block."""

    def __init__(self) -> None:
        self._waits: list[Wait] = []
        self._grown = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.attacks.probe"],
            cwd=PROJECT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self._process.stdin.close()
        self._process.stdout.close()

    def call(self, server: ServerProcess, key: str | None = None, authority: Path | None = None) -> None:
        """Switch to this server and wait until it has answered over both protocols."""
        assert self._process.stdin is not None
        started = time.monotonic()
        self._process.stdin.write(f"{server.port} {server.grpc_port} {key or '-'} {authority or '-'}\n")
        self._process.stdin.flush()
        self._wait_for(lambda: all(self.between(started, float("inf"), protocol) for protocol in PROTOCOLS))

    def catch_up(self, moment: float) -> None:
        """Wait until every request due by then has been answered or has failed."""
        self._wait_for(lambda: all(self.between(moment, float("inf"), protocol) for protocol in PROTOCOLS))

    def between(self, start: float, end: float, protocol: str) -> list[Wait]:
        """Return the known requests of a protocol that were due in a time span."""
        return [each for each in list(self._waits) if each.protocol == protocol and start <= each.due < end]

    def _wait_for(self, what: Callable[[], bool]) -> None:
        with self._grown:
            assert self._grown.wait_for(what, 2 * PATIENCE), "the probe has stopped"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            protocol, due, seconds, status = line.split()
            with self._grown:
                self._waits.append(Wait(protocol, float(due), float(seconds), status))
                self._grown.notify_all()


def percentile(waits: Sequence[Wait], share: float) -> float:
    """Return the seconds within which this share of the requests was answered."""
    ordered = sorted(each.seconds for each in waits)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def _call_steadily(protocol: str, ask: Callable[[], str], stopped: threading.Event) -> None:
    """Send requests at a steady rate.

    While a request waits, the next ones become due. They are not sent but count as if they had been, because a stall
    would have delayed their callers.
    """
    due = time.monotonic()
    while not stopped.is_set():
        status = ask()
        if stopped.is_set():  # the server has stopped or will stop
            return
        answered = time.monotonic()
        lines = []
        while due <= answered:
            lines.append(f"{protocol} {due:.6f} {answered - due:.6f} {status}\n")
            due += PACE
        with _WRITING:
            sys.stdout.write("".join(lines))
            sys.stdout.flush()
        stopped.wait(max(0.0, due - time.monotonic()))


def _rest(port: int, headers: dict[str, str], authority: str | None) -> Callable[[], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    if authority is not None:
        context = ssl.create_default_context(cafile=authority)
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)

    def once() -> str:
        connection.request("POST", "/v1/predict", b'{"text": "A great film."}', headers)
        response = connection.getresponse()
        response.read()
        return str(response.status)

    def ask() -> str:
        try:
            return once()
        except (ConnectionError, http.client.HTTPException):
            connection.close()  # the server can close an idle connection at any time
        try:
            return once()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return type(error).__name__

    return ask


def _grpc(port: int, headers: dict[str, str], authority: str | None) -> Callable[[], str]:
    target, options = f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)]
    if authority is None:
        channel = grpc.insecure_channel(target, options)
    else:
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(Path(authority).read_bytes()), options)
    stub = SentimentStub(channel)
    request = PredictRequest(text="A great film.")

    def ask() -> str:
        try:
            stub.Predict(request, timeout=PATIENCE, wait_for_ready=True, metadata=tuple(headers.items()))
        except grpc.RpcError as error:
            return str(error.code().name)
        return "200"

    return ask


def main() -> None:
    """Call the servers named on standard input until it ends."""
    stopped = threading.Event()
    for line in sys.stdin:
        stopped.set()
        stopped = threading.Event()
        port, grpc_port, *given = line.split()
        key, authority = (None if each == "-" else each for each in given)
        headers = {} if key is None else {"x-api-key": key}
        callers = (_rest(int(port), headers, authority), _grpc(int(grpc_port), headers, authority))
        for protocol, ask in zip(PROTOCOLS, callers, strict=True):
            threading.Thread(target=_call_steadily, args=(protocol, ask, stopped), daemon=True).start()


if __name__ == "__main__":
    main()
