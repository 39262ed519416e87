"""What `model.download` does with servers that behave, and with servers that do not."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tqdm import tqdm

from sentiment_conv1d.model import download
from sentiment_conv1d.model.download import DownloadError, fetch

CONTENT = random.Random(7).randbytes(300_000)
OTHER_CONTENT = random.Random(8).randbytes(300_000)
HALF = len(CONTENT) // 2


def md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Site(ThreadingHTTPServer):
    """One file on a server whose manners a test sets."""

    daemon_threads = False  # closing waits for the handlers

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.honours_range = True
        self.resumes_at_start = False
        self.says_length = True
        self.breaks = 0  # so many answers end half-way
        self.statuses: list[int] = []  # answered to the next requests, one each
        self.hangs = False
        self.stalls = 0  # so many answers fall silent half-way
        self.closing = threading.Event()
        self.ranges: list[str | None] = []  # the Range header of each request
        self.on_request: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/reviews/reviews.tar.gz"


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        site = self.server
        asked = self.headers["Range"]
        site.ranges.append(asked)
        site.on_request()
        if site.hangs:
            site.closing.wait()
            return
        if site.statuses:
            return self.send_error(site.statuses.pop(0))
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and site.honours_range else 0
        if first >= len(site.content):
            return self.send_error(416)
        self.send_file(0 if site.resumes_at_start else first, partial=bool(asked) and site.honours_range)

    def send_file(self, first: int, partial: bool) -> None:
        body = self.server.content[first:]
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header(
                "Content-Range", f"bytes {first}-{len(self.server.content) - 1}/{len(self.server.content)}"
            )
        if self.server.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            body = body[: len(body) // 2]
        if self.server.stalls:
            self.server.stalls -= 1
            self.wfile.write(body[: len(body) // 2])
            self.server.closing.wait()
            return
        self.wfile.write(body)

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


def get(site: Site, cache: Path, *, content: bytes = CONTENT, timeout: float = 30, tries: int = 4) -> Path:
    return fetch(site.url, md5_of(content), cache=cache, progress=False, timeout=timeout, tries=tries, pause=0)


def part_in(cache: Path) -> Path:
    return cache / "reviews.tar.gz.part"


def test_download_arrives_whole(site: Site, tmp_path: Path) -> None:
    """The file arrives under its own name, in a cache folder made for it, and nothing half-done stays."""
    path = get(site, tmp_path / "new" / "cache")
    assert path == tmp_path / "new" / "cache" / "reviews.tar.gz"
    assert path.read_bytes() == CONTENT
    assert site.ranges == [None]
    assert not part_in(path.parent).exists()


def test_length_may_be_unknown(site: Site, tmp_path: Path) -> None:
    """A server that does not say how long the file is can be downloaded from."""
    site.says_length = False
    assert get(site, tmp_path).read_bytes() == CONTENT


def test_progress_is_shown_on_a_terminal_only(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Asking for progress leaves the log of a program without a terminal alone."""
    fetch(site.url, md5_of(CONTENT), cache=tmp_path)
    assert capsys.readouterr() == ("", "")


def test_cached_file_needs_no_network(site: Site, tmp_path: Path) -> None:
    """A finished file is used again without a request, whatever case its MD5 is written in."""
    first = get(site, tmp_path)
    second = fetch(site.url, md5_of(CONTENT).upper(), cache=tmp_path, progress=False)
    assert (second, len(site.ranges)) == (first, 1)


def test_corrupt_cached_file_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    """A cached file that has changed since is replaced."""
    (tmp_path / "reviews.tar.gz").write_bytes(CONTENT[:-1] + b"?")
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert site.ranges == [None]


def test_part_is_resumed(site: Site, tmp_path: Path) -> None:
    """What an earlier run left is kept, and only the rest is asked for."""
    part_in(tmp_path).write_bytes(CONTENT[:HALF])
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert site.ranges == [f"bytes={HALF}-"]


def test_complete_part_is_only_renamed(site: Site, tmp_path: Path) -> None:
    """A run that ended between the last byte and the renaming costs no second download."""
    part_in(tmp_path).write_bytes(CONTENT)
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert site.ranges == []


def test_server_without_ranges_restarts(site: Site, tmp_path: Path) -> None:
    """A server that answers with the whole file overwrites the part instead of lengthening it."""
    site.honours_range = False
    part_in(tmp_path).write_bytes(OTHER_CONTENT[:HALF])
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert len(site.ranges) == 1


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 1])
def test_part_that_is_too_long_restarts(site: Site, tmp_path: Path, length: int) -> None:
    """A part with nothing left to ask for (416) that is not the file is thrown away."""
    part_in(tmp_path).write_bytes(b"?" * length)
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert site.ranges == [f"bytes={length}-", None]


def test_wrong_range_restarts(site: Site, tmp_path: Path) -> None:
    """A server that sends another range than the one asked for does not get it appended."""
    site.resumes_at_start = True
    part_in(tmp_path).write_bytes(CONTENT[:HALF])
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert site.ranges == [f"bytes={HALF}-", None]


def test_halves_of_two_files_restart(site: Site, tmp_path: Path) -> None:
    """A file that changed between the halves fails its checksum, and is downloaded once more from the start."""
    part_in(tmp_path).write_bytes(OTHER_CONTENT[:HALF])
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert site.ranges == [f"bytes={HALF}-", None]


def test_corrupt_content_is_an_error(site: Site, tmp_path: Path) -> None:
    """Content that is wrong twice is an error that leaves no file behind to be used by mistake."""
    with pytest.raises(DownloadError, match=r"MD5.*pass --data with a local copy"):
        get(site, tmp_path, content=OTHER_CONTENT)
    assert site.ranges == [None, None]
    assert [path.name for path in tmp_path.iterdir()] == ["reviews.tar.gz.lock"]


def test_connection_that_breaks_once_is_resumed(site: Site, tmp_path: Path) -> None:
    """After a broken connection the next request asks for the missing half only."""
    site.breaks = 1
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert site.ranges == [None, f"bytes={HALF}-"]


def test_connection_that_always_breaks_is_an_error(site: Site, tmp_path: Path) -> None:
    """After the last try the error says what to do, and what has arrived waits for the next run."""
    site.breaks = 3
    with pytest.raises(DownloadError, match=r"broke off .* after 3 tries; .*pass --data with a local copy"):
        get(site, tmp_path, tries=3)
    assert part_in(tmp_path).read_bytes() == CONTENT[: HALF + HALF // 2 + HALF // 4]
    assert get(site, tmp_path).read_bytes() == CONTENT


def test_missing_file_is_an_error_at_once(site: Site, tmp_path: Path) -> None:
    """404 is not tried again."""
    site.statuses = [404]
    with pytest.raises(DownloadError, match=r"reviews\.tar\.gz: the server answered 404 Not Found; pass --data"):
        get(site, tmp_path)
    assert len(site.ranges) == 1


def test_server_in_trouble_is_tried_again(site: Site, tmp_path: Path) -> None:
    """5xx may pass, so it is tried again."""
    site.statuses = [503, 500]
    assert get(site, tmp_path).read_bytes() == CONTENT


def test_silent_server_times_out(site: Site, tmp_path: Path) -> None:
    """A server that accepts the connection and says nothing ends in an error."""
    site.hangs = True
    with pytest.raises(DownloadError, match=r"timed out\), after 2 tries"):
        get(site, tmp_path, timeout=0.1, tries=2)


def test_answer_that_falls_silent_is_resumed(site: Site, tmp_path: Path) -> None:
    """A server that stops half-way without closing the connection is asked for the rest on another one."""
    site.stalls = 1
    assert get(site, tmp_path, timeout=0.5).read_bytes() == CONTENT
    assert site.ranges == [None, f"bytes={HALF}-"]


def test_no_server_is_an_error(site: Site, tmp_path: Path) -> None:
    """A refused connection ends in an error that names the address."""
    with Site() as closed:
        url = closed.url
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1.*no connection \(.*refused.*\), after 2 tries"):
        fetch(url, md5_of(CONTENT), cache=tmp_path, progress=False, tries=2, pause=0)


def test_interruption_leaves_the_part(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C loses nothing: the next run goes on from there."""

    class InterruptingBar(tqdm):  # type: ignore[type-arg]
        def update(self, n: float | None = 1) -> None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(download, "tqdm", InterruptingBar)
        get(site, tmp_path)
    arrived = part_in(tmp_path).read_bytes()
    assert arrived
    assert CONTENT.startswith(arrived)
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert site.ranges == [None, f"bytes={len(arrived)}-"]


def test_lock_is_held_while_downloading(site: Site, tmp_path: Path) -> None:
    """While one process downloads, another cannot take the lock."""
    fcntl = pytest.importorskip("fcntl")
    seen: list[bool] = []

    def try_lock() -> None:
        with (tmp_path / "reviews.tar.gz.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                seen.append(True)

    site.on_request = try_lock
    get(site, tmp_path)
    assert seen == [True]


def test_two_processes_download_once(site: Site, tmp_path: Path) -> None:
    """Two processes that start together get the same good file out of one download."""
    program = (
        "import sys; from pathlib import Path; from sentiment_conv1d.model.download import fetch; "
        "print(fetch(sys.argv[1], sys.argv[2], cache=Path(sys.argv[3]), progress=False))"
    )
    command = [sys.executable, "-c", program, site.url, md5_of(CONTENT), str(tmp_path)]
    root = Path(__file__).parents[2]
    processes = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert answers == [str(tmp_path / "reviews.tar.gz")] * 2
    assert Path(answers[0]).read_bytes() == CONTENT
    assert site.ranges == [None]


def test_folder_that_cannot_be_made_is_an_error(site: Site, tmp_path: Path) -> None:
    """A cache that cannot exist is an error that names it."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match=r"file.*; pass --data with a local copy"):
        get(site, tmp_path / "file" / "cache")


def test_full_disk_is_an_error_at_once(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is not taken for a broken connection."""

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(DownloadError, match=r"reviews\.tar\.gz: No space left"):
        get(site, tmp_path)
    assert len(site.ranges) == 1


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/hostname",
        "ftp://127.0.0.1/a.tar.gz",
        "http://127.0.0.1/",
        "http://127.0.0.1/a/..",
        "a",
        "http://[/a",
    ],
)
def test_address_must_be_that_of_a_file_on_the_web(url: str, tmp_path: Path) -> None:
    """Only http and https, and only addresses that end in a file name."""
    with pytest.raises(DownloadError, match="not "):
        fetch(url, md5_of(CONTENT), cache=tmp_path, progress=False)


def test_default_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_CACHE_HOME counts where it is absolute, else ~/.cache."""
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
