"""The resources that all processes of the service use together, under Prometheus' standard metric names."""

from __future__ import annotations

import os
import resource
import time
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
# HELP process_start_time_seconds When the service started, in Unix time.
# TYPE process_start_time_seconds gauge
process_start_time_seconds {started:.2f}
# HELP process_open_fds Open file descriptors of the process that has the most.
# TYPE process_open_fds gauge
process_open_fds {files}
# HELP process_max_fds Limit of open file descriptors of each process.
# TYPE process_max_fds gauge
process_max_fds {limit}
"""


def start_time(pid: int) -> float:
    """Return when a process started, in Unix time, or the current time without /proc.

    Call it once for all workers: the time of the start of the system, which it uses, changes with the clock.
    """
    try:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + int(_statistics(pid)[19]) * _TICK
    except (OSError, AttributeError):
        return time.time()


def expose_processes(supervisor: int, started: float) -> bytes:
    """Return the series of the supervisor and its workers in the Prometheus text format. Without /proc there are none.

    The processor time of a dead worker is added to that of the supervisor, so the sum never decreases. `started` is
    the start of the supervisor in Unix time. The limit of open files is that of this process, which all have.
    """
    try:
        workers = (_PROC / f"{supervisor}/task/{supervisor}/children").read_text().split()
        own, reaped = _cpu_seconds(supervisor)
        cpu = own + reaped + sum(_cpu_seconds(worker)[0] for worker in workers)
        memory = resident_bytes(supervisor) + sum(map(resident_bytes, workers))
        files = max(map(_open_files, (str(supervisor), *workers)))
    except (OSError, ValueError):
        return b""  # there is no /proc, or the worker has just ended
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    numbers = {"workers": len(workers), "cpu": cpu, "memory": memory, "files": files, "limit": limit}
    return _TEXT.format(started=started, **numbers).encode()


def _cpu_seconds(pid: int | str) -> tuple[float, float]:
    """Return the processor time of a process and of the children that it has waited for."""
    user, system, waited_user, waited_system = map(int, _statistics(pid)[11:15])
    return (user + system) * _TICK, (waited_user + waited_system) * _TICK


def _open_files(pid: str) -> int:
    """Return the number of open file descriptors of a process."""
    folder = _PROC / f"{pid}/fd"
    # Listing thousands of files takes milliseconds. Before Linux 6.2 the size is 0.
    return folder.stat().st_size or len(list(folder.iterdir()))


def _statistics(pid: int | str) -> list[str]:
    """Return the fields of proc_pid_stat(5) that follow the name of the program."""
    return (_PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
