"""The errors of this service: of requests for predictions, and of its start."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from sentiment_conv1d.artifact.errors import SentimentError, TransientError
from sentiment_conv1d.inference import errors
from sentiment_conv1d.server.errors import RequestError

#: Errors of the system that can pass by themselves: an address that another process uses, a name server or a network
#: file system that does not answer, and memory, files, processes or disk space that are used up.
_TRANSIENT = {
    *(errno.EADDRINUSE, socket.EAI_AGAIN),
    *(errno.ENOMEM, errno.ENOBUFS, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT),
    *(errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT),
}


class StartupError(SentimentError):
    """The service cannot start with these settings."""


def exit_status(error: BaseException) -> int:
    """Return the exit status of a command that fails with an error.

    It is 75 (`EX_TEMPFAIL`) if the error, or one that caused it, can pass by itself, otherwise 2.
    """
    cause: BaseException | None = error
    while cause is not None:
        if _can_pass(cause):
            return os.EX_TEMPFAIL
        cause = cause.__cause__
    return 2


def _can_pass(error: BaseException) -> bool:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):  # which has numbers of OpenSSL
        return error.errno in _TRANSIENT
    return isinstance(error, TransientError | MemoryError)


class Invalid(RequestError, code="invalid", http=422, grpc="INVALID_ARGUMENT"):
    """The request is well-formed, but does not have the shape that the route expects."""


class NotExplainable(RequestError, code="not_explainable", http=422, grpc="FAILED_PRECONDITION"):
    """The decisions of this model cannot be explained exactly."""


@contextmanager
def explaining() -> Iterator[None]:
    """Raise the errors of an explainer as errors of the request."""
    try:
        yield
    except errors.NotExplainable as error:
        raise NotExplainable(str(error)) from None
    except errors.UnknownName as error:
        raise Invalid(str(error)) from None


class Forbidden(RequestError, code="forbidden", http=403, grpc="PERMISSION_DENIED"):
    """The caller lacks a client certificate or an administration key, or the request comes from another site."""


class NotFound(RequestError, code="not_found", http=404, grpc="NOT_FOUND"):
    """The route, model or version does not exist."""
