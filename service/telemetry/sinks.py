"""Where the records of the request log go: a file that is rotated, or an HTTP server that takes CloudEvents."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPSConnection
from io import FileIO
from logging.handlers import RotatingFileHandler
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from uuid import uuid4

import orjson

from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.settings import LogTarget

#: Rotated files that are kept beside the current one.
_BACKUPS = 4

#: Seconds in which an HTTP server must accept a connection, and for which it can be silent.
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
        # It only renames the files. Its limit is in characters, and on a full disk it leaves a part of a line.
        self._rotation = RotatingFileHandler(path, backupCount=_BACKUPS, delay=True)

    def write(self, record: Mapping[str, Any]) -> None:
        """Write a line, so that other programs see it. Raises `OSError`."""
        line = _json(record) + b"\n"
        with open(self._path, "ab", buffering=0, opener=_open_private) as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0 or size + len(line) <= self._max_bytes:
                _append(file, line, size)
                return
        self._rotation.doRollover()
        self.write(record)


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
        try:
            self._post(content, fields)
        except ConnectionError:  # the server has closed the idle connection
            self._post(content, fields)

    def _post(self, content: bytes, fields: Mapping[str, str]) -> None:
        try:
            self._connection.request("POST", self._target, content, fields)
            response = self._connection.getresponse()
            response.read(_ANSWER_BYTES)
        except BaseException:
            self._connection.close()  # the next request opens another one
            raise
        if not response.isclosed():  # there is more to read
            self._connection.close()
        if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise OSError(f"the server answers {response.status} {response.reason}")


def open_sink(target: LogTarget, file: str, max_bytes: int) -> Sink:
    """Return the sink for the records of a worker: a URL, or a file of the folder."""
    if (folder := _folder_of(target)) is None:
        return EventSink(target).write
    return LogFile(folder / file, max_bytes).write


def prepare_folder(target: LogTarget | None) -> None:
    """Create the folder of the log if it goes to one. Raises `StartupError` if it cannot be written to."""
    if (folder := _folder_of(target)) is None:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StartupError(f"--request-log: {folder} cannot be written to ({error.strerror})") from error


def _folder_of(target: LogTarget | None) -> Path | None:
    """Return the folder of a log; None if the log is off, or goes to a URL."""
    return None if target is None or "://" in target else Path(target)


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
