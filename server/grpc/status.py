"""The status of a call, and the header fields that carry it.

Source: "Status codes and their use in gRPC" and "gRPC over HTTP2" in the gRPC documentation, and
`google/rpc/error_details.proto`.
"""

from __future__ import annotations

import logging
import re
from binascii import b2a_base64
from functools import cache
from typing import NamedTuple
from urllib import parse

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from sentiment_conv1d.server.errors import Malformed, RequestError
from sentiment_conv1d.server.grpc.messages import ENCODINGS

logger = logging.getLogger(__name__)

#: The `domain` of `ErrorInfo`.
DOMAIN = "sentiment-conv1d"

#: The characters that are not percent-encoded.
_PLAIN = bytes(range(0x20, 0x7F)).decode().replace("%", "")

#: Messages that need no encoding, like most.
_UNQUOTED = re.compile(r"(?! )[ -$&-~]*(?<! )")

#: The field that tells clients with a retry policy when to retry, in milliseconds.
_PUSHBACK = b"grpc-retry-pushback-ms"


def as_refusal(error: Exception, failed: str, request_id: str) -> RequestError:
    """Return the error to send to the client. An unexpected error is logged and hidden behind "internal error"."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, DecodeError):
        return Malformed("the message is not valid protobuf")
    logger.error("%s failed", failed, exc_info=error, extra={"request_id": request_id})
    return RequestError("internal error")


def quote(message: str) -> bytes:
    """Return the value of `grpc-message`: UTF-8, percent-encoded except for printable ASCII."""
    if _UNQUOTED.fullmatch(message):
        return message.encode()
    quoted = parse.quote(message, safe=_PLAIN)
    if quoted != quoted.strip(" "):  # a field value must not begin or end with a space (RFC 9113, section 8.2.1)
        quoted = re.sub("^ +| +$", lambda spaces: "%20" * len(spaces[0]), quoted)
    return quoted.encode()


class _Constants(NamedTuple):
    """What all errors of one kind have in common."""

    status: tuple[bytes, bytes]
    before: bytes  # of the details that differ by call, which are serialized between these two: protobuf
    after: bytes  # merges serialized messages in a row
    more: tuple[tuple[bytes, bytes], ...]  # further fields


@cache
def _constants(grpc_status: str, code: str, retry_after: int | None) -> _Constants:
    number = Code.Value(grpc_status)
    before, after = Status(code=number), Status()
    before.details.add().Pack(ErrorInfo(reason=code.upper(), domain=DOMAIN))
    more: list[tuple[bytes, bytes]] = []
    if retry_after is not None:
        after.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=retry_after)))
        more.append((_PUSHBACK, b"%d" % (retry_after * 1000)))
    if grpc_status == "UNIMPLEMENTED":
        more.append((b"grpc-accept-encoding", b",".join(ENCODINGS)))
    status = (b"grpc-status", b"%d" % number)
    return _Constants(status, before.SerializeToString(), after.SerializeToString(), tuple(more))


def error_fields(error: RequestError, request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the trailing fields that end a call with an error.

    `grpc-status-details-bin` is a `google.rpc.Status` in base64. Its details are an `ErrorInfo` with the error's code
    as the reason, a `RequestInfo`, and a `RetryInfo` if a retry can succeed.
    """
    status, before, after, more = _constants(error.grpc_status, error.code, error.retry_after)
    info = _REQUEST_INFO + _field(2, _field(1, request_id.encode()))
    details = before + _field(2, error.message.encode()) + _field(3, info) + after
    encoded = b2a_base64(details, newline=False).rstrip(b"=")
    return [status, (b"grpc-message", quote(error.message)), (b"grpc-status-details-bin", encoded), *more]


def _field(number: int, content: bytes) -> bytes:
    """Serialize a field of a protobuf message: a string, bytes or a message of less than 16 kB.

    An overloaded server sends thousands of errors per second, and protobuf's own objects cost several times as much.
    """
    size = len(content)
    if not size:
        return b""
    length = (size,) if size < 0x80 else (size & 0x7F | 0x80, size >> 7)
    return bytes((number << 3 | 2, *length)) + content


#: The type of a serialized `RequestInfo` in `google.protobuf.Any`.
_REQUEST_INFO = _field(1, b"type.googleapis.com/google.rpc.RequestInfo")
