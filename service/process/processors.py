"""The processors that this process can use."""

from __future__ import annotations

import math
import os
from pathlib import Path


def processors(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return the processors that this process can use, within a container's CPU limit, rounded up.

    `quota` is the kernel's file cpu.max, described in its documentation of control groups, version 2.
    """
    bound = len(os.sched_getaffinity(0))
    try:
        allowed, period = quota.read_text("ascii").split()
    except OSError:
        return bound  # not in a container, or control groups version 1
    return bound if allowed == "max" else min(bound, math.ceil(int(allowed) / int(period)))
