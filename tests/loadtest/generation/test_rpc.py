"""Calls over gRPC report the outcome of every message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any

import grpc

from loadtest.generation.rpc import OK, Calls
from loadtest.traffic.requests import Request, Transport
from loadtest.traffic.target import Endpoint, Target
from tests.processes import PATIENCE

METHOD = "/test/Echo"


class Echo(grpc.GenericRpcHandler):
    """A stream that returns its messages, and ends at the message `end`."""

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of every method."""
        return grpc.stream_stream_rpc_method_handler(self._echo)

    async def _echo(self, messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for message in messages:
            if message == b"end":
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
            yield message


def test_stream_that_ends() -> None:
    """A message that is sent when a stream has failed, as by a caller of a closed loop, goes to the next stream."""

    async def exchange() -> list[str]:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Echo(),))
        target = Target(Endpoint("nowhere.invalid", 1), Endpoint("127.0.0.1", server.add_insecure_port("127.0.0.1:0")))
        await server.start()
        outcomes: list[str] = []
        over = asyncio.Event()

        def done(request: Request, due: float, moment: float, outcome: str) -> None:
            outcomes.append(outcome)
            if len(outcomes) == 1:
                calls.send(request._replace(payload=b"go on"), perf_counter())
            else:
                over.set()

        calls = Calls(target, done, timeout=PATIENCE)
        await calls.open(1)
        calls.send(Request("grpc-stream", Transport.STREAM, METHOD, b"end", 1), perf_counter())
        await asyncio.wait_for(over.wait(), PATIENCE)
        await calls.close()
        await server.stop(None)
        return outcomes

    first, second = asyncio.run(exchange())
    assert first != OK
    assert second == OK
