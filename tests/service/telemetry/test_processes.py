"""The metrics of the processes: the supervisor and all its workers."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sentiment_conv1d.service.telemetry.processes import expose_processes, start_time
from tests.processes import PATIENCE, ServerProcess, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the series come from Linux's /proc")


def read(text: str) -> dict[str, float]:
    """Return every sample without labels."""
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels
    }


def test_a_child_that_ended_still_counts() -> None:
    """Processor time never decreases, because it includes children that have ended."""

    def cpu() -> float:
        return read(expose_processes(os.getpid(), 0.0).decode())["process_cpu_seconds_total"]

    before = cpu()
    work = "from time import process_time\nwhile process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", work], check=True)
    assert cpu() - before >= 0.4


def test_all_processes_count() -> None:
    """The number of workers is right, and memory and processor time exceed those of any single process."""
    with ServerProcess("--workers", "2") as server:
        first = read(server.metrics())
        assert first["sentiment_workers"] == 2
        assert first["process_cpu_seconds_total"] > 0
        one = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert first["process_resident_memory_bytes"] > 1.5 * one
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        server.wait_for_log("is replaced")
        then = read(server.metrics())
        assert then["process_cpu_seconds_total"] >= first["process_cpu_seconds_total"]
        assert then["process_start_time_seconds"] == first["process_start_time_seconds"]


def test_start() -> None:
    """The start is that of the supervisor, not that of the worker that answers."""
    before = time.time()
    with ServerProcess("--workers", "1") as server:
        started = read(server.metrics())["process_start_time_seconds"]
        [worker] = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        assert before - 0.1 <= started < start_time(int(worker)) - 0.05


def test_open_files() -> None:
    """The open files are those of the process that has the most, and the limit is that of each process."""
    with ServerProcess("--workers", "1") as server, ExitStack() as connections:
        first = read(server.metrics())
        for _ in range(40):
            connections.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
        eventually(lambda: read(server.metrics())["process_open_fds"] == first["process_open_fds"] + 40)
        limits = Path(f"/proc/{server.process.pid}/limits").read_text()
        assert re.search(rf"^Max open files +{first['process_max_fds']:.0f} ", limits, re.MULTILINE)
