"""Downloads are complete or leave nothing behind, whatever the server does."""

from __future__ import annotations

import gc
import hashlib
import random
import socket
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import keras
import pytest

from sentiment_conv1d.model.data import download
from sentiment_conv1d.model.data.download import fetch
from sentiment_conv1d.tables import DataError

CONTENT = random.Random(7).randbytes(300_000)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Site(ThreadingHTTPServer):
    """A server with one file. A test sets how it fails."""

    daemon_threads = False  # so that closing the server waits for the handlers

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.says_length = True
        self.breaks = False  # end the response in the middle of the file
        self.hangs = False
        self.status = 200
        self.closing = threading.Event()
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/reviews/reviews.tar.gz"


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        site = self.server
        site.requests += 1
        if site.hangs:
            site.closing.wait()
            return
        if site.status != 200:
            return self.send_error(site.status)
        self.send_response(200)
        if site.says_length:
            self.send_header("Content-Length", str(len(site.content)))
        self.end_headers()
        self.wfile.write(site.content[: len(site.content) // 2] if site.breaks else site.content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, args=(0.01,))
        thread.start()
        yield site
        site.closing.set()
        site.shutdown()
        thread.join()


def refused(site: Site, cache: Path, timeout: float = 30) -> str:
    """Assert that a download fails and leaves no file. Returns the error message."""
    with pytest.raises(DataError) as caught:
        fetch(site.url, MD5, cache=cache, timeout=timeout)
    assert list(cache.iterdir()) == []
    message = str(caught.value)
    # Keras does not close a connection whose response it has not read. The garbage collector does.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del caught
        gc.collect()
    assert message.startswith(site.url) and message.endswith("pass --data with a local copy")
    return message


@pytest.mark.parametrize("says_length", [True, False])
def test_complete_download(site: Site, tmp_path: Path, says_length: bool) -> None:
    """The file is stored under its own name in a new cache folder, whether or not its length is known."""
    site.says_length = says_length
    path = fetch(site.url, MD5, cache=tmp_path / "new" / "cache")
    assert path == tmp_path / "new" / "cache" / "reviews.tar.gz"
    assert path.read_bytes() == CONTENT


def test_cached_file(site: Site, tmp_path: Path) -> None:
    """A cached file is used without a request."""
    first = fetch(site.url, MD5, cache=tmp_path)
    assert (fetch(site.url, MD5, cache=tmp_path), site.requests) == (first, 1)


def test_corrupt_cached_file(site: Site, tmp_path: Path) -> None:
    """A cached file with another digest is downloaded again."""
    (tmp_path / "reviews.tar.gz").write_bytes(CONTENT[:-1] + b"?")
    assert fetch(site.url, MD5, cache=tmp_path).read_bytes() == CONTENT
    assert site.requests == 1


def test_corrupt_download(site: Site, tmp_path: Path) -> None:
    """A download with another digest is an error, and the file is not kept."""
    site.content = CONTENT[:-1] + b"?"
    assert "corrupted file" in refused(site, tmp_path)


def test_lost_connection(site: Site, tmp_path: Path) -> None:
    """If the connection is lost, the incomplete file is not kept."""
    site.breaks = True
    assert "retrieval incomplete" in refused(site, tmp_path)


@pytest.mark.parametrize("status", [404, 503])
def test_error_status(site: Site, tmp_path: Path, status: int) -> None:
    """The message contains the status of the response."""
    site.status = status
    assert str(status) in refused(site, tmp_path)


def test_silent_server(site: Site, tmp_path: Path) -> None:
    """A server that accepts the connection and sends nothing is an error. The timeout does not affect other sockets."""
    site.hangs = True
    assert "timed out" in refused(site, tmp_path, timeout=0.1)
    assert socket.getdefaulttimeout() is None


def test_refused_connection(tmp_path: Path, site: Site) -> None:
    """A refused connection is an error that names the address."""
    with Site() as closed:
        pass
    assert "refused" in refused(closed, tmp_path)


def test_interruption(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during a download leaves no file."""

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.src.utils.file_utils.Progbar, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(site.url, MD5, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_invalid_cache_folder(site: Site, tmp_path: Path) -> None:
    """A cache folder that cannot be created is an error that names it."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file.*; pass --data with a local copy"):
        fetch(site.url, MD5, cache=tmp_path / "file" / "cache")


def test_default_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cache is in XDG_CACHE_HOME if that is an absolute path, and otherwise in ~/.cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert download.default_cache() == tmp_path / "sentiment-conv1d"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert download.default_cache() == tmp_path / ".cache" / "sentiment-conv1d"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert download.default_cache() == tmp_path / ".cache" / "sentiment-conv1d"


def test_default_cache_without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home folder, the error names the variable to set."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(DataError, match="set XDG_CACHE_HOME"):
        download.default_cache()
