"""Files and folders in stores: what a web server does not do, or refuses, is an error in one line."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sentiment_conv1d.model.tables import DataError
from tests.processes import free_port
from tests.scoring.test_run import score

CONTENT = "text,id\n" + "".join(f"a lovely film,{number}\n" for number in range(100))


#: The status of every path that exists.
STATUSES = {"/chunks.csv": 200, "/whole.csv": 200, "/forbidden.csv": 403}


class Web(BaseHTTPRequestHandler):
    """Serves `CONTENT` in chunks, whole without ranges, or not at all, by the name of the file."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self.send_response(STATUSES.get(self.path, 404))
        if self.path == "/chunks.csv":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(CONTENT)) if self.path == "/whole.csv" else "0")
        self.end_headers()

    def do_GET(self) -> None:
        """Answer with a body."""
        self.do_HEAD()
        if self.path == "/chunks.csv":
            for line in CONTENT.splitlines(keepends=True):
                self.wfile.write(f"{len(line):x}\r\n{line}\r\n".encode())
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/whole.csv":
            self.wfile.write(CONTENT.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """Run the web server, and return its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_file_of_unknown_size(web: str, tmp_path: Path) -> None:
    """A file that a web server sends in chunks is read once from its start."""
    assert score(f"{web}/chunks.csv", out=tmp_path / "out", extension=".csv").rows == 100


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("WEB/forbidden.csv", "^WEB/forbidden.csv: cannot be read .403"),
        ("WEB/whole.csv", "^WEB/whole.csv: cannot be read .The HTTP server doesn't appear to support range requests"),
        ("NOBODY/in.csv", "^NOBODY/in.csv: cannot be read .Cannot connect"),
    ],
)
def test_unreadable_files(web: str, tmp_path: Path, source: str, message: str) -> None:
    """A file that a web server refuses, or cannot send from the middle, is an error, as is a server that is away."""
    nobody = f"http://127.0.0.1:{free_port()}"
    source, message = (each.replace("WEB", web).replace("NOBODY", nobody) for each in (source, message))
    with pytest.raises(DataError, match=message):
        score(source, out=tmp_path / "out", extension=".csv")


def test_output_on_the_web(web: str) -> None:
    """A web server takes no files."""
    with pytest.raises(DataError, match=f"^{web}/out: cannot be written"):
        score(f"{web}/chunks.csv", out=f"{web}/out", extension=".csv")
