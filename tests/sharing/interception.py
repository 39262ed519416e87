"""A server between a client and an HTTP server, which can fail, or act first, when a file is written."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Interception:
    """Forwards requests in a `with` block. `before_put` gets the name of a file that a client writes.

    If it returns False, the connection is closed without an answer, as are all requests from then on.
    """

    def __init__(self, address: str, before_put: Callable[[str], bool]) -> None:
        self.target = urlsplit(address).netloc
        self.before_put = before_put
        self.gone = False
        handler = type("Handler", (_Handler,), {"interception": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    interception: Interception
    protocol_version = "HTTP/1.1"  # answers `Expect: 100-continue`, which clients of S3 send

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""

    def forward(self) -> None:
        """Send the request on, and return the answer."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        between = self.interception
        if self.command == "PUT" and not between.gone:
            between.gone = not between.before_put(urlsplit(self.path).path.rpartition("/")[2])
        if between.gone:
            self.close_connection = True
            return
        connection = http.client.HTTPConnection(between.target)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        length = answer.getheader("content-length", "0") if self.command == "HEAD" else len(content)
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"connection", "content-length", "date", "server", "transfer-encoding"}:
                self.send_header(name, value)
        self.send_header("content-length", str(length))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward
