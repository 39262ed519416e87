"""Several workers as one service: connections are balanced, counts are exact, and dead workers are replaced."""

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.proc import children, connections, established, kill_children, sockets
from tests.processes import PATIENCE, ServerProcess, eventually, pause, run
from tests.service.artifacts import endless_graph, publish_table
from tests.service.telemetry.test_metrics import metric, series, value


@pytest.fixture
def four() -> Iterator[ServerProcess]:
    """Serve with four workers."""
    with ServerProcess("--workers", "4") as process:
        yield process


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[ServerProcess]:
    """Serve a separate small model with three workers."""
    publish_table(tmp_path)
    flags = ("--workers", "3", "--watch-interval", "0", "--admin", "open")
    with ServerProcess(*flags, repository=tmp_path) as process:
        yield process


def versions(process: ServerProcess, count: int) -> Counter[str]:
    """Return the versions that answer on a number of connections, which all workers share."""
    found: Counter[str] = Counter()
    with ExitStack() as stack:
        clients = [
            stack.enter_context(httpx.Client(base_url=process.url, timeout=PATIENCE, trust_env=False))
            for _ in range(count)
        ]
        for client in clients:
            answer = client.post("/v1/predict", json={"text": "praise"})
            found[answer.json()["model"]["version"] if answer.status_code == 200 else str(answer.status_code)] += 1
    return found


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM])
def test_signals_without_a_meaning(four: ServerProcess, number: signal.Signals) -> None:
    """A signal that the service has no use for ends neither the supervisor nor a worker."""
    workers = children(four.process.pid)
    for pid in (four.process.pid, *workers):
        os.kill(pid, number)
    assert sum(versions(four, 8).values()) == 8
    assert children(four.process.pid) == workers


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_connections_are_spread_evenly(four: ServerProcess, protocol: str) -> None:
    """Each of four workers gets eight of 32 connections, and closed connections are replaced evenly."""
    port = four.port if protocol == "rest" else four.grpc_port
    workers = children(four.process.pid)
    assert len(workers) == 4

    def spread() -> list[int]:
        return [connections(pid, port) for pid in workers]

    def is_even() -> bool:
        """Open 32 connections. A worker that gets no processor time gets none of them."""
        with ExitStack() as stack:
            held = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(32)]
            eventually(lambda: sum(spread()) == 32)
            found = spread()
            for connection in held[:16:2]:
                connection.close()
            eventually(lambda: sum(spread()) == 24)
        eventually(lambda: sum(spread()) == 0)
        return found == [8] * 4

    eventually(is_even)


def test_counts_of_all_workers(four: ServerProcess) -> None:
    """Any worker returns the sum of the metrics, which is exact after requests over many connections."""

    def statistics() -> dict[str, Any]:
        answer = four.client.get("/v2/models/imdb-cnn/stats").raise_for_status().json()
        found: dict[str, Any] = answer["model_stats"][0]
        return found

    def work(number: int) -> None:
        with httpx.Client(base_url=four.url, timeout=PATIENCE, trust_env=False) as client:
            for _ in range(25):
                assert client.post("/v1/predict", json={"text": f"review {number}"}).status_code == 200

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    # A worker counts the texts and the predictions after it has answered.
    eventually(lambda: metric(four, "sentiment_texts_total", model="imdb-cnn") == 400)
    eventually(lambda: statistics()["inference_count"] == 400)
    for _ in range(8):
        with httpx.Client(base_url=four.url, timeout=PATIENCE, trust_env=False) as client:
            samples = series(client.get("/metrics").text)
        key = {"protocol": "rest", "route": "/v1/predict"}
        assert value(samples, "sentiment_requests_total", **key, status="200") == 400
        assert value(samples, "sentiment_request_seconds_count", **key) == 400
        assert value(samples, "sentiment_texts_total", model="imdb-cnn") == 400
        found = statistics()
        assert found["inference_count"] == found["inference_stats"]["success"]["count"] == 400


def test_a_killed_worker_is_replaced(four: ServerProcess) -> None:
    """If a worker dies, the others serve, a new worker replaces it, no count is lost, and the log has the signal."""
    versions(four, 8)
    eventually(lambda: metric(four, "sentiment_texts_total", model="imdb-cnn") == 8)  # counted after the answers
    before = children(four.process.pid)
    os.kill(before[1], signal.SIGKILL)
    killed = r"worker 1 was killed by signal 9 \(SIGKILL\) and is replaced worker=1 pid=(\d+) reason=died"
    assert int(four.wait_for_log(killed)[1]) == before[1]
    eventually(lambda: len(set(children(four.process.pid)) - set(before)) == 1)
    assert versions(four, 16) == {"1": 16}
    eventually(lambda: metric(four, "sentiment_texts_total", model="imdb-cnn") >= 24)
    samples = series(four.metrics())
    assert value(samples, "sentiment_texts_total", model="imdb-cnn") == 24
    assert value(samples, "sentiment_workers_replaced_total", reason="died") == 1
    assert value(samples, "sentiment_workers_replaced_total", reason="hung") == 0


#: A supervisor of sixteen workers, all of which are killed at once, long after their start. Each has some memory, so
#: that its channel is closed well before the process has ended.
_KILLED = """
import os, select, signal
from sentiment_conv1d.server.process import supervisor
from sentiment_conv1d.server.process.control import Control

supervisor._PAUSE_SECONDS = 60  # nobody takes their places,
supervisor._STABLE_SECONDS = 3600  # however long they have run

def work(number, channel):
    memory = bytearray(16 << 20)
    channel.send("ready")
    select.select([channel], [], [])

def ready():
    supervisor.START_TIMEOUT = 0
    for pid in service._workers:
        os.kill(pid, signal.SIGKILL)

class Reasons(Control):
    def worker_replaced(self, reason):
        reasons.append(reason)
        if len(reasons) == 16:
            os.kill(os.getpid(), signal.SIGTERM)

reasons = []
service = supervisor.Supervisor(
    work, 16, {}, Reasons(), ready, worker_seconds=60, shutdown_seconds=5, drain_seconds=0
)
assert service.run()
print({reason: reasons.count(reason) for reason in set(reasons)})
"""


def test_worker_killed_by_another_process() -> None:
    """A worker that another process kills counts as died, even if the supervisor notices late."""
    assert run("-c", _KILLED).stdout == "{'died': 16}\n"


#: A worker that makes as many objects as the requests of a thousand connections, and prints how many full collections
#: of garbage that causes.
_COLLECTING = """
import gc
from sentiment_conv1d.server.process.control import Control
from sentiment_conv1d.server.process.supervisor import Supervisor

def work(number, channel):
    before = gc.get_stats()[2]["collections"]
    objects = [[] for _ in range(1_000_000)]
    print(gc.get_stats()[2]["collections"] - before, flush=True)

Supervisor(work, 1, {}, Control(), lambda: None, worker_seconds=60, shutdown_seconds=5, drain_seconds=0).run()
"""


def test_full_collections_are_rare() -> None:
    """Many new objects cause no full collection of garbage, which would stop the event loop."""
    assert run("-c", _COLLECTING).stdout == "0\n"


def test_killed_workers_that_are_stopped_or_starting() -> None:
    """A stopped worker or a starting worker that is killed counts as died."""
    with ServerProcess("--workers", "2") as process:
        before = children(process.process.pid)
        pause(before[0])
        os.kill(before[0], signal.SIGKILL)
        process.wait_for_log(r"worker 0 was killed by signal 9 \(SIGKILL\) and is replaced .* reason=died")
        eventually(lambda: len(set(children(process.process.pid)) - set(before)) == 1)
        [starting] = set(children(process.process.pid)) - set(before)
        os.kill(starting, signal.SIGKILL)
        process.wait_for_log(rf"worker 0 was killed by .* pid={starting} reason=died")
        eventually(lambda: len(children(process.process.pid)) == 2)
        assert versions(process, 4) == {"1": 4}
        samples = series(process.metrics())
        assert value(samples, "sentiment_workers_replaced_total", reason="died") == 2
        assert value(samples, "sentiment_workers_replaced_total", reason="hung") == 0


def test_all_workers_killed(four: ServerProcess) -> None:
    """If all workers die, connections wait and the new workers answer them."""
    kill_children(four.process.pid)
    assert versions(four, 8) == {"1": 8}


def test_a_worker_that_hangs_is_replaced() -> None:
    """A stopped worker gets no new connections, and is killed and replaced after the worker timeout."""
    with ServerProcess("--workers", "3", "--worker-timeout", "10") as process:
        before = children(process.process.pid)
        pause(before[1])
        process.wait_for_log(r"worker 1 sent no heartbeat for 10 s")
        process.wait_for_log(r"worker 1 hung and is replaced worker=1 pid=\d+ reason=hung")
        eventually(lambda: len(set(children(process.process.pid)) - set(before)) == 1)
        assert versions(process, 12) == {"1": 12}
        samples = series(process.metrics())
        assert value(samples, "sentiment_workers_replaced_total", reason="died") == 0
        assert value(samples, "sentiment_workers_replaced_total", reason="hung") == 1


@pytest.mark.parametrize("texts", [1, 100], ids=["event loop", "thread"])
def test_a_run_that_never_ends(tmp_path: Path, texts: int) -> None:
    """A worker whose model never ends for some texts is replaced, whichever thread runs them, and others answer."""
    publish_table(tmp_path, endless_graph(questions=2))
    flags = ("--workers", "2", "--worker-timeout", "10", "--request-timeout", "600")
    with ServerProcess(*flags, repository=tmp_path) as process:
        assert versions(process, 4) == {"1": 4}
        with pytest.raises(httpx.TransportError):
            process.client.post("/v1/predict_batch", json={"texts": ["question question"] * texts})
        [hung] = process.wait_for_log(r"worker (\d) hung and is replaced").groups()
        eventually(lambda: len(children(process.process.pid)) == 2)
        assert versions(process, 4) == {"1": 4}
        samples = series(process.metrics())
        assert value(samples, "sentiment_workers_replaced_total", reason="hung") == 1, hung


def request_livez(port: int) -> socket.socket:
    """Open a connection and send a request on it."""
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    return connection


def test_more_connections_than_a_channel_can_hold() -> None:
    """While no worker accepts connections, they wait, and none is dropped."""
    with ServerProcess("--workers", "1") as process, ExitStack() as stack:
        [worker] = children(process.process.pid)
        pause(worker)
        held = [stack.enter_context(request_livez(process.port)) for _ in range(1000)]
        os.kill(worker, signal.SIGCONT)
        assert {connection.recv(15) for connection in held} == {b"HTTP/1.1 200 OK"}


def test_last_connection_beyond_a_full_channel() -> None:
    """A waiting connection is handed over when the worker responds again, even without another connection."""
    with ServerProcess("--workers", "1") as process, ExitStack() as stack:
        [worker] = children(process.process.pid)
        before = sockets(process.process.pid)
        pause(worker)
        held: list[socket.socket] = []

        def one_waits() -> bool:
            """Whether the supervisor holds exactly one connection that it has tried to hand over several times."""
            longer = time.monotonic() + 0.1
            while len(sockets(process.process.pid) - before) == 1:
                if time.monotonic() > longer:
                    return True
            return False

        while not one_waits():
            held.append(stack.enter_context(request_livez(process.port)))
            eventually(lambda: "0" not in established(process.port))
        os.kill(worker, signal.SIGCONT)
        assert {connection.recv(15) for connection in held} == {b"HTTP/1.1 200 OK"}


@pytest.mark.parametrize("delay", ["0", "1"])
def test_connections_that_wait_at_sigterm(delay: str) -> None:
    """Connections in a worker's channel, in the supervisor and in the kernel's queue are all answered."""
    with ServerProcess("--workers", "1", "--drain-delay", delay) as process, ExitStack() as stack:
        [worker] = children(process.process.pid)
        pause(worker)
        held = [stack.enter_context(request_livez(process.port)) for _ in range(1000)]
        assert "0" in established(process.port)
        process.process.send_signal(signal.SIGTERM)
        process.wait_for_log("shutting down: received SIGTERM")
        os.kill(worker, signal.SIGCONT)
        assert Counter(connection.recv(15) for connection in held) == {b"HTTP/1.1 200 OK": 1000}
        assert process.process.wait(PATIENCE) == 0


def test_paused_service() -> None:
    """If all processes were paused, as in a paused container, no worker is replaced."""
    with ServerProcess("--workers", "2", "--worker-timeout", "10") as process:
        workers = children(process.process.pid)
        everyone = [process.process.pid, *workers]
        for pid in everyone:
            pause(pid)
        longer = time.monotonic() + 11
        eventually(lambda: time.monotonic() > longer)
        for pid in everyone:
            os.kill(pid, signal.SIGCONT)
        assert versions(process, 4) == {"1": 4}
        longer = time.monotonic() + 1.5  # the supervisor checks its workers once a second
        eventually(lambda: time.monotonic() > longer)
        assert children(process.process.pid) == workers


def test_a_new_version_is_loaded_by_every_worker(tables: ServerProcess, tmp_path: Path) -> None:
    """After a load every worker serves the model, including workers that start later, and an unload affects all."""
    publish_table(tmp_path)
    assert versions(tables, 6) == {"1": 6}
    assert tables.client.post("/v2/repository/models/tickets/load").status_code == 200
    assert versions(tables, 6) == {"2": 6}

    kill_children(tables.process.pid)
    assert versions(tables, 6) == {"2": 6}

    assert tables.client.post("/v2/repository/models/tickets/unload").status_code == 200
    assert versions(tables, 6) == {"404": 6}


def test_load_of_a_broken_version(tables: ServerProcess, tmp_path: Path) -> None:
    """A load of a broken version is refused with the file's name, and every worker keeps its version."""
    broken = publish_table(tmp_path).path / "model.onnx"
    broken.write_bytes(b"")
    answer = tables.client.post("/v2/repository/models/tickets/load")
    assert answer.status_code == 400 and str(broken) in answer.json()["error"]
    assert versions(tables, 6) == {"1": 6}


def test_loads_at_the_same_time(tables: ServerProcess, tmp_path: Path) -> None:
    """Concurrent loads all succeed, and all workers end with the newest version."""
    for _ in range(3):
        publish_table(tmp_path)

    def load(_: int) -> int:
        return httpx.post(
            f"{tables.url}/v2/repository/models/tickets/load", trust_env=False, timeout=PATIENCE
        ).status_code

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(load, range(6))) == {200}
    assert versions(tables, 6) == {"4": 6}


def test_no_process_outlives_the_supervisor() -> None:
    """Workers exit if the supervisor is killed."""
    process = ServerProcess("--workers", "2")
    workers = children(process.process.pid)
    assert process.stop(signal.SIGKILL) == -signal.SIGKILL
    process.abandon()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_ctrl_c_of_a_terminal() -> None:
    """SIGINT to the whole process group, as from a terminal, ends all processes with status 0."""
    process = ServerProcess("--workers", "2")
    workers = children(process.process.pid)
    for pid in (*workers, process.process.pid):
        os.kill(pid, signal.SIGINT)
    assert process.process.wait(PATIENCE) == 0
    process.abandon()
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


@pytest.mark.parametrize("signals", ["--ignore-signal=CHLD", "--block-signal"])
def test_inherited_signals(signals: str) -> None:
    """A service whose parent ignores SIGCHLD or blocks signals replaces a worker that ends, and stops at SIGTERM."""
    with ServerProcess("--workers", "1", prefix=f"env {signals}") as process:
        [worker] = children(process.process.pid)
        os.kill(worker, signal.SIGKILL)
        process.wait_for_log("is replaced")


def test_inherited_child() -> None:
    """The exit of an inherited child process, as in a container, has no effect."""
    with ServerProcess("--workers", "2", prefix="""sh -c 'true & exec "$@"' sh""") as process:
        [*_, worker] = children(process.process.pid)
        os.kill(worker, signal.SIGKILL)
        process.wait_for_log("is replaced")
        eventually(lambda: len(children(process.process.pid)) == 2)
        assert versions(process, 8) == {"1": 8}
