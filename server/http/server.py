"""The HTTP/1.1 server of one process: its listener, and its connections."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import uvicorn
from uvicorn.server import ServerState

from sentiment_conv1d.server.errors import Unavailable
from sentiment_conv1d.server.http import headers
from sentiment_conv1d.server.http.connection import Admits, HttpConnection
from sentiment_conv1d.server.http.fast_path import FindHandler
from sentiment_conv1d.server.http.refusal import refusal
from sentiment_conv1d.server.network.buffers import Buffers
from sentiment_conv1d.server.network.listener import Listener
from sentiment_conv1d.server.network.shares import FindCaller
from sentiment_conv1d.server.network.turns import Turns


class HttpLimits(NamedTuple):
    """The limits of connections. Times are in seconds."""

    connections: int = 2048
    connections_per_address: int = 0  # 0: no limit
    header_timeout: float = 10.0  # from the first byte of a request to the last of its head
    handshake_timeout: float = 10.0  # of TLS
    write_timeout: float = 30.0  # for a client to read what was written


class Events(NamedTuple):
    """Callbacks of the application. `rejected` and `failed` get the reason in one word."""

    rejected: Callable[[str], None] = lambda reason: None
    failed: Callable[[str], None] = lambda reason: None
    draining: Callable[[], bool] = lambda: False  # whether responses ask clients to close the connection


def configure(application: Any, keep_alive_timeout: int = 75) -> uvicorn.Config:
    """Return uvicorn's configuration for an ASGI application, without everything that this server does itself."""
    return uvicorn.Config(
        application,
        http=HttpConnection,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        server_header=False,
        headers=headers.EVERY_RESPONSE,
        timeout_keep_alive=keep_alive_timeout,
    )


class HttpServer:
    """Accepts connections through its `listener`. Create it on the event loop.

    `find_handler` and `find_document` find the handlers of the fast path; without them, all requests go through ASGI.
    With `admits`, connections are admitted that have shown access, and get places before all others: see `Places`.
    `find_caller` returns the name of the caller with these headers, see `HttpConnection`. `config` contains the ASGI
    application.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        state: ServerState,
        limits: HttpLimits,
        *,
        buffers: Buffers,
        turns: Turns,
        find_handler: FindHandler | None = None,
        find_document: FindHandler | None = None,
        admits: Admits | None = None,
        find_caller: FindCaller | None = None,
        events: Events = Events(),  # noqa: B008 - it does not change
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        connect = partial(
            HttpConnection,
            config,
            state,
            asyncio.get_running_loop(),
            find_handler=find_handler,
            find_document=find_document,
            admits=admits,
            find_caller=find_caller,
            buffers=buffers,
            turns=turns,
            failed=events.failed,
            draining=events.draining,
            header_timeout=limits.header_timeout,
            write_timeout=limits.write_timeout,
        )

        def rejection() -> bytes:
            error = Unavailable("there are too many connections")
            return refusal(error, secrets.token_hex(8), state.default_headers)

        self.listener = Listener(
            protocol="rest",
            connect=connect,
            rejected=events.rejected,
            rejection=rejection,
            max_connections=limits.connections,
            max_connections_per_address=limits.connections_per_address,
            guarded=admits is not None,
            tls=tls,
            handshake_timeout=limits.handshake_timeout,
            turns=turns,
        )
