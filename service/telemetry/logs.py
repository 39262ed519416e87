"""Logs as text or JSON lines, each with the id of its request.

A line that cannot be written is dropped, so a full disk or a pipe without a reader does not block the service.
"""

from __future__ import annotations

import json
import logging
import os
import select
import time
from typing import Any, Literal

import orjson

from sentiment_conv1d.service.telemetry.request_context import logged_request

_STANDARD_ERROR = 2

#: Libraries with a line for every start and stop, which repeats what the server logs, and for every request to the Hub.
_TALKATIVE = ("uvicorn.error", "httpx2")

#: Characters of a request's name in the access log. The path of a gRPC call can have 16 kB, or 48 kB when it is quoted,
#: and container runtimes split lines at 16 kB.
_MAX_REQUEST_CHARACTERS = 2048

#: Attributes of every record. All others come from `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonFormatter(logging.Formatter):
    """Formats a line as a JSON object: time, level, logger, message, request and trace ids, `extra`, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without a newline."""
        fields = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(fields, default=str).decode()
        except TypeError:  # a file name that is not UTF-8
            return json.dumps(fields, default=str, ensure_ascii=False).encode("utf-8", "replace").decode()


class ConsoleFormatter(logging.Formatter):
    """`12:00:00.123 INFO sentiment_conv1d.service.process.server: message key=value`, then the exception, indented.

    Control characters are escaped, so that no value, such as a name in a model's files, can forge a line.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the first line."""
        fields = (f"{key}={value}" for key, value in _fields(record).items())
        return _escape(" ".join([super().formatMessage(record), *fields]))

    def formatException(self, ei: Any) -> str:
        """Return the lines of a traceback."""
        return "\n".join(f"    {_escape(line)}" for line in super().formatException(ei).split("\n"))


class Descriptor(logging.Handler):
    """Writes lines to a file descriptor. Drops lines that would block, and logs how many."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._writable = select.poll()
        self._writable.register(descriptor, select.POLLOUT)
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or drop it."""
        line = self.format(record) + "\n"
        if self._left_out:
            note = logging.makeLogRecord(
                {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "created": record.created}
                | {"msg": "%d lines before this one could not be written", "args": (self._left_out,)}
            )
            line = f"{self.format(note)}\n{line}"
        if self._write(line.encode("utf-8", "backslashreplace")):
            self._left_out = 0
        else:
            self._left_out += 1

    def _write(self, content: bytes) -> bool:
        try:
            while content:
                # A pipe that is ready accepts this many bytes without blocking.
                if not self._writable.poll(0):
                    return False
                content = content[os.write(self._descriptor, content[: select.PIPE_BUF]) :]
        except OSError:
            return False
        return True


def log_request(
    owner: logging.Logger,
    request_id: str,
    request: str,
    status: int | str,
    seconds: float,
    client: str | None,
    *,
    failed: bool,
) -> None:
    """Write the access log's line of a request. Its name must not contain a line break, and is cut if it is long."""
    milliseconds = round(seconds * 1000, 3)
    extra = {"request_id": request_id, "status": status, "milliseconds": milliseconds, "client": client}
    owner.log(logging.ERROR if failed else logging.INFO, "%s", request[:_MAX_REQUEST_CHARACTERS], extra=extra)


def configure(style: Literal["console", "json"], level: str) -> None:
    """Send all logs to standard error in one format.

    The debug level applies only to the service, because libraries log header fields at this level, including API keys.
    """
    handler = Descriptor(_STANDARD_ERROR)
    handler.setFormatter(JsonFormatter() if style == "json" else ConsoleFormatter())
    logging.basicConfig(level="INFO" if level == "debug" else level.upper(), handlers=[handler], force=True)
    logging.getLogger("sentiment_conv1d").setLevel(level.upper())
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.WARNING)


def _escape(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the ids of the request and the trace, and the fields from `extra`."""
    fields: dict[str, Any] = {}
    if (request := logged_request()) is not None:
        fields["request_id"] = request.id
        if request.trace is not None:
            fields["trace_id"], fields["span_id"] = request.trace.ids
    return fields | {key: value for key, value in vars(record).items() if key not in _STANDARD}
