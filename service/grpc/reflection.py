"""gRPC's server reflection: which services there are, and the .proto files that describe them.

Source: grpc/reflection/v1alpha/reflection.proto, which is what tools ask for where there is no newer version.
"""

from __future__ import annotations

from collections.abc import Collection

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection_pb2 as pb

from service.grpc.call import Call, Method
from service.grpc.methods import as_refusal
from service.grpc.status import Status

SERVICE = "grpc.reflection.v1alpha.ServerReflection"


class Reflection:
    """Describes services whose descriptors are in protobuf's own pool."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = sorted(services)
        self._pool = descriptor_pool.Default()

    def methods(self) -> dict[str, Method]:
        """Every method by its path."""
        method = Method(self._converse, request_streaming=True, response_streaming=True)
        return {f"/{SERVICE}/ServerReflectionInfo": method}

    async def _converse(self, call: Call) -> None:
        try:
            while (content := await call.read()) is not None:
                answer = self._answer(pb.ServerReflectionRequest.FromString(content))
                await call.write(answer.SerializeToString())
        except Exception as error:
            call.refuse(as_refusal(error, SERVICE))
        else:
            call.end()

    def _answer(self, request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        answer = pb.ServerReflectionResponse(valid_host=request.host, original_request=request)
        try:
            self._fill(answer, request)
        except KeyError:
            answer.error_response.error_code = Status.NOT_FOUND.value
            answer.error_response.error_message = "there is nothing of that name"
        return answer

    def _fill(self, answer: pb.ServerReflectionResponse, request: pb.ServerReflectionRequest) -> None:
        """Raises `KeyError` for a name that is not known."""
        pool = self._pool
        match request.WhichOneof("message_request"):
            case "list_services":
                services = [pb.ServiceResponse(name=name) for name in self._services]
                answer.list_services_response.service.extend(services)
            case "file_by_filename":
                _describe(answer, pool.FindFileByName(request.file_by_filename))
            case "file_containing_symbol":
                _describe(answer, pool.FindFileContainingSymbol(request.file_containing_symbol))
            case "file_containing_extension":
                asked = request.file_containing_extension
                message = pool.FindMessageTypeByName(asked.containing_type)
                extension = pool.FindExtensionByNumber(message, asked.extension_number)
                _describe(answer, pool.FindFileContainingSymbol(extension.full_name))
            case "all_extension_numbers_of_type":
                name = request.all_extension_numbers_of_type
                extensions = pool.FindAllExtensions(pool.FindMessageTypeByName(name))
                answer.all_extension_numbers_response.base_type_name = name
                numbers = sorted(extension.number for extension in extensions)
                answer.all_extension_numbers_response.extension_number.extend(numbers)
            case _:
                answer.error_response.error_code = Status.INVALID_ARGUMENT.value
                answer.error_response.error_message = "nothing is asked for"


def _describe(answer: pb.ServerReflectionResponse, file: FileDescriptor) -> None:
    """A file, and all those that it needs."""
    found = {file.name: file}
    waiting = [file]
    while waiting:
        for each in waiting.pop().dependencies:
            if each.name not in found:
                found[each.name] = each
                waiting.append(each)
    contents = [each.serialized_pb for each in found.values()]
    answer.file_descriptor_response.file_descriptor_proto.extend(contents)
