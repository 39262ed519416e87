"""Log lines are complete, single lines, and have the id of their request."""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.service.telemetry import logs
from sentiment_conv1d.service.telemetry.request_context import RequestContext
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import ServerProcess
from tests.service.grpc.channels import connect
from tests.service.rest.raw import Connection


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("a.logger").makeRecord(
        "a.logger", logging.INFO, __file__, 1, message, arguments, None, extra=extra
    )


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """Return the root logger, and restore it afterwards."""
    logger = logging.getLogger()
    others = [logging.getLogger(name) for name in ("sentiment_conv1d", "uvicorn.error", "httpx2")]
    handlers, levels = logger.handlers[:], [each.level for each in (logger, *others)]
    yield logger
    logger.handlers[:] = handlers
    for each, level in zip((logger, *others), levels, strict=True):
        each.setLevel(level)


def test_json() -> None:
    """A JSON line has the time, the level, the logger, the message and the extra fields."""
    fields = json.loads(logs.JsonFormatter().format(record("%d texts", 3, status=200)))
    assert fields.pop("time")[-5] == "."
    assert fields == {"level": "INFO", "logger": "a.logger", "message": "3 texts", "status": 200}


def test_console() -> None:
    """A console line has the time, the level, the message and the extra fields."""
    line = logs.ConsoleFormatter().format(record("%d texts", 3, status=200))
    assert line[8] == "." and line[12:] == " INFO a.logger: 3 texts status=200"


@pytest.mark.parametrize("formatter", [logs.JsonFormatter(), logs.ConsoleFormatter()])
def test_request_id(formatter: logging.Formatter) -> None:
    """Only lines of a request have its id."""
    with RequestContext("abc-1"):
        assert "abc-1" in formatter.format(record("inside"))
    assert "request_id" not in formatter.format(record("outside"))


@pytest.mark.parametrize("formatter", [logs.JsonFormatter(), logs.ConsoleFormatter()])
def test_exception(formatter: logging.Formatter) -> None:
    """A traceback is part of the line that reports it."""
    failed = record("it failed")
    try:
        raise ValueError("the cause")
    except ValueError:
        failed.exc_info = sys.exc_info()
    line = formatter.format(failed)
    assert "it failed" in line and "ValueError: the cause" in line


@given(
    message=st.text(st.characters(exclude_categories=["Cs"])), value=st.text(st.characters(exclude_categories=["Cs"]))
)
def test_json_is_one_line(message: str, value: str) -> None:
    """Any JSON line is one line and parses to the original values."""
    line = logs.JsonFormatter().format(record("%s", message, value=value))
    assert "\n" not in line and "\r" not in line
    fields = json.loads(line)
    assert (fields["message"], fields["value"]) == (message, value)


FORGED = "a\n12:00:00.000 INFO a.logger: forged\r\x1b[2K\u2028\x85\u202e"


def test_console_is_one_line() -> None:
    """In the message and in the values of a console line, control characters are escaped, and other text is not."""
    line = logs.ConsoleFormatter().format(record("naïve %s", FORGED, value=FORGED))
    escaped = r"a\n12:00:00.000 INFO a.logger: forged\r\x1b[2K\u2028\x85\u202e"
    assert line[12:] == f" INFO a.logger: naïve {escaped} value={escaped}"


def test_console_exception_is_indented() -> None:
    """No line of a traceback can look like a line of the log, whatever the message of the exception contains."""
    failed = record("it failed")
    try:
        raise ValueError(FORGED)
    except ValueError:
        failed.exc_info = sys.exc_info()
    first, *others = logs.ConsoleFormatter().format(failed).splitlines()
    assert first.endswith("it failed") and len(others) > 3
    assert all(line.startswith("    ") and line.isprintable() for line in others)


def test_json_of_anything() -> None:
    """Values that JSON does not support are written as text."""
    assert json.loads(logs.JsonFormatter().format(record("x", path=sys)))["path"] == str(sys)


def test_json_of_a_file_name() -> None:
    """A file name that is not UTF-8 is logged with a question mark in place of each wrong byte."""
    line = logs.JsonFormatter().format(record("%s is ignored", os.fsdecode(b"caf\xe9")))
    assert json.loads(line)["message"] == "caf? is ignored"


def test_configure(root: logging.Logger, capfd: pytest.CaptureFixture[str]) -> None:
    """One handler writes every line of the level or above to standard error."""
    logs.configure("json", "warning")
    logs.configure("json", "warning")
    logging.getLogger("a.logger").info("too quiet")
    logging.getLogger("a.logger").warning("loud enough")
    output = capfd.readouterr()
    assert output.out == ""
    assert json.loads(output.err)["message"] == "loud enough"


def test_debug_level(root: logging.Logger) -> None:
    """Debug lines of libraries, which could contain keys, are not logged."""
    logs.configure("console", "debug")
    for name in ("server.network.listener", "inference.engine"):
        assert logging.getLogger(f"sentiment_conv1d.{name}").isEnabledFor(logging.DEBUG)
    for library in ("hpack.hpack", "h2.connection", "hyperframe", "httpcore", "uvicorn.error", "a.library"):
        assert not logging.getLogger(library).isEnabledFor(logging.DEBUG)
    assert logging.getLogger("a.library").isEnabledFor(logging.INFO)


def test_no_key_is_logged_at_the_debug_level() -> None:
    """At every level, the log contains no key that a caller sends, valid or not, over REST or gRPC."""
    secrets = {name: f"{name}-0123456789-secret" for name in ("known", "admin", "wrong", "bearer", "malformed")}
    flags = ("--workers", "1", "--log-level", "debug", "--access-log", "--admin", "key")
    known, admin = secrets["known"], secrets["admin"]
    with ServerProcess(*flags, SENTIMENT_API_KEYS=known, SENTIMENT_ADMIN_KEYS=admin) as server:
        for secret in secrets.values():
            for name, value in (("x-api-key", secret), ("authorization", f"Bearer {secret}")):
                server.client.post("/v1/predict", json={"text": "great"}, headers={name: value})
                server.client.post("/v2/repository/models/imdb-cnn/load", headers={name: value})
                with connect(server) as channel, contextlib.suppress(grpc.RpcError):
                    SentimentStub(channel).Predict(PredictRequest(text="great"), metadata=((name, value),))
        with Connection(server.port) as connection:
            connection.send(f"POST /v1/predict HTTP/1.1\r\nX-API-Key {secrets['malformed']}\r\n\r\n".encode())
            assert connection.status() == 400
    log = "".join(server.log)
    assert "POST /v1/predict" in log
    for name in secrets:
        assert secrets[name] not in log, name


def test_full_pipe() -> None:
    """Lines are dropped without blocking while a pipe is full, and a later line says how many."""
    reader, writer = os.pipe()
    try:
        handler = logs.Descriptor(writer)
        for _ in range(3000):
            handler.emit(record("x" * 100))
        written = os.read(reader, 1_000_000)
        handler.emit(record("last"))
        written += os.read(reader, 1_000_000)
    finally:
        os.close(reader)
        os.close(writer)
    [note] = [line for line in written.decode().splitlines() if "could not be written" in line]
    assert int(note.split()[0]) == 3000 - written.count(b"x" * 100) > 0
    assert written.endswith(b"last\n")


def test_full_disk() -> None:
    """A line that cannot be written is dropped without an exception."""
    with Path("/dev/full").open("wb") as full:
        logs.Descriptor(full.fileno()).emit(record("lost"))
