"""The processors that this process can use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def processors(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return the processors that this process can use, within the CPU limits of its control groups, rounded up.

    `root` is where control groups are mounted, and `membership` is the file that lists the groups of the process. See
    cgroups(7), and cpu.max and cpu.cfs_quota_us in the kernel's documentation of control groups, version 2 and 1.
    """
    limits = [limit for group in _groups(root, membership) if (limit := _limit(group)) is not None]
    return min([len(os.sched_getaffinity(0)), *map(math.ceil, limits)])


def _groups(root: Path, membership: Path) -> Iterator[Path]:
    """Yield the folders of the control groups that limit the processors: the process's own and those around it.

    A container may see the names of its groups on the host, but only its own group, at the top. So some do not exist.
    """
    for line in _read(membership).splitlines():
        _, controllers, name = line.split(":", 2)
        if "cpu" in controllers.split(","):
            hierarchy = root / "cpu"  # version 1
        elif not controllers:
            hierarchy = root  # version 2
        else:
            continue
        group = PurePosixPath(name)
        for each in (group, *group.parents):
            yield hierarchy / each.relative_to("/")


def _limit(group: Path) -> float | None:
    """Return how many processors a control group can use, or None without a limit."""
    match _read(group / "cpu.max").split() or [
        *_read(group / "cpu.cfs_quota_us").split(),
        *_read(group / "cpu.cfs_period_us").split(),
    ]:
        case [quota, period] if quota not in ("max", "-1"):
            return int(quota) / int(period)
    return None


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii", "replace")
    except OSError:
        return ""
