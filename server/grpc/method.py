"""A method of a gRPC service."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple


class Method(NamedTuple):
    """A method: the coroutine that a call runs, and whether its request and its response are streams.

    `watching` means that a call takes one message and then only sends changes of the server's state. A unary method can
    have `start`, which gets a call and its message, and needs no task: it returns True, and calls `Call.reply` at once
    or in a later turn of the event loop. If it returns False, the coroutine runs instead.

    `admit` gets the length of each message, and the caller, as soon as they are known. It raises `RequestError` if the
    message must not be received. A unary call that fails before it begins needs no task if the method has `begin`,
    which gets the call.
    """

    run: Callable[[Any], Coroutine[Any, Any, None]]  # takes the `Call`
    streaming: bool = False
    watching: bool = False
    start: Callable[[Any, bytes], bool] | None = None
    admit: Callable[[int, str], None] = lambda length, caller: None
    begin: Callable[[Any], None] | None = None
    message_bytes: int = 0  # the most of a message, or 0 for as many as the server accepts
