"""Versions whose trial cannot start, or must not go on."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from sentiment_conv1d.artifact.limits import MAX_TOKENIZER_BYTES
from sentiment_conv1d.artifact.manifest import Metrics
from sentiment_conv1d.service.models import snapshot
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.repository import Repository
from sentiment_conv1d.service.process.trial import Trial
from sentiment_conv1d.service.version_policy import VersionPolicy
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


def test_large_versions(tmp_path: Path) -> None:
    """Files above their limits are refused in the process that reads them first, and no worker is replaced."""
    publish_table(tmp_path)
    flags = ("--workers", "1", "--watch-interval", "0.1", "--versions", "all")
    with ServerProcess(*flags, repository=tmp_path) as server:
        workers = children(server.process.pid)
        values = "{" + ",".join(f'"{number:08}":0.125' for number in range(4_500_000)) + "}"
        measured = Metrics(measured_on="x", examples=1, values={})
        for metrics, short, long in (
            (measured, '"values": {}', f'"values": {values}'),
            (None, '"praise praise question"', f'"{"praise " * 28_000_000}"'),
        ):
            manifest = publish_table(tmp_path / "elsewhere", metrics=metrics).path / "manifest.json"
            content = re.sub('"manifest_sha256": "[0-9a-f]+"', f'"manifest_sha256": "{"0" * 64}"', manifest.read_text())
            content = content.replace(short, long)
            digest = hashlib.sha256(content.encode()).hexdigest()
            manifest.write_text(content.replace(f'"{"0" * 64}"', f'"{digest}"'))
        os.truncate(publish_table(tmp_path / "elsewhere").path / "tokenizer.json", MAX_TOKENIZER_BYTES + 1)
        for number, file in enumerate(("manifest", "manifest", "tokenizer"), 1):
            place = tmp_path / "tickets" / str(number + 1)
            (tmp_path / "elsewhere" / "tickets" / str(number)).rename(place)
            server.wait_for_log(rf"refused .*: {place}/{file}\.json: .* bytes; .* version={number + 1} fault=large")
        assert children(server.process.pid) == workers
        assert versions(server, 1) == {"1": 1}


def test_crash_while_a_version_is_read(tmp_path: Path) -> None:
    """Only the process that reads a version first reads its files: one whose reading crashes costs no worker."""
    source = """
import os
from sentiment_conv1d.service.models.repository import Repository
read = Repository.read
Repository.read = lambda self, name, version: os.abort() if version == 2 else read(self, name, version)
"""
    publish_table(tmp_path / "models")
    variables = {"PYTHONPATH": patch(tmp_path / "patch", source)}
    flags = ("--workers", "1", "--watch-interval", "0.1")
    with ServerProcess(*flags, repository=tmp_path / "models", **variables) as server:
        workers = children(server.process.pid)
        publish_table(tmp_path / "models")
        server.wait_for_log(r"refused .*: the process that opened it was killed by signal 6 .*fault=crashed")
        assert children(server.process.pid) == workers
        assert versions(server, 1) == {"1": 1}


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_process_group(number: signal.Signals, tmp_path: Path) -> None:
    """A signal that the whole process group gets does not end a trial, which would refuse the version."""
    publish_table(tmp_path)
    repository = Repository(tmp_path, VersionPolicy("all"))
    trial = Trial(repository, LoadedModels(), lambda _: signal.raise_signal(number), PATIENCE)
    order = Order("load", "tickets", 1, repository.fingerprint("tickets", 1))
    descriptor = trial.run(order)
    assert snapshot.order(descriptor).action == "serve"
    os.close(descriptor)


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
        server.wait_for_log("version 2 of tickets is not opened: its files cannot be kept in memory")
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
