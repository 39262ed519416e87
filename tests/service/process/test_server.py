"""The server process: it starts completely or not at all, and answers all requests before it exits."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import pytest

from sentiment_conv1d.artifact.artifact import ArtifactError
from sentiment_conv1d.artifact.manifest import GRAPH_FILE, MANIFEST_FILE, TOKENIZER_FILE
from sentiment_conv1d.native.compilation import LIBRARY
from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.server.process.processors import processors
from sentiment_conv1d.service.process import server
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.version import package_version
from sentiment_conv1d.stubs import SentimentStub
from tests.proc import children
from tests.processes import (
    CLASSIC_REPOSITORY,
    MODEL_REPOSITORY,
    PATIENCE,
    PROBE,
    PROJECT,
    SHIPPED_MODELS,
    ServerProcess,
    environment,
    eventually,
    patch,
    pause,
    run,
)
from tests.service.artifacts import endless_graph, publish_table, shipped_copy
from tests.service.certificates import Authority
from tests.service.grpc.channels import connect

FILES = (GRAPH_FILE, TOKENIZER_FILE, MANIFEST_FILE)

#: Modules that train, export or read files, which serving must not need.
HEAVY = [
    "tensorflow",
    "keras",
    "tf2onnx",
    "onnx",
    "sklearn",
    "matplotlib",
    "pyarrow",
    "pandas",
    "sentiment_conv1d.export",
    "sentiment_conv1d.model.data",
    "sentiment_conv1d.model.evaluation",
    "sentiment_conv1d.model.run",
    "sentiment_conv1d.model.training",
]


def refused(*flags: str, status: int = 2, **variables: str) -> str:
    """Return the error line of a server that does not start."""
    result = run("-m", "service", "serve", "--host", "127.0.0.1", "--port", "0", *flags, **variables)
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
    *_, last = result.stderr.splitlines()
    assert last.startswith("error: ")
    return last


class Pending:
    """A request on a separate connection whose last byte has not been sent."""

    def __init__(self, port: int, body: bytes) -> None:
        self._body = body
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        head = (
            f"POST /v1/predict_batch HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode())
        assert self._socket.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        self._socket.sendall(body[:-1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def complete(self) -> bytes:
        """Send the last byte and read until the server closes the connection."""
        self._socket.sendall(self._body[-1:])
        answer = b""
        while received := self._socket.recv(65536):
            answer += received
        return answer


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_exit_status(signal_number: int) -> None:
    """SIGTERM and Ctrl-C end the server with status 0 and without errors, with and without idle connections."""
    with ServerProcess() as process:
        assert process.client.get("/readyz").status_code == 200
        assert process.stop(signal_number) == 0
        levels = [line.split()[1] for line in process.log]
        assert set(levels) == {"INFO"}, process.log
        assert f"shutting down: received {signal.Signals(signal_number).name}" in process.log[-2]
        assert "stopped" in process.log[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_late_signal(number: int, tmp_path: Path) -> None:
    """A signal that arrives after the end of the interpreter does not change the exit status."""
    # At the end, the C library calls `kill(status, number)`, which signals the process group if the status is 0.
    source = f"import ctypes; libc = ctypes.CDLL(None); libc.on_exit(libc.kill, {int(number)})"
    with ServerProcess("--workers", "1", prefix="setsid", PYTHONPATH=patch(tmp_path / "late", source)) as process:
        assert process.stop() == 0


def test_running_requests_are_finished() -> None:
    """Requests in progress at SIGTERM are answered completely, and idle and new connections are closed."""
    texts = ["word " * 2000] * 500
    with (
        ServerProcess("--workers", "1") as process,
        Pending(process.port, json.dumps({"texts": texts}).encode()) as pending,
        socket.create_connection(("127.0.0.1", process.port), PATIENCE) as idle,
    ):
        process.process.send_signal(signal.SIGTERM)
        assert idle.recv(1000) == b""  # the worker knows by now
        head, body = pending.complete().split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in head
        assert [each["tokens"] for each in json.loads(body)["predictions"]] == [2001] * 500
        assert process.stop() == 0
        with pytest.raises(httpx.ConnectError):
            process.client.get("/livez")


def test_drain_delay() -> None:
    """During the drain delay, /readyz returns 503, which is no error in the log, and requests are answered as usual."""
    with ServerProcess("--drain-delay", "30") as process:
        process.process.send_signal(signal.SIGTERM)
        process.wait_for_log("shutting down")
        ready = process.client.get("/readyz")
        assert (ready.status_code, ready.json()["error"]["code"]) == (503, "unavailable")
        assert int(ready.headers["retry-after"]) > 0
        assert process.client.get("/livez").status_code == 200
        answer = httpx.post(f"{process.url}/v1/predict", json={"text": "New here."}, timeout=PATIENCE, trust_env=False)
        assert answer.status_code == 200
        # This signal is the second one, which ends the drain delay.
        assert process.stop() == 0
        assert not [line for line in process.log if " ERROR " in line]


def test_another_signal_while_requests_run() -> None:
    """A second signal while the last requests run ends the server at once."""
    with (
        ServerProcess("--shutdown-timeout", "600", "--workers", "1") as process,
        Pending(process.port, b"x" * 100),
        socket.create_connection(("127.0.0.1", process.port), PATIENCE) as idle,
    ):
        process.process.send_signal(signal.SIGTERM)
        assert idle.recv(1000) == b""  # the worker knows by now
        assert process.stop() == 0


def test_sighup() -> None:
    """SIGHUP ends no process, and the log says how to reload settings."""
    with ServerProcess("--workers", "1") as process:
        for pid in (process.process.pid, *children(process.process.pid)):
            os.kill(pid, signal.SIGHUP)
        process.wait_for_log("received SIGHUP: certificates and API keys are in use a second after their files change")
        assert process.client.get("/livez").status_code == 200


def test_shutdown_timeout() -> None:
    """A caller that never completes its request does not delay the exit."""
    with ServerProcess("--shutdown-timeout", "1") as process, Pending(process.port, b"x" * 100):
        assert process.stop() == 0


#: Read by every Python at its start. While a model is opened, or a library imported, a signal arrives whose exception
#: is dropped, as in type checks of libraries.
LOADING = """
import contextlib, os, signal
from sentiment_conv1d.inference.classifier import Classifier
opened = Classifier.__init__
def open(self, *arguments, **keywords):
    with contextlib.suppress(BaseException):
        os.kill(os.getpid(), signal.SIGTERM)
    opened(self, *arguments, **keywords)
Classifier.__init__ = open
"""
COLLECTING = """
import os, signal
from sentiment_conv1d.inference.classifier import Classifier
opened = Classifier.__init__
class Garbage:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
def open(self, *arguments, **keywords):
    Garbage()
    opened(self, *arguments, **keywords)
Classifier.__init__ = open
"""
IMPORTING = """
import contextlib, os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        with contextlib.suppress(BaseException):
            if name == "onnxruntime":
                os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(("source", "name"), [(LOADING, "SIGTERM"), (COLLECTING, "SIGTERM"), (IMPORTING, "SIGINT")])
def test_signal_whose_exception_is_dropped(source: str, name: str, tmp_path: Path) -> None:
    """A signal ends the start even if a library or Python drops the exception of its handler, without a traceback."""
    variables = environment(PYTHONPATH=patch(tmp_path / "patch", source))
    command = [sys.executable, "-m", "service", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=PROJECT, env=variables, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "listening" in line:
                process.kill()
    assert process.returncode == 0, lines
    assert any(line.endswith(f"received {name} before the service was ready\n") for line in lines)
    assert "Traceback" not in "".join(lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_while_loading(number: signal.Signals, tmp_path: Path) -> None:
    """A server that is stopped before it listens exits with status 0, and the process that opens a model ends too."""
    publish_table(tmp_path, endless_graph())
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--model-repository", str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            eventually(lambda: len(children(process.pid)) == 1)
            process.send_signal(number)
            assert process.wait(PATIENCE) == 0
            # The end of the stream is the end of both processes.
            assert process.stderr.read().endswith(f"received {number.name} before the service was ready\n")
        finally:
            process.kill()


def test_version_that_never_ends_at_the_start(tmp_path: Path) -> None:
    """A service refuses a version that does not open in time, serves the next one, and needs at least one."""
    publish_table(tmp_path)
    publish_table(tmp_path, endless_graph())
    with ServerProcess("--load-timeout", "15", repository=tmp_path) as process:
        process.wait_for_log(r"refused a version of tickets: .*tickets/2: it did not open .* version=2 fault=timeout")
        assert process.client.post("/v1/predict", json={"text": "praise"}).json()["model"]["version"] == "1"
    refusal = refused("--model-repository", str(tmp_path), "--versions", "only:2", "--load-timeout", "1")
    assert f"{tmp_path}/tickets/2: it did not open and answer its golden text within 1 s (--load-timeout)" in refusal


def test_port_taken(server: ServerProcess) -> None:
    """A port that is in use is refused with one line, which names what chooses another one, and with status 75."""
    refusal = refused("--port", str(server.port), status=os.EX_TEMPFAIL)
    assert refusal == (
        f"error: cannot listen on 127.0.0.1:{server.port}: Address already in use; --port (SENTIMENT_PORT) chooses "
        'another port, as in `make serve ARGS="--port 9000"`'
    )
    refusal = refused("--grpc-port", str(server.port), status=os.EX_TEMPFAIL)
    assert refusal == (
        f"error: cannot listen on 127.0.0.1:{server.port} for gRPC: Address already in use; --grpc-port "
        '(SENTIMENT_GRPC_PORT) chooses another port, as in `make serve ARGS="--grpc-port 9001"`'
    )


@pytest.mark.parametrize("variables", [{}, {"SENTIMENT_HOST": "0.0.0.0"}], ids=["default", "image"])
def test_who_can_connect(variables: dict[str, str]) -> None:
    """Unless told otherwise, the service answers on 127.0.0.1 only, and says so; the container's probe finds it."""
    chosen = {"PORT": "0", "WORKERS": "1", "MODEL_REPOSITORY": str(CLASSIC_REPOSITORY), "EXECUTION_PROVIDER": "cpu"}
    settings = variables | {f"SENTIMENT_{name}": value for name, value in chosen.items()}
    # The shell drops the flags that the harness adds.
    prefix = shlex.join(["sh", "-c", f"exec {shlex.quote(sys.executable)} -m service serve"])
    with ServerProcess(prefix=prefix, repository=CLASSIC_REPOSITORY, **settings) as process:
        for port in (process.port, process.grpc_port):
            with socket.socket() as caller:
                assert (caller.connect_ex(("127.0.0.2", port)) == 0) == bool(variables)
        said = [line for line in process.log if "only this machine can connect" in line]
        assert len(said) == (0 if variables else 1)
        assert run(*PROBE, SENTIMENT_PORT=str(process.port), **variables).returncode == 0


@pytest.mark.parametrize(
    ("host", "secure", "shown"), [("0.0.0.0", False, "http://localhost"), ("127.0.0.2", True, "https://127.0.0.2")]
)
def test_address_for_a_browser(host: str, *, secure: bool, shown: str, server: ServerProcess, tmp_path: Path) -> None:
    """On a terminal, the last line of the start is the address of the page; programs that read the log get none."""
    flags = ["--host", host, "--port", "0", "--workers", "1", "--model-repository", str(CLASSIC_REPOSITORY)]
    if secure:
        certificate, key = Authority(tmp_path).issue("server", address=host).pair
        flags += ["--tls-certificate", certificate, "--tls-key", key]
    reader, terminal = os.openpty()
    command = [sys.executable, "-m", "service", "serve", *flags]
    with subprocess.Popen(command, cwd=PROJECT, env=environment(), stderr=terminal) as process:
        os.close(terminal)
        log = ""
        while " open http" not in log:
            log += os.read(reader, 4096).decode()
        process.terminate()
        with suppress(OSError):  # at the end of a terminal
            while os.read(reader, 4096):
                pass
    os.close(reader)
    assert process.returncode == 0
    found = re.search(rf" listening on https?://{re.escape(host)}:(\d+)\r\n.* (open \S+)", log)
    assert found is not None
    assert found[2] == f"open {shown}:{found[1]}"
    assert server.log and " open http" not in "".join(server.log)


def test_address_of_another_machine() -> None:
    """An address that no interface has is a mistake, so the status keeps a process manager from starting again."""
    refusal = refused("--host", "192.0.2.1")
    assert refusal == "error: cannot listen on 192.0.2.1:0: Cannot assign requested address"


def test_bad_settings() -> None:
    """An invalid setting is refused, and the message names its flag or variable."""
    assert refused("--threads", "none").startswith("error: --threads: ")
    assert refused(SENTIMENT_DEVICE="first").startswith("error: SENTIMENT_DEVICE: ")
    assert refused(SENTIMENT_DEVIZE="0").startswith("error: SENTIMENT_DEVIZE is not a setting")


def load(repository: Path) -> None:
    server.load_core(Settings(model_repository=repository, execution_provider="cpu"))


def flipped(position: float) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        place = round(position * (len(content) - 1))
        return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]

    return change


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    **{f"byte changed at {position:.2f}": flipped(position) for position in (0, 0.01, 0.25, 0.5, 0.75, 0.99, 1)},
    "last byte gone": lambda content: content[:-1],
    "second half gone": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "longer": lambda content: content + b"\n",
    "twice": lambda content: content + content,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", FILES)
def test_changed_file(tmp_path: Path, name: str, change: str) -> None:
    """A changed file of an artifact is refused by name."""
    file = shipped_copy(tmp_path) / name
    file.write_bytes(CHANGES[change](file.read_bytes()))
    with pytest.raises(ArtifactError) as error:
        load(tmp_path)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("name", FILES)
def test_missing_file(tmp_path: Path, name: str) -> None:
    """A file of an artifact that is missing, or is a folder, is refused by name."""
    file = shipped_copy(tmp_path) / name
    file.unlink()
    with pytest.raises(ArtifactError) as error:
        load(tmp_path)
    assert str(error.value) == f"{file}: the file is missing"
    file.mkdir()
    with pytest.raises(ArtifactError) as error:
        load(tmp_path)
    assert str(file) in str(error.value)


def test_later_format(tmp_path: Path) -> None:
    """A manifest with a later format version is refused with this reason."""
    file = shipped_copy(tmp_path) / MANIFEST_FILE
    file.write_text(file.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(ArtifactError, match="format version 2 is newer") as error:
        load(tmp_path)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("name", FILES)
def test_broken_artifact_ends_the_process(tmp_path: Path, name: str) -> None:
    """With a broken artifact the process exits with status 2 and one sentence that names the file."""
    file = shipped_copy(tmp_path) / name
    file.write_bytes(CHANGES["byte changed at 0.50"](file.read_bytes()))
    assert str(file) in refused("--model-repository", str(tmp_path))


def test_no_repository_ends_the_process(tmp_path: Path) -> None:
    """Without a model the process exits with status 2 and one sentence."""
    assert "contains no model" in refused("--model-repository", str(tmp_path))


def test_cuda_asked_for() -> None:
    """If CUDA was requested but does not work, the process exits with status 2 and says why in one sentence."""
    refusal = refused("--execution-provider", "cuda", "--device", "63")
    assert re.search("the CUDA execution provider was requested but does not work here: .", refusal)


def test_automatic_provider_without_cuda() -> None:
    """Without a CUDA build of ONNX Runtime, `auto` serves on the CPU and does not mention CUDA."""
    with ServerProcess("--execution-provider", "auto") as process:
        assert process.client.get("/v1/models").json()["models"][0]["execution_provider"] == "CPUExecutionProvider"
        assert not [line for line in process.log if "CUDA" in line]


def test_cpu_asked_for_needs_no_reason() -> None:
    """With the CPU requested, the log only says what is served, by the native operator or not, to whom, and where."""
    with ServerProcess("--execution-provider", "cpu", repository=MODEL_REPOSITORY, default_model=None) as process:
        repository, default, *serving, access, here, listening_grpc, listening = process.log
        assert f"the model repository is {MODEL_REPOSITORY}" in repository
        assert "the default model is reviews; --default-model (SENTIMENT_DEFAULT_MODEL) chooses another" in default
        for (name, folder), line in zip(SHIPPED_MODELS.items(), serving, strict=True):
            assert f"serving {name} version={folder.name} execution_provider=CPUExecutionProvider" in line
            assert ("operator=native" if LIBRARY.exists() else "operator=this installation does not contain it") in line
        assert "access: keys: none" in access
        assert "only this machine can connect; --host (SENTIMENT_HOST) admits others" in here
        assert process.url in listening
        assert f"grpc://127.0.0.1:{process.grpc_port}" in listening_grpc


def test_native_operator_turned_off() -> None:
    """`--no-native-operator` serves with ONNX Runtime's own operators, and the log says so."""
    with ServerProcess("--no-native-operator", repository=MODEL_REPOSITORY) as process:
        serving = [line for line in process.log if "serving" in line]
        assert len(serving) == len(SHIPPED_MODELS)
        assert all("operator=it is turned off" in line for line in serving)


def test_light_import() -> None:
    """A server loads no module for training, export or files, before or after it has answered."""
    program = f"""
import asyncio, sys
import sentiment_conv1d.service.process.server
imported = set(sys.modules)
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.request_context import RequestContext
core = sentiment_conv1d.service.process.server.load_core(Settings(execution_provider="cpu"))
protocols = sentiment_conv1d.service.protocols.rest_protocols(core.settings)
sentiment_conv1d.service.rest.openapi.write(protocols, core.settings, core.access)
state = core.start(0)
sentiment_conv1d.service.rest.app.Application(state, protocols)
predictions = asyncio.run(state.dataplane.predict(RequestContext("id"), state.models.get(), ["A great film."]))
assert predictions[0].label == "positive"
for modules in (imported, set(sys.modules)):
    heavy = [name for name in modules for root in {HEAVY!r} if name == root or name.startswith(root + ".")]
    assert not heavy, heavy
"""
    result = run("-c", program)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def logging() -> Iterator[ServerProcess]:
    """Serve with an access log."""
    with ServerProcess("--access-log") as process:
        yield process


def test_request_ids_in_logs(logging: ServerProcess) -> None:
    """The log line of a request has the request id of its answer, and ids differ."""
    chosen = logging.client.post("/v1/predict", json={"text": "x"}, headers={"X-Request-ID": "mine-1"})
    given = logging.client.get("/livez").headers["x-request-id"]
    other = logging.client.get("/no/such").headers["x-request-id"]
    assert chosen.headers["x-request-id"] == "mine-1"
    assert len({"mine-1", given, other}) == 3
    assert "POST /v1/predict" in logging.wait_for_log(r".*request_id=mine-1 .*")[0]
    assert "GET /livez" in logging.wait_for_log(rf".*request_id={given} .*")[0]
    assert "status=404" in logging.wait_for_log(rf".*request_id={other} .*")[0]


def test_request_ids_of_requests_that_run_together(logging: ServerProcess) -> None:
    """Requests that arrive in one turn of the event loop have their own ids in the log."""
    ids = [f"together-{number}" for number in range(8)]
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\nX-Request-ID: %b\r\n\r\n"
    workers = children(logging.process.pid)
    with ExitStack() as stack:
        callers = [stack.enter_context(socket.create_connection(("127.0.0.1", logging.port))) for _ in ids]
        for caller in callers:  # after its answer, a worker has the connection
            caller.sendall(head % b"first" + b'{"text": ""}')
            assert caller.recv(65_536).startswith(b"HTTP/1.1 200")
        for worker in workers:
            pause(worker)
        for caller, identity in zip(callers, ids, strict=True):
            caller.sendall(head % identity.encode() + b'{"text": ""}')
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        for identity in ids:
            logging.wait_for_log(rf".*request_id={identity} .*")


def test_access_log_is_off() -> None:
    """Without an access log, answered and refused requests are not logged."""
    with ServerProcess() as process:
        before = len(process.log)
        assert process.client.post("/v1/predict", json={"text": "x"}).status_code == 200
        assert process.client.post("/v1/predict", json={"txt": "x"}).status_code == 422
        assert process.stop() == 0
        assert ["shutting down" in line or "stopped" in line for line in process.log[before:]] == [True, True]


def test_access_log_cannot_be_forged(logging: ServerProcess) -> None:
    """A path cannot start a new log line."""
    logging.client.get("/%0d%0a12:00:00.000%20INFO%20forged%1b[31m", headers={"X-Request-ID": "forger"})
    line = logging.wait_for_log(r".*request_id=forger.*")[0]
    assert "forged" in line
    assert not any("\x1b" in line or line.startswith("12:00:00.000 INFO forged") for line in logging.log)


def test_long_paths_are_cut(logging: ServerProcess) -> None:
    """A path of 8 kB is cut in the log."""
    logging.client.get("/" + 8000 * "x", headers={"X-Request-ID": "wordy"})
    assert len(logging.wait_for_log(r".*request_id=wordy.*")[0]) < 4096


def test_texts_are_not_logged() -> None:
    """The log never contains texts, at any level."""
    with ServerProcess("--access-log", "--log-level", "debug") as process:
        process.client.post("/v1/predict", json={"text": "confidential"})
        process.client.post("/v1/predict", json={"text": ["confidential"]})
        process.client.post("/v1/predict", content=b'{"text": "confidential')
        assert process.stop() == 0
        assert not any("confidential" in line for line in process.log)


def test_json_log() -> None:
    """In the JSON format, every line is an object with the same first fields."""
    with ServerProcess("--log-format", "json", "--access-log") as process:
        process.client.post("/v1/predict", json={"text": "x"}, headers={"X-Request-ID": "mine-2"})
        assert process.stop() == 0
        lines = [json.loads(line) for line in process.log]
        for line in lines:
            assert {"time", "level", "logger", "message"} <= line.keys()
        [request] = [line for line in lines if line.get("request_id") == "mine-2"]
        assert (request["message"], request["status"], request["client"]) == ("POST /v1/predict", 200, "127.0.0.1")
        assert request["milliseconds"] > 0


def test_hand_made_model(tmp_path: Path) -> None:
    """A model of three labels is served in the same way."""
    publish_table(tmp_path)
    with ServerProcess(repository=tmp_path) as process:
        answer = process.client.post("/v1/predict", json={"text": "complaint"}).json()
        assert list(answer["probabilities"]) == ["thanks", "asks", "complains"]
        assert (answer["label"], answer["model"]) == ("complains", {"name": "tickets", "version": "1"})


def test_many_connections_at_once(server: ServerProcess) -> None:
    """Concurrent callers get their own answers."""
    limits = httpx.Limits(max_connections=16)
    with httpx.Client(base_url=server.url, timeout=PATIENCE, limits=limits, trust_env=False) as client:

        def tokens(number: int) -> int:
            count: int = client.post("/v1/predict", json={"text": "word " * number}).json()["tokens"]
            return count

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(tokens, range(200))) == list(range(1, 201))


@pytest.mark.parametrize(
    ("groups", "limits", "workers"),
    [
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "100000 100000"}, 1),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/", {"cpu.max": "900000000 100000"}, None),
        ("0::/", {}, None),
        # Groups around the own one have limits too.
        ("0::/pods/one", {"pods/cpu.max": "100000 100000", "pods/one/cpu.max": "max 100000"}, 1),
        # Version 1, as a container sees it, with the name of its group on the host.
        ("5:cpuset:/\n4:cpu,cpuacct:/docker/1\n0::/", {"cpu/cpu.cfs_quota_us": "100000"}, 1),
        ("4:cpuacct,cpu:/one", {"cpu/one/cpu.cfs_quota_us": "50000"}, 1),
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "-1"}, None),
    ],
)
def test_workers_of_a_container(tmp_path: Path, groups: str, limits: dict[str, str], workers: int | None) -> None:
    """A container gets as many workers as its CPU limits allow, but no more than there are processors."""
    membership = tmp_path / "membership"
    membership.write_text(groups + "\n")
    for name, limit in limits.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(limit + "\n")
        if "cfs" in name:
            file.with_name("cpu.cfs_period_us").write_text("100000\n")
    assert processors(tmp_path, membership) == (workers or len(os.sched_getaffinity(0)))


def test_version() -> None:
    """A server that is not installed, as in the container, reports the version of its project."""
    [version] = re.findall(r'^version = "(.+)"$', (PROJECT / "pyproject.toml").read_text(), re.MULTILINE)
    assert package_version() == version


def test_least_sizes() -> None:
    """With the least sizes that are accepted, an ordinary request is answered over REST and gRPC."""
    sizes = {
        "max-body-bytes": 256,
        "max-buffered-bytes": 5 * 256 + 10 * 1024,
        "max-text-characters": 20,
        **dict.fromkeys(("max-batch-texts", "max-pending-texts", "max-concurrent-requests"), 1),
        **dict.fromkeys(("max-connections", "grpc-max-connections"), 2),
        **dict.fromkeys(("grpc-max-streams", "batching-rows", "workers"), 1),
    }
    flags = [part for name, size in sizes.items() for part in (f"--{name}", str(size))]
    with ServerProcess(*flags) as process, connect(process) as channel:
        answer = process.client.post("/v1/predict", json={"text": "A wonderful film."})
        assert (answer.status_code, answer.json()["label"]) == (200, "positive")
        assert SentimentStub(channel).Predict(PredictRequest(text="A wonderful film.")).label == "positive"
