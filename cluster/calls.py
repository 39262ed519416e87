"""A gRPC call that arrives through Ray's proxy, with the interface of `Call` for the methods of `service.grpc`."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Iterable
from time import perf_counter
from typing import Any, cast

from sentiment_conv1d.cluster.replica import Replica
from sentiment_conv1d.cluster.servicers import Message
from sentiment_conv1d.server.errors import MessageTooLarge, RequestError, Unauthorized
from sentiment_conv1d.server.grpc.call import Call
from sentiment_conv1d.server.grpc.method import Method
from sentiment_conv1d.server.grpc.status import as_refusal, details
from sentiment_conv1d.server.request_ids import HEADER, choose_id

Metadata = Iterable[tuple[str, str | bytes]]

#: Answers of a stream that wait for the client to read them.
_AHEAD = 16


class ServeCall:
    """A call. Ray cancels its task when the client disconnects or the deadline passes."""

    def __init__(self, path: str, metadata: Metadata, messages: AsyncIterator[Message]) -> None:
        self.path = path.encode()
        self.failure: RequestError | None = None
        self.refusal: RequestError | None = None
        self.status: str | None = None
        self.context: Any = None
        self.started = perf_counter()
        self.answers: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        self.fields = {
            name.lower().encode(): value if isinstance(value, bytes) else value.encode("latin-1")
            for name, value in metadata
        }
        self.request_id = choose_id(self.fields.get(HEADER))
        self.trailing = [(HEADER, self.request_id.encode())]
        self._messages = messages

    def remaining(self) -> float | None:
        """Return None, because the proxy enforces the client's deadline."""
        return None

    async def message(self) -> bytes:
        """Return the only message of a unary call."""
        return (await anext(self._messages)).content

    async def read(self) -> bytes | None:
        """Return the next message of a stream, or None after the last one."""
        message = await anext(self._messages, None)
        return None if message is None else message.content

    def more(self, message: bytes, most: int, size: int) -> list[bytes]:
        """Return no messages, because they arrive one at a time."""
        return []

    async def write(self, *messages: bytes) -> None:
        """Send messages of a stream."""
        for message in messages:
            await self.answers.put(message)

    async def answer(self, message: bytes) -> None:
        """Send the only message."""
        await self.answers.put(message)
        self.end()

    def end(self) -> None:
        """End the call with status OK."""
        self.status = "OK"

    def refuse(self, error: Exception) -> None:
        """End the call with the status of an error."""
        self.refusal = as_refusal(error, self.path.decode())
        self.status = self.refusal.grpc_status


async def run_unary(replica: Replica, path: str, request: Message, context: Any) -> Message:
    """Answer a unary call. Ray's `context` gets the status and the trailing metadata."""
    call = ServeCall(path, context.invocation_metadata(), _only(request))
    await _run(replica, path, call, len(request.content))
    _finish(call, context)
    return Message(b"" if call.refusal is not None else call.answers.get_nowait() or b"")


async def run_stream(
    replica: Replica, path: str, requests: AsyncIterator[Message], context: Any
) -> AsyncIterator[Message]:
    """Answer a call with a stream of requests and a stream of answers."""
    call = ServeCall(path, context.invocation_metadata(), aiter(requests))

    async def run() -> None:
        try:
            await _run(replica, path, call, 0)
        finally:
            await call.answers.put(None)

    task = asyncio.create_task(run())
    try:
        while (content := await call.answers.get()) is not None:
            yield Message(content)
        await task
    finally:
        task.cancel()
    _finish(call, context)


async def _run(replica: Replica, path: str, call: ServeCall, size: int) -> None:
    method: Method = replica.methods[path]
    if path not in replica.open_methods and not replica.access.admits(call.fields):
        call.refuse(Unauthorized("an API key is needed: authorization: Bearer KEY, or x-api-key: KEY"))
    elif size > replica.max_message_bytes:
        limit = replica.max_message_bytes
        call.refuse(MessageTooLarge(f"a message has {size} bytes; the limit is {limit}"))
    else:
        try:
            await method.run(cast(Call, call))
        except Exception as error:
            call.refuse(error)
        finally:
            replica.builder.ended(cast(Call, call), call.status or "CANCELLED")


async def _only(message: Message) -> AsyncIterator[Message]:
    yield message


def _finish(call: ServeCall, context: Any) -> None:
    """Write the status, its details and the trailing metadata to Ray's context."""
    trailing: list[tuple[str, str | bytes]] = [(name.decode(), value.decode()) for name, value in call.trailing]
    if (error := call.refusal) is not None:
        from grpc import StatusCode

        context.set_code(StatusCode[error.grpc_status])
        context.set_details(error.message)
        # Ray's server encodes binary fields itself.
        trailing.append(("grpc-status-details-bin", b64decode(details(error, call.request_id) + b"==")))
        if error.retry_after is not None:
            trailing.append(("grpc-retry-pushback-ms", str(error.retry_after * 1000)))
    context.set_trailing_metadata(trailing)
