"""What `model.data.download` does with servers that behave, and with servers that do not."""

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
from sentiment_conv1d.model.data.download import DownloadError, fetch

CONTENT = random.Random(7).randbytes(300_000)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Site(ThreadingHTTPServer):
    """One file on a server whose manners a test sets."""

    daemon_threads = False  # closing waits for the handlers

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.says_length = True
        self.breaks = False  # the answer ends half-way
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
    """The message of the error that a download ends with; no file may be left."""
    with pytest.raises(DownloadError) as caught:
        fetch(site.url, MD5, cache=cache, timeout=timeout)
    assert list(cache.iterdir()) == []
    message = str(caught.value)
    # Keras leaves the connection of an answer that it does not read to the garbage collector.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del caught
        gc.collect()
    assert message.startswith(site.url) and message.endswith("pass --data with a local copy")
    return message


@pytest.mark.parametrize("says_length", [True, False])
def test_download_arrives_whole(site: Site, tmp_path: Path, says_length: bool) -> None:
    """The file arrives under its own name, in a cache folder made for it, whether or not its length is known."""
    site.says_length = says_length
    path = fetch(site.url, MD5, cache=tmp_path / "new" / "cache")
    assert path == tmp_path / "new" / "cache" / "reviews.tar.gz"
    assert path.read_bytes() == CONTENT


def test_cached_file_needs_no_network(site: Site, tmp_path: Path) -> None:
    """A finished file is used again without a request."""
    first = fetch(site.url, MD5, cache=tmp_path)
    assert (fetch(site.url, MD5, cache=tmp_path), site.requests) == (first, 1)


def test_corrupt_cached_file_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    """A cached file that has changed, or was never complete, is replaced."""
    (tmp_path / "reviews.tar.gz").write_bytes(CONTENT[:-1] + b"?")
    assert fetch(site.url, MD5, cache=tmp_path).read_bytes() == CONTENT
    assert site.requests == 1


def test_corrupt_content_is_an_error(site: Site, tmp_path: Path) -> None:
    """Content with another digest is an error and is not kept."""
    site.content = CONTENT[:-1] + b"?"
    assert "corrupted file" in refused(site, tmp_path)


def test_connection_that_breaks_is_an_error(site: Site, tmp_path: Path) -> None:
    """Half a file is not kept."""
    site.breaks = True
    assert "retrieval incomplete" in refused(site, tmp_path)


@pytest.mark.parametrize("status", [404, 503])
def test_status_is_in_the_message(site: Site, tmp_path: Path, status: int) -> None:
    """The message has what the server answered."""
    site.status = status
    assert str(status) in refused(site, tmp_path)


def test_silent_server_times_out(site: Site, tmp_path: Path) -> None:
    """A server that accepts the connection and says nothing ends in an error; other sockets keep their timeout."""
    site.hangs = True
    assert "timed out" in refused(site, tmp_path, timeout=0.1)
    assert socket.getdefaulttimeout() is None


def test_no_server_is_an_error(tmp_path: Path, site: Site) -> None:
    """A refused connection ends in an error that names the address."""
    with Site() as closed:
        pass
    assert "refused" in refused(closed, tmp_path)


def test_interruption_leaves_nothing(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle leaves no file."""

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.src.utils.file_utils.Progbar, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(site.url, MD5, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_is_an_error(site: Site, tmp_path: Path) -> None:
    """A cache that cannot exist is an error that names it."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match=r"file.*; pass --data with a local copy"):
        fetch(site.url, MD5, cache=tmp_path / "file" / "cache")


def test_default_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_CACHE_HOME counts if it is absolute, else ~/.cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert download.default_cache() == tmp_path / "sentiment-conv1d"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert download.default_cache() == tmp_path / ".cache" / "sentiment-conv1d"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert download.default_cache() == tmp_path / ".cache" / "sentiment-conv1d"


def test_default_cache_needs_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home folder is told which variable helps."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(DownloadError, match="set XDG_CACHE_HOME"):
        download.default_cache()
