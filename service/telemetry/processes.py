"""The resources that all processes of the service use together, under Prometheus' standard metric names."""

from __future__ import annotations

import os
from pathlib import Path

from sentiment_conv1d.server.process.heap import resident_bytes

_PROC = Path("/proc")
_TICK = 1 / os.sysconf("SC_CLK_TCK")

_TEXT = """\
# HELP sentiment_workers Worker processes.
# TYPE sentiment_workers gauge
sentiment_workers {workers}
# HELP process_cpu_seconds_total User and system time of all processes.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total {cpu:.2f}
# HELP process_resident_memory_bytes Memory of all processes; what they share counts for each.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes {memory}
"""


def expose_processes(supervisor: int) -> bytes:
    """Return the series of the supervisor and its workers in the Prometheus text format. Without /proc there are none.

    The processor time of a dead worker is added to that of the supervisor, so the sum never decreases.
    """
    try:
        workers = (_PROC / f"{supervisor}/task/{supervisor}/children").read_text().split()
        own, reaped = _cpu_seconds(supervisor)
        cpu = own + reaped + sum(_cpu_seconds(worker)[0] for worker in workers)
        memory = resident_bytes(supervisor) + sum(map(resident_bytes, workers))
    except (OSError, ValueError):
        return b""  # there is no /proc, or the worker has just ended
    return _TEXT.format(workers=len(workers), cpu=cpu, memory=memory).encode()


def _cpu_seconds(pid: int | str) -> tuple[float, float]:
    """Return the processor time of a process and of the children that it has waited for. See proc_pid_stat(5)."""
    fields = (_PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, waited_user, waited_system = map(int, fields[11:15])
    return (user + system) * _TICK, (waited_user + waited_system) * _TICK
