"""The status of a call, and the header fields that carry it.

Source: "Status codes and their use in gRPC" and "gRPC over HTTP2" in the gRPC documentation, and
`google/rpc/error_details.proto`.
"""

from __future__ import annotations

import logging
import re
from base64 import b64encode
from functools import cache
from urllib import parse

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo, RequestInfo, RetryInfo
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


def as_refusal(error: Exception, failed: str) -> RequestError:
    """Return the error to send to the client. An unexpected error is logged and hidden behind "internal error"."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, DecodeError):
        return Malformed("the message is not valid protobuf")
    logger.error("%s failed", failed, exc_info=error)
    return RequestError("internal error")


def quote(message: str) -> bytes:
    """Return the value of `grpc-message`: UTF-8, percent-encoded except for printable ASCII."""
    if _UNQUOTED.fullmatch(message):
        return message.encode()
    quoted = parse.quote(message, safe=_PLAIN)
    if quoted != quoted.strip(" "):  # a field value must not begin or end with a space (RFC 9113, section 8.2.1)
        quoted = re.sub("^ +| +$", lambda spaces: "%20" * len(spaces[0]), quoted)
    return quoted.encode()


def details(error: RequestError, request_id: str) -> bytes:
    """Return the value of `grpc-status-details-bin`: a `google.rpc.Status` in base64.

    Its details are an `ErrorInfo` with the error's code as the reason, a `RequestInfo`, and a `RetryInfo` if a retry
    can succeed.
    """
    before, after = _constant_details(error.grpc_status, error.code, error.retry_after)
    status = Status(message=error.message)
    status.details.add().Pack(RequestInfo(request_id=request_id))
    return b64encode(before + status.SerializeToString() + after).rstrip(b"=")


@cache
def _constant_details(grpc_status: str, code: str, retry_after: int | None) -> tuple[bytes, bytes]:
    """Return the parts before and after those that differ by call. Protobuf merges serialized messages in a row."""
    before, after = Status(code=Code.Value(grpc_status)), Status()
    before.details.add().Pack(ErrorInfo(reason=code.upper(), domain=DOMAIN))
    if retry_after is not None:
        after.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=retry_after)))
    return before.SerializeToString(), after.SerializeToString()


def error_fields(error: RequestError, request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the trailing fields that end a call with an error."""
    fields = [
        (b"grpc-status", b"%d" % Code.Value(error.grpc_status)),
        (b"grpc-message", quote(error.message)),
        (b"grpc-status-details-bin", details(error, request_id)),
    ]
    if error.retry_after is not None:
        fields.append((_PUSHBACK, str(error.retry_after * 1000).encode()))
    if error.grpc_status == "UNIMPLEMENTED":
        fields.append((b"grpc-accept-encoding", b",".join(ENCODINGS)))
    return fields
