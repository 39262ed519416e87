"""Prepares a process for its open files: their limit, and the standard streams."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import Mapping

from sentiment_conv1d.server.errors import ServerError

logger = logging.getLogger(__name__)

#: Files other than connections: the runtime's, the models', the pipes between processes. A worker on a CPU has about
#: twenty. The others are for GPUs and for files that are open briefly; half of a low limit is enough.
_OTHERS = 128
_LEAST = 64

#: Files of the supervisor, plus one per worker.
_SUPERVISOR = 32

_STANDARD_ERROR = 2


def make_room(limits: Mapping[str, int], workers: int) -> dict[str, int]:
    """Raise the limit of open files to the number of connections that the `limits` of all protocols allow together.

    Returns the limits, which are lower if the system does not allow as many, and logs a warning then. Raises
    `ServerError` if the system allows too few open files to work with.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = sum(limits.values())
    wanted = max(connections + _OTHERS, workers + _SUPERVISOR)
    available = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if available > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (available, hard))
    available = max(available, soft)
    if wanted <= available:
        return dict(limits)
    if available < (least := max(_LEAST, workers + _SUPERVISOR)):
        raise ServerError(
            f"the system allows a process {available} open files, and {workers} workers need at least {least}: "
            "raise the limit (ulimit -n)"
        )
    share = (available - min(_OTHERS, available // 2)) / connections
    fewer = {name: max(2, int(limit * share)) for name, limit in limits.items()}
    logger.warning("the system allows %d open files: there will be fewer connections", available, extra=fewer)
    return fewer


def open_standard_streams() -> None:
    """Open /dev/null in place of standard streams that are closed.

    Otherwise the next files get their numbers, so log lines would be written to a socket or into shared memory.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        pass
    os.close(descriptor)
