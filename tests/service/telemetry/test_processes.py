"""The metrics of the processes: the supervisor and all its workers."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sentiment_conv1d.service.telemetry.processes import expose_processes
from tests.processes import ServerProcess

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
        return read(expose_processes(os.getpid()).decode())["process_cpu_seconds_total"]

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
