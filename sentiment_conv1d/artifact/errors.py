"""The base class of all errors whose message is meant for the person who runs a command."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


#: Errors of the system that can pass by themselves: an address that another process uses, a name server or a network
#: file system that does not answer, and memory, files, processes or disk space that are used up.
_TRANSIENT = {
    *(errno.EADDRINUSE, socket.EAI_AGAIN),
    *(errno.ENOMEM, errno.ENOBUFS, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT),
    *(errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT),
}


class SentimentError(Exception):
    """An error that the caller can fix. Commands print its message without a traceback, and exit with `exit_status`."""

    @property
    def report(self) -> str:
        """The error in one line, without the control characters that file names and other libraries may contain."""
        line = " ".join(str(self).split())
        return f"error: {''.join(each if each.isprintable() else repr(each)[1:-1] for each in line)}"


class TransientError(SentimentError):
    """A command cannot succeed now, but the same command can succeed later."""


class OutputError(SentimentError):
    """Standard output, which is the result of a command, cannot be written, or the program that reads it has ended."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"the output cannot be written ({cause.strerror})")
        self.cause = cause


@contextmanager
def about_files() -> Iterator[None]:
    """Raise what the system says about a file, such as one in a folder without permission, as a `SentimentError`."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise SentimentError(f"{error.filename}: {error.strerror}") from error
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SentimentError(f"a file cannot be written ({error.strerror})") from error


def first_fault(error: ValidationError) -> str:
    """Return the first fault of a document or of settings, and its location, on one line."""
    fault = error.errors()[0]
    location = ".".join(map(str, fault["loc"]))
    message = fault["msg"].removeprefix("Value error, ")
    return f"{location}: {message}" if location else message


@contextmanager
def reading(location: Path | str, kind: type[SentimentError] = SentimentError, what: str = "read") -> Iterator[None]:
    """Raise an error of this kind, which names the location, if the system cannot read it."""
    try:
        yield
    except OSError as error:
        raise kind(f"{location}: cannot be {what} ({error.strerror or error})") from error


def writing(location: Path | str, kind: type[SentimentError] = SentimentError) -> AbstractContextManager[None]:
    """Raise an error of this kind, which names the location, if the system cannot write to it."""
    return reading(location, kind, "written")


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
    import ssl  # only for an error, because it takes longer to import than the rest of this module

    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):  # which has numbers of OpenSSL
        return error.errno in _TRANSIENT
    return isinstance(error, TransientError | MemoryError)
