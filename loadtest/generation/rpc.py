"""Requests over gRPC: unary calls, and messages of long streams. All messages are encoded in advance."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import grpc

from loadtest.generation.rest import TIMEOUT, Done
from loadtest.traffic.requests import Request, Transport
from loadtest.traffic.target import Target

OK = "OK"


#: Every channel has a connection of its own, because the server distributes connections, not calls, among its workers.
_OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]


def open_channel(target: Target, kind: Any = grpc) -> Any:
    """Open a `grpc.Channel`, or a `grpc.aio.Channel` if `kind` is `grpc.aio`."""
    if target.grpc is None or not target.grpc.tls:
        return kind.insecure_channel(str(target.grpc), _OPTIONS)
    trusted = grpc.ssl_channel_credentials(None if target.ca_file is None else target.ca_file.read_bytes())
    return kind.secure_channel(str(target.grpc), trusted, _OPTIONS)


def metadata(target: Target) -> tuple[tuple[str, str], ...]:
    """Return the metadata of every call."""
    return () if target.api_key is None else (("authorization", f"Bearer {target.api_key}"),)


class Calls:
    """Calls and streams over several channels in turn."""

    def __init__(self, target: Target, done: Done, *, timeout: float) -> None:
        self._target = target
        self._done = done
        self._timeout = timeout
        self._metadata = metadata(target)
        self._channels: list[grpc.aio.Channel] = []
        self._methods: dict[str, itertools.cycle[Any]] = {}  # of every channel, in turn
        self._streams: dict[str, itertools.cycle[_Stream]] = {}
        self._open_streams: list[_Stream] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, count: int) -> None:
        """Open the channels before the start. Errors are ignored: they will happen again, when they count."""
        self._channels = [open_channel(self._target, grpc.aio) for _ in range(count)]
        waits = [asyncio.wait_for(channel.channel_ready(), self._timeout) for channel in self._channels]
        await asyncio.gather(*waits, return_exceptions=True)

    def send(self, request: Request, due: float) -> None:
        """Send a request now."""
        if request.transport is Transport.STREAM:
            self._stream_of(request.method).send(request, due)
            return
        task = asyncio.get_running_loop().create_task(self._call(request, due))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Close all channels. Requests in flight count as timed out."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(stream.close() for stream in self._open_streams))
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def _call(self, request: Request, due: float) -> None:
        if request.method not in self._methods:
            self._methods[request.method] = itertools.cycle(
                [channel.unary_unary(request.method) for channel in self._channels]
            )
        method = next(self._methods[request.method])
        outcome = TIMEOUT
        try:
            await method(request.payload, timeout=self._timeout, metadata=self._metadata)
            outcome = OK
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                outcome = error.code().name
        finally:
            self._done(request, due, perf_counter(), outcome)

    def _stream_of(self, method: str) -> _Stream:
        if method not in self._streams:
            streams = [
                _Stream(channel.stream_stream(method), self._metadata, self._done, self._timeout)
                for channel in self._channels
            ]
            self._open_streams += streams
            self._streams[method] = itertools.cycle(streams)
        return next(self._streams[method])


@dataclass(eq=False)
class _Stream:
    """One stream, which answers its messages in order. It is reopened after it ends."""

    _method: Any
    _metadata: tuple[tuple[str, str], ...]
    _done: Done
    _timeout: float
    _outgoing: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    _pending: deque[tuple[Request, float]] = field(default_factory=deque)
    _task: asyncio.Task[None] | None = None

    def send(self, request: Request, due: float) -> None:
        """Send a message after the earlier ones."""
        if self._task is None:
            self._outgoing = asyncio.Queue()
            self._task = asyncio.get_running_loop().create_task(self._run())
        self._pending.append((request, due))
        self._outgoing.put_nowait(request.payload)

    async def close(self) -> None:
        """End the stream."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        call = self._method(metadata=self._metadata)
        writer = asyncio.create_task(self._write(call))
        outcome = TIMEOUT
        try:
            while True:
                answer = await asyncio.wait_for(call.read(), self._timeout) if self._pending else await call.read()
                if answer is grpc.aio.EOF:
                    outcome = (await call.code()).name
                    break
                self._done(*self._pending.popleft(), perf_counter(), OK)
        except TimeoutError:
            pass
        except grpc.aio.AioRpcError as error:
            outcome = error.code().name
        finally:
            writer.cancel()
            call.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            # Before the callbacks, which can send more: these messages belong to the next stream.
            pending, self._pending, self._task = self._pending, deque(), None
            for request, due in pending:
                self._done(request, due, perf_counter(), "stream ended" if outcome == OK else outcome)

    async def _write(self, call: Any) -> None:
        outgoing = self._outgoing
        while True:
            await call.write(await outgoing.get())
