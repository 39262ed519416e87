"""Versions whose trial cannot start, or must not go on."""

from __future__ import annotations

import os
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from sentiment_conv1d.service.process import trial
from tests.proc import children
from tests.processes import PATIENCE, ServerProcess, eventually, patch, run
from tests.service.artifacts import endless_graph, publish_table
from tests.service.process.test_supervisor import versions
from tests.service.telemetry.test_metrics import metric

#: Read by every Python at its start: no process can be started while a file exists.
PATCH = """
import os
import pathlib
fork = os.fork
def fork_or_fail():
    if pathlib.Path(FULL).exists():
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return fork()
os.fork = fork_or_fail
"""


def patched(folder: Path, full: Path) -> dict[str, str]:
    """Return the environment of a server that can start no process while the file `full` exists."""
    return {"PYTHONPATH": patch(folder, PATCH.replace("FULL", repr(str(full))))}


def test_no_process_for_a_version_or_a_worker(tmp_path: Path) -> None:
    """A service that can start no process keeps running, and loads the version and replaces the worker later."""
    full, repository = tmp_path / "full", tmp_path / "repository"
    publish_table(repository)
    flags = ("--workers", "1", "--watch-interval", "0.1")
    with ServerProcess(*flags, repository=repository, **patched(tmp_path / "patch", full)) as server:
        full.touch()
        publish_table(repository)
        server.wait_for_log("version 2 of tickets is not opened: the system cannot start a process")
        assert versions(server, 1) == {"1": 1}
        [worker] = children(server.process.pid)
        os.kill(worker, signal.SIGKILL)
        server.wait_for_log("worker 0 cannot be started: Resource temporarily unavailable")
        full.unlink()
        eventually(lambda: versions(server, 1) == {"2": 1})


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_process_group(number: signal.Signals) -> None:
    """A signal that the whole process group gets does not end a trial, which would refuse the version."""
    pid = trial.start(lambda: signal.raise_signal(number), PATIENCE)
    _, status = os.waitpid(pid, 0)
    trial.check(status, PATIENCE)


def test_no_process_at_the_start(tmp_path: Path) -> None:
    """A service that cannot start a process exits with the status of errors that can pass."""
    full = tmp_path / "full"
    full.touch()
    result = run("-m", "service", "serve", "--port", "0", **patched(tmp_path / "patch", full))
    assert result.returncode == os.EX_TEMPFAIL
    assert result.stderr.endswith("error: the system cannot start a process (Resource temporarily unavailable)\n")


def test_no_descriptor_for_the_files_of_a_version(tmp_path: Path) -> None:
    """A service whose supervisor cannot open another file keeps running, and loads the version later."""
    publish_table(tmp_path)
    with ServerProcess("--workers", "1", "--watch-interval", "0.1", repository=tmp_path) as server:
        pid = server.process.pid
        used = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
        lowest_free = next(number for number in range(len(used) + 1) if number not in used)
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
        publish_table(tmp_path)
        server.wait_for_log("version 2 of tickets is not opened: its files cannot be passed on")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        eventually(lambda: versions(server, 1) == {"2": 1})


def processes_of(repository: Path) -> list[str]:
    """Return the processes whose command line names a model repository."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            if str(repository).encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


def test_loads_at_shutdown(tmp_path: Path) -> None:
    """No process that opens a version outlives the service, and its end is no refusal."""
    publish_table(tmp_path)
    flags = ("--workers", "2", "--watch-interval", "0", "--admin", "open", "--load-timeout", "600")
    server = ServerProcess(*flags, repository=tmp_path)
    try:
        workers = set(children(server.process.pid))
        publish_table(tmp_path, endless_graph())

        def load(_: int) -> None:
            httpx.post(f"{server.url}/v2/repository/models/tickets/load", timeout=PATIENCE, trust_env=False)

        with ThreadPoolExecutor(6) as callers:  # more than one, so that several workers ask for it
            loads = callers.map(load, range(6))
            eventually(lambda: metric(server, "sentiment_requests_in_flight", protocol="rest") > 6)
            eventually(lambda: set(children(server.process.pid)) != workers)
            assert server.stop() == 0
            list(loads)
        eventually(lambda: not processes_of(tmp_path))
        assert "refused" not in "".join(server.log)
    finally:
        server.abandon()
