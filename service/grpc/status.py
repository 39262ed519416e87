"""How a call ends.

Source: gRPC's documents on its status codes and on its protocol over HTTP/2, and `google/rpc/error_details.proto`.
"""

from __future__ import annotations

import logging
from base64 import b64encode

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from sentiment_conv1d.service.errors import GRPC_STATUS, Malformed, RequestError

logger = logging.getLogger(__name__)


#: Who the reasons in `ErrorInfo` are those of.
DOMAIN = "sentiment-conv1d"

#: Bytes of a message in UTF-8. Quoted it may be three times as long, it stands in the details as well, and clients take
#: no more than 8 KiB of fields.
_MAX_BYTES = 1500


def status_of(error: RequestError) -> int:
    """The status of a call that is refused, a number of `google.rpc.Code`."""
    status: int = Code.Value(GRPC_STATUS[error.code])
    return status


def as_refusal(error: Exception, failed: str) -> RequestError:
    """The error that a caller may see; what is a defect of ours is logged, with what failed, and kept from it."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, DecodeError):
        return Malformed("the message is not valid protobuf")
    logger.error("%s failed", failed, exc_info=error)
    return RequestError("internal error")


def quote(message: str) -> bytes:
    """A message as it travels in `grpc-message`: in UTF-8, all but printable ASCII and the percent sign escaped.

    The end of a long one is left out: it quotes what the caller has sent.
    """
    message = _shorten(message)
    content = message.encode()
    plain = content.isascii() and message.isprintable() and b"%" not in content
    if plain and content.strip(b" ") == content:
        return content
    # A field may hold spaces, but not begin or end with one (RFC 9113, section 8.2.1).
    quoted = b"".join(b"%c" % byte if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in content)
    inner = quoted.strip(b" ")
    before = len(quoted) - len(quoted.lstrip(b" "))
    return b"%20" * before + inner + b"%20" * (len(quoted) - before - len(inner))


def details(error: RequestError, request_id: str) -> bytes:
    """The value of `grpc-status-details-bin`: a `google.rpc.Status` whose details programs can read, in base64.

    They are an `ErrorInfo` with the error's code as its reason, the `RequestInfo`, and a `RetryInfo` where another try
    may succeed.
    """
    found: list[Message] = [
        ErrorInfo(reason=error.code.upper(), domain=DOMAIN),
        RequestInfo(request_id=request_id),
    ]
    if error.retry_after is not None:
        found.append(RetryInfo(retry_delay=Duration(seconds=error.retry_after)))
    status = Status(code=status_of(error), message=_shorten(error.message), details=map(_pack, found))
    return b64encode(status.SerializeToString()).rstrip(b"=")


def _pack(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed


def _shorten(message: str) -> str:
    content = message.encode("utf-8", "replace")
    return content.decode() if len(content) <= _MAX_BYTES else content[:_MAX_BYTES].decode("utf-8", "ignore") + "..."
