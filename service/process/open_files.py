"""Raises the limit of open files to the number of connections."""

from __future__ import annotations

import logging
import resource

from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.settings import Settings

logger = logging.getLogger(__name__)

#: Files other than connections: the runtime's, the models', the pipes between processes. A worker on a CPU has about
#: twenty. The others are for GPUs and for files that are open briefly; half of a low limit is enough.
_OTHERS = 128
_LEAST = 64

#: Files of the supervisor, plus one per worker.
_SUPERVISOR = 32


def make_room(settings: Settings, workers: int) -> Settings:
    """Raise the limit of open files to the connections that the settings allow.

    Returns the settings, with fewer connections if the system does not allow as many, and logs a warning then. Raises
    `StartupError` if the system allows too few open files to work with.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = settings.max_connections + settings.grpc_max_connections
    wanted = max(connections + _OTHERS, workers + _SUPERVISOR)
    available = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if available > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (available, hard))
    available = max(available, soft)
    if wanted <= available:
        return settings
    if available < (least := max(_LEAST, workers + _SUPERVISOR)):
        raise StartupError(
            f"the system allows a process {available} open files, and {workers} workers need at least {least}: "
            "raise the limit (ulimit -n)"
        )
    share = (available - min(_OTHERS, available // 2)) / connections
    fewer = {name: max(1, int(getattr(settings, name) * share)) for name in ("max_connections", "grpc_max_connections")}
    logger.warning("the system allows %d open files: there will be fewer connections", available, extra=fewer)
    return settings.model_copy(update=fewer)
