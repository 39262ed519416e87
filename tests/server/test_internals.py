"""The undocumented parts of libraries that this service uses exist in the allowed versions.

If a test fails, a library has changed. Read its new code, change the code that the test names, and then raise the bound
in pyproject.toml.
"""

import inspect
from collections.abc import Callable
from typing import Any

import httptools
import onnxruntime
import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

#: Methods that `server.http.connection.HttpConnection` and its base class override or call, and their parameters.
PROTOCOL = {
    "connection_made": ["transport"],
    "connection_lost": ["exc"],
    "data_received": ["data"],
    "on_message_begin": [],
    "on_url": ["url"],
    "on_headers_complete": [],
    "on_body": ["body"],
    "on_message_complete": [],
    "on_response_complete": [],
    "shutdown": [],
    "_start_asgi_task": ["cycle", "app"],
}

#: Attributes of a new connection, besides its methods.
CONNECTION = (
    *("app", "app_state", "client", "cycle", "expect_100_continue", "flow", "headers", "loop", "parser", "pipeline"),
    *("scheme", "scope", "server_state", "tasks", "timeout_keep_alive", "transport"),
)

#: Attributes of a cycle, and the lines of uvicorn that the overridden methods replace or rely on.
CYCLE = ("body", "disconnected", "message_event", "response_complete", "response_started", "scope")
RELIED_ON: dict[str, tuple[Callable[..., Any], str]] = {
    "a request behind another one is queued": (HttpToolsProtocol.on_headers_complete, "self.pipeline.appendleft("),
    "the first one is started": (HttpToolsProtocol.on_headers_complete, "self._start_asgi_task(self.cycle, app)"),
    "an answered one is told by its cycle": (HttpToolsProtocol.on_headers_complete, "response_complete"),
    "a body is kept in the cycle": (HttpToolsProtocol.on_body, "self.cycle.body += body"),
    "a task counts while it runs": (HttpToolsProtocol._start_asgi_task, "self.tasks.add(task)"),
    "a Connection header closes": (RequestResponseCycle.send, 'if b"close" in connection'),
    "nothing is sent to who has gone": (RequestResponseCycle.send, "if self.disconnected:"),
    "the end of a response is told": (RequestResponseCycle.send, "self.on_response()"),
    "an answered request is at its end": (RequestResponseCycle.receive, "self.disconnected or self.response_complete"),
    "the loop ends when a tick says so": (uvicorn.Server.main_loop, "should_exit = await self.on_tick(counter)"),
    "the date is set by ticks": (uvicorn.Server.on_tick, "self.server_state.default_headers ="),
    "a started server is shut down": (uvicorn.Server._serve, "await self.shutdown(sockets=sockets)"),
}


@pytest.mark.parametrize("name", PROTOCOL)
def test_methods_of_uvicorns_protocol(name: str) -> None:
    """`server/http` overrides these methods, so the library must call them."""
    parameters = list(inspect.signature(getattr(HttpToolsProtocol, name)).parameters)
    assert parameters == ["self", *PROTOCOL[name]], f"uvicorn {uvicorn.__version__} changed HttpToolsProtocol.{name}"


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError


def test_attributes_of_uvicorns_protocol() -> None:
    """`server/http` reads and sets these attributes of a protocol, a cycle and the flow control."""
    config = uvicorn.Config(_nothing, interface="asgi3", log_config=None)
    connection = HttpToolsProtocol(config, ServerState(), {}, _loop=object())  # type: ignore[arg-type]
    cycle = RequestResponseCycle(
        **dict.fromkeys(list(inspect.signature(RequestResponseCycle).parameters))  # type: ignore[arg-type]
    )
    flow = FlowControl(None)  # type: ignore[arg-type]
    missing = [name for name in CONNECTION if not hasattr(connection, name)]
    missing += [name for name in CYCLE if not hasattr(cycle, name)]
    missing += [
        name for name in ("write_paused", "pause_reading", "resume_reading", "drain") if not hasattr(flow, name)
    ]
    missing += [name for name in ("default_headers", "tasks") if not hasattr(ServerState(), name)]
    missing += [name for name in ("should_exit", "force_exit", "started") if not hasattr(uvicorn.Server(config), name)]
    assert not missing, f"uvicorn {uvicorn.__version__} has these no more: {missing}"
    assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("what", RELIED_ON)
def test_lines_of_uvicorn(what: str) -> None:
    """The source of the library contains the lines that the service relies on."""
    function, line = RELIED_ON[what]
    assert line in inspect.getsource(function), f"uvicorn {uvicorn.__version__}: check whether {what}"


def test_parser() -> None:
    """Leniencies have the names that `server/http/connection.py` uses, and the HTTP version is left to it."""

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
