"""Where the records of the request log go: a file that is rotated, or an HTTP server that takes CloudEvents."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from io import BufferedReader, FileIO, RawIOBase
from itertools import pairwise
from pathlib import Path
from socket import socket
from tempfile import TemporaryFile
from time import monotonic
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from uuid import uuid4

import orjson

from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.setting_types import LogTarget, folder_of

#: Rotated files that are kept beside the current one.
_BACKUPS = 4

#: Seconds that an HTTP server has for an event, from the connection to the end of the answer.
_SECONDS = 5.0

#: The most bytes of an answer that are read. Its status is all that counts.
_ANSWER_BYTES = 65_536

#: The type of the events, that of KServe's inference logger for answers.
_EVENT = "org.kubeflow.serving.inference.response"

#: Writes a record. Called on one thread. Raises an exception if the record cannot be written.
Sink: TypeAlias = Callable[[Mapping[str, Any]], None]


class LogFile:
    """A file of JSON lines, which is rotated before it has more than `max_bytes`. Only its user can read it.

    The file is opened for each record. If another program has moved or deleted it, the next record goes to a new one.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes

    def write(self, record: Mapping[str, Any]) -> None:
        """Write a line, so that other programs see it. Raises `OSError`."""
        line = _json(record) + b"\n"
        with open(self._path, "ab", buffering=0, opener=_open_private) as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0 or size + len(line) <= self._max_bytes:
                _append(file, line, size)
                return
        self._rotate()
        self.write(record)

    def _rotate(self) -> None:
        backups = [self._path.with_name(f"{self._path.name}.{number}") for number in range(1, _BACKUPS + 1)]
        for older, newer in pairwise([*reversed(backups), self._path]):
            if newer.exists():
                newer.replace(older)


class EventSink:
    """An HTTP server that takes CloudEvents in binary mode, as KServe's inference logger sends them.

    The attributes of an event are header fields, and its data is the body:
    https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#31-binary-content-mode
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = connect(parts.hostname or "", parts.port, timeout=_SECONDS)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def write(self, record: Mapping[str, Any]) -> None:
        """Send an event. Raises `OSError` or `HTTPException` if the server does not answer with a 2xx status."""
        fields = {
            "content-type": "application/json",
            "ce-specversion": "1.0",
            "ce-id": str(uuid4()),
            "ce-source": "sentiment-conv1d",
            "ce-type": _EVENT,
            "ce-time": record["time"],
            "ce-inferenceservicename": record["model"],
            "ce-component": "predictor",
        }
        content = _json(record)
        until = monotonic() + _SECONDS
        try:
            self._post(content, fields, until)
        except ConnectionError:  # the server has closed the idle connection
            self._post(content, fields, until)

    def _post(self, content: bytes, fields: Mapping[str, str], until: float) -> None:
        connection = self._connection
        connection.timeout = _seconds_until(until)
        if connection.sock is not None:
            connection.sock.settimeout(connection.timeout)
        try:
            connection.request("POST", self._target, content, fields)
            connection.response_class = partial(_Response, until=until)  # type: ignore[assignment]
            response = connection.getresponse()
            response.read(_ANSWER_BYTES)
        except BaseException:
            connection.close()  # the next request opens another one
            raise
        if not response.isclosed():  # there is more to read
            self._connection.close()
        if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise OSError(f"the server answers {response.status} {response.reason}")


class _Response(HTTPResponse):
    """An answer that is complete before a point in time of the monotonic clock. Raises `TimeoutError` otherwise.

    The time limit of a socket begins anew with each byte, so a server could send an answer that takes hours.
    """

    def __init__(self, source: socket, *arguments: Any, until: float, **options: Any) -> None:
        super().__init__(source, *arguments, **options)
        self.fp.close()
        self.fp = BufferedReader(_Received(source, until))


class _Received(RawIOBase):
    """What a socket receives until a point in time. Reading later raises `TimeoutError`."""

    def __init__(self, source: socket, until: float) -> None:
        self._socket = source
        self._received = source.makefile("rb", buffering=0)  # it keeps the socket open
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(_seconds_until(self._until))
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


def open_sink(target: LogTarget, file: str, max_bytes: int) -> Sink:
    """Return the sink for the records of a worker: a URL, or a file of the folder."""
    if (folder := folder_of(target)) is None:
        return EventSink(target).write
    return LogFile(folder / file, max_bytes).write


def prepare_folder(target: LogTarget | None) -> None:
    """Create the folder of the log if it goes to one. Raises `StartupError` if it cannot be written to."""
    if (folder := folder_of(target)) is None:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StartupError(f"--request-log: {folder} cannot be written to ({error.strerror})") from error


def _seconds_until(time: float) -> float:
    if (seconds := time - monotonic()) <= 0:
        raise TimeoutError(f"the server did not answer within {_SECONDS:g} s")
    return seconds


def _append(file: FileIO, line: bytes, size: int) -> None:
    """Append a line to a file of `size` bytes. If the disk is full, the part that was written is removed again."""
    try:
        while line:
            line = line[file.write(line) :]
    except OSError:
        with suppress(OSError):  # it may not be a regular file
            file.truncate(size)
        raise


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _json(record: Mapping[str, Any]) -> bytes:
    return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY)
