"""The processor time of this machine: of this test, of the service, and of other programs."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterable
from time import perf_counter
from typing import NamedTuple

import psutil


class ProcessorTime(NamedTuple):
    """Processor time in seconds, of which only the differences have a meaning."""

    all: float  # of all programs on all processors, and of other virtual machines on these processors
    test: float  # of this process, and of the generators and the service that it has started
    at: float  # when it was read

    @classmethod
    def read(cls) -> ProcessorTime:
        """Read the times of the machine and of this test's processes."""
        machine = psutil.cpu_times()  # without interrupts, which are mostly those of the requests
        spent = machine.user + machine.system + getattr(machine, "nice", 0.0) + getattr(machine, "steal", 0.0)
        own = psutil.Process()
        return cls(spent, cpu_seconds([own, *own.children(recursive=True)]), perf_counter())


def others(before: ProcessorTime, after: ProcessorTime, service_seconds: float, processors: int) -> float:
    """Return the share of the machine, 0 to 1, that other programs used.

    `service_seconds` is the time of a service on this machine that this test has not started.
    """
    seconds = (after.all - before.all) - (after.test - before.test) - service_seconds
    share = seconds / (processors * max(after.at - before.at, 1e-9))
    return min(max(share, 0.0), 1.0)


def is_here(host: str) -> bool:
    """Return whether a host is this machine."""
    own = {address.address for each in psutil.net_if_addrs().values() for address in each}
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return any(address in own or ipaddress.ip_address(address).is_loopback for address in found)


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Return the user and system time of processes since their start."""
    total = 0.0
    for each in processes:
        with contextlib.suppress(psutil.Error):  # it has ended
            times = each.cpu_times()
            total += times.user + times.system
    return total
