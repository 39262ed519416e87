"""How many files and connections a process may have open."""

from __future__ import annotations

import logging
import resource

from service.settings import Settings

logger = logging.getLogger(__name__)

#: Files of a process that are no connections: the runtime's, the models', the pipes between processes.
_OTHERS = 128


def make_room(settings: Settings) -> Settings:
    """Let this process and its children have as many connections as the settings allow.

    Returns the settings, with fewer connections where the system does not let a process have as many, which is logged.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + settings.grpc_max_connections + _OTHERS
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if limit > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    available = max(limit, soft)
    if wanted <= available:
        return settings
    share = max(available - _OTHERS, 2) / (settings.max_connections + settings.grpc_max_connections)
    fewer = {name: max(1, int(getattr(settings, name) * share)) for name in ("max_connections", "grpc_max_connections")}
    logger.warning("the system allows %d open files: there will be fewer connections", available, extra=fewer)
    return settings.model_copy(update=fewer)
