"""gRPC server reflection: lists the services, and returns the .proto files that describe them.

Source: "gRPC Server Reflection Protocol" in the gRPC documentation. Newer tools ask for version v1, older ones for
v1alpha. The two differ only in their names, so the messages of v1 serve both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.rpc.code_pb2 import Code

from sentiment_conv1d.protos.descriptors import POOL, message_class
from sentiment_conv1d.server.grpc.call import Call
from sentiment_conv1d.server.grpc.method import Method
from sentiment_conv1d.service.scheduling.dataplane import INLINE_CHARACTERS

SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

ServerReflectionRequest = message_class("grpc.reflection.v1.ServerReflectionRequest")
ServerReflectionResponse = message_class("grpc.reflection.v1.ServerReflectionResponse")


class Reflection:
    """Describes the given services and itself."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = sorted((*services, *SERVICES))

    def methods(self) -> dict[str, Method]:
        """Return the methods by path."""
        method = Method(self._converse, streaming=True, message_bytes=INLINE_CHARACTERS)
        return {f"/{service}/ServerReflectionInfo": method for service in SERVICES}

    async def _converse(self, call: Call) -> None:
        while (content := await call.read()) is not None:
            answer = self._answer(ServerReflectionRequest.FromString(content))
            await call.write(answer.SerializeToString())
            await asyncio.sleep(0)  # answers are large: let other calls run
        call.end()

    def _answer(self, request: Any) -> Any:
        answer = ServerReflectionResponse(valid_host=request.host, original_request=request)
        try:
            self._fill(answer, request)
        except KeyError:
            answer.error_response.error_code = Code.NOT_FOUND
            answer.error_response.error_message = "the name is not known"
        return answer

    def _fill(self, answer: Any, request: Any) -> None:
        """Fill in the answer. Raises `KeyError` if the name is not known."""
        match request.WhichOneof("message_request"):
            case "list_services":
                for name in self._services:
                    answer.list_services_response.service.add(name=name)
            case "file_by_filename":
                _describe(answer, POOL.FindFileByName(request.file_by_filename))
            case "file_containing_symbol":
                _describe(answer, _file_of(request.file_containing_symbol))
            case "file_containing_extension":  # proto3 has no extensions of messages
                raise KeyError
            case "all_extension_numbers_of_type":
                message = POOL.FindMessageTypeByName(request.all_extension_numbers_of_type)
                answer.all_extension_numbers_response.base_type_name = message.full_name
            case _:
                answer.error_response.error_code = Code.INVALID_ARGUMENT
                answer.error_response.error_message = "the request is empty"


def _file_of(symbol: str) -> FileDescriptor:
    """Return the file that defines a symbol. Raises `KeyError` if there is none."""
    try:
        return POOL.FindFileContainingSymbol(symbol)
    except KeyError:  # the pool does not search for methods
        return POOL.FindMethodByName(symbol).containing_service.file


def _describe(answer: Any, file: FileDescriptor) -> None:
    """Add a file and all of its dependencies to the answer."""
    found = {file.name: file}
    waiting = [file]
    while waiting:
        for each in waiting.pop().dependencies:
            if each.name not in found:
                found[each.name] = each
                waiting.append(each)
    contents = [each.serialized_pb for each in found.values()]
    answer.file_descriptor_response.file_descriptor_proto.extend(contents)
