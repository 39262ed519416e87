"""The undocumented parts of libraries that this service uses exist in the allowed versions.

If a test fails, a library has changed. Read its new code, change the code that the test names, and then raise the bound
in pyproject.toml.
"""

import asyncio
import inspect
from typing import Any

import httptools
import onnxruntime
import pytest
import uvicorn

#: Methods of `uvicorn.Server` that `server.process.worker.Worker` overrides, and their parameters.
SERVER = {"startup": ["sockets"], "on_tick": ["counter"], "shutdown": ["sockets"], "capture_signals": []}


@pytest.mark.parametrize("name", SERVER)
def test_methods_of_uvicorns_server(name: str) -> None:
    """`server/process/worker.py` overrides these methods, so the library must call them."""
    parameters = list(inspect.signature(getattr(uvicorn.Server, name)).parameters)
    assert parameters == ["self", *SERVER[name]], f"uvicorn {uvicorn.__version__} changed Server.{name}"


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError


def test_ticks_of_uvicorn() -> None:
    """A tick sets the date in the headers of every response, and says when the server has to leave."""
    server = uvicorn.Server(uvicorn.Config(_nothing, log_config=None))
    server.config.load()
    assert not asyncio.run(server.on_tick(0))
    assert b"date" in dict(server.server_state.default_headers)
    server.should_exit = True
    assert asyncio.run(server.on_tick(1))


def test_parser() -> None:
    """Leniencies have the names that `server/http/parser.py` uses, and the HTTP version is left to it."""

    class Heard:
        versions: list[str] = []  # noqa: RUF012

        def on_headers_complete(self) -> None:
            self.versions.append(parser.get_http_version())

    parser = httptools.HttpRequestParser(Heard())
    parser.set_dangerous_leniencies(lenient_version=True, lenient_data_after_close=True)
    parser.feed_data(b"GET / HTTP/4.2\r\n\r\n")
    assert Heard.versions == ["4.2"], f"httptools {httptools.__version__} changed how it reads versions"


def test_errors_in_callbacks_of_the_parser() -> None:
    """The parser's error has the exception that a callback raised as its context."""
    raised = ValueError()

    class Raising:
        def on_headers_complete(self) -> None:
            raise raised

    with pytest.raises(httptools.HttpParserError) as caught:
        httptools.HttpRequestParser(Raising()).feed_data(b"GET / HTTP/1.1\r\n\r\n")
    assert caught.value.__context__ is raised, f"httptools {httptools.__version__} hides errors in callbacks"


def test_session_of_onnx_runtime() -> None:
    """`inference/engine.py` runs a session below its Python class, in the same way as that class."""
    source = inspect.getsource(onnxruntime.InferenceSession.run_with_iobinding)
    call = "self._sess.run_with_iobinding(iobinding._iobinding, run_options)"
    assert call in source, f"ONNX Runtime {onnxruntime.__version__} runs a session in another way"
