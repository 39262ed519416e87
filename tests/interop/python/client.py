"""A gRPC client on grpcio that makes the calls it reads from stdin. ../client.py has the format of its lines."""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


class Client:
    """Makes calls on one channel and prints their results."""

    def __init__(self, channel: grpc.aio.Channel, pool: DescriptorPool) -> None:
        self._channel = channel
        self._pool = pool
        self._calls: dict[int, tuple[Any, asyncio.Task[None]]] = {}

    def start(self, command: dict[str, Any]) -> None:
        """Begin a call."""
        call = self._begin(command)
        self._calls[command["id"]] = call, asyncio.create_task(self._follow(call, command["id"]))

    def cancel(self, identity: int) -> None:
        """Cancel a call, unless it has ended."""
        call, _ = self._calls[identity]
        call.cancel()

    def _begin(self, command: dict[str, Any]) -> Any:
        service, name = command["method"].split("/")
        method = self._pool.FindServiceByName(service).FindMethodByName(name)
        request_class = GetMessageClass(method.input_type)
        requests = [ParseDict(each, request_class()) for each in command["requests"]]
        arguments: Any = {
            "metadata": [(name, _as_metadata(name, value)) for name, value in command.get("metadata", {}).items()],
            "timeout": command["timeout_ms"] / 1000 if "timeout_ms" in command else None,
            "compression": grpc.Compression.Gzip if "gzip" in command else None,
        }
        path = command.get("path", "/" + command["method"])
        coders: Any = (request_class.SerializeToString, GetMessageClass(method.output_type).FromString)
        if method.client_streaming:
            ended = asyncio.Event()
            call = self._channel.stream_stream(path, *coders)(
                _send(requests, ended if "keep_open" in command else None), **arguments
            )
            call.add_done_callback(lambda _: ended.set())
            return call
        kind = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        return kind(path, *coders)(requests[0], **arguments)

    async def _follow(self, call: Any, identity: int) -> None:
        try:
            if isinstance(call, grpc.aio.UnaryUnaryCall):
                _answered(identity, await call)
            else:
                async for message in call:
                    _answered(identity, message)
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            pass  # the status reports the error
        trailers = {name: _as_text(value) for name, value in await call.trailing_metadata() or ()}
        end = {"code": (await call.code()).value[0], "message": await call.details(), "trailers": trailers}
        _print({"id": identity, **end})


async def _send(requests: list[Message], until: asyncio.Event | None) -> AsyncIterator[Message]:
    for each in requests:
        yield each
    if until is not None:
        await until.wait()


def _answered(identity: int, answer: Message) -> None:
    _print({"id": identity, "answer": MessageToDict(answer, preserving_proto_field_name=True)})


def _as_metadata(name: str, value: str) -> str | bytes:
    return b64decode(value) if name.endswith("-bin") else value


def _as_text(value: str | bytes) -> str:
    return value if isinstance(value, str) else b64encode(value).decode()


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


async def main(address: str, descriptors: FileDescriptorSet, authority: bytes | None) -> None:
    """Read lines until stdin ends."""
    pool = DescriptorPool()
    for file in descriptors.file:
        pool.Add(file)
    lines = asyncio.StreamReader(limit=1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    options = [("grpc.enable_http_proxy", 0)]
    if authority is None:
        connected = grpc.aio.insecure_channel(address, options)
    else:
        connected = grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(authority), options)
    async with connected as channel:
        client = Client(channel, pool)
        while line := await lines.readline():
            command = json.loads(line)
            if "cancel" in command:
                client.cancel(command["id"])
            else:
                client.start(command)


if __name__ == "__main__":
    address, *files = sys.argv[1:]
    contents = [Path(file).read_bytes() for file in files]
    asyncio.run(main(address, FileDescriptorSet.FromString(contents[0]), contents[1] if contents[1:] else None))
