"""How many files and connections a process may have open."""

from __future__ import annotations

import logging
import resource

from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.settings import Settings

logger = logging.getLogger(__name__)

#: Files of a process that are no connections: the runtime's, the models', the pipes between processes. A worker on a
#: CPU has about twenty. The others are for GPUs and for what is open for a moment: half of a low limit will do.
_OTHERS = 128
_LEAST = 64

#: Files of the supervisor, which has one more for each worker.
_SUPERVISOR = 32


def make_room(settings: Settings, workers: int) -> Settings:
    """Let this process and its children have as many connections as the settings allow.

    Returns the settings, with fewer connections where the system does not let a process have as many, which is logged.
    Raises `StartupError` where it allows too few to work with.
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
