"""The Large Movie Review Dataset from the site of its authors, into a cache that later runs reuse."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Never
from urllib.parse import urlsplit

from tqdm import tqdm

from sentiment_conv1d.model.errors import SentimentError

#: 84,125,825 bytes; Maas et al., "Learning Word Vectors for Sentiment Analysis" (ACL 2011).
ACL_IMDB_URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
ACL_IMDB_MD5 = "7c2ac02c03563afcf9b574c7e56c153a"

_CHUNK = 1 << 18
_LOCAL_COPY = "pass --data with a local copy"
_LATER = f"try again later (what has arrived is kept), or {_LOCAL_COPY}"


class DownloadError(SentimentError):
    """A file that could not be fetched; the message says why, and what to do."""


class _Interrupted(Exception):
    """A try that failed in a way the next try may not."""


def fetch(
    url: str = ACL_IMDB_URL,
    md5: str = ACL_IMDB_MD5,
    *,
    cache: Path | None = None,
    progress: bool = True,
    timeout: float = 30.0,
    tries: int = 5,
    pause: float = 1.0,
) -> Path:
    """The path of the file with this MD5, downloaded unless the cache has it.

    `timeout` is how many seconds the server may stay silent; `tries` is how often a broken connection is made at most,
    each time resuming where the last one ended, `pause` seconds later than the time before. A download that is
    interrupted is resumed by the next call. Processes that fetch the same file wait for each other.
    Raises `DownloadError`.
    """
    folder = cache if cache is not None else default_cache()
    target = folder / _file_name(url)
    try:
        if _has_md5(target, md5):
            return target
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_name(f"{target.name}.lock")):
            # Another process may have fetched it while this one waited.
            if not _has_md5(target, md5):
                part = target.with_name(f"{target.name}.part")
                _fetch_verified(_Server(url, timeout, progress), part, md5, tries, pause)
                part.replace(target)
    except OSError as error:
        raise DownloadError(f"{error.filename or target}: {error.strerror or error}; {_LOCAL_COPY}") from error
    return target


def default_cache() -> Path:
    """Where downloads are kept: the folder `sentiment-conv1d` of the user's cache."""
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification has relative paths ignored.
    try:
        base = configured if configured.is_absolute() else Path.home() / ".cache"
    except RuntimeError as error:
        raise DownloadError(f"no folder for downloads ({error}); set XDG_CACHE_HOME, or {_LOCAL_COPY}") from None
    return base / "sentiment-conv1d"


def _file_name(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise DownloadError(f"{url}: not a URL ({error})") from None
    name = parts.path.rpartition("/")[2]
    if parts.scheme not in ("http", "https") or name in ("", ".", ".."):
        raise DownloadError(f"{url}: not the http or https address of a file")
    return name


def _has_md5(path: Path, md5: str) -> bool:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    except FileNotFoundError:
        return False
    return digest.hexdigest() == md5.lower()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a download. The file stays: who removed it could take it from under one who waits."""
    with path.open("w") as file:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch_verified(server: _Server, part: Path, md5: str, tries: int, pause: float) -> None:
    """Complete `part`; if its halves do not fit together, or the content is wrong, once more from the start."""
    if _has_md5(part, md5):  # only the renaming is left to do
        return
    for _ in range(2):
        _complete(server, part, tries, pause)
        if _has_md5(part, md5):
            return
        part.unlink()
    raise DownloadError(f"{server.url}: the MD5 of what the server sends is not {md5}; {_LOCAL_COPY}")


def _complete(server: _Server, part: Path, tries: int, pause: float) -> None:
    for number in range(1, tries + 1):
        try:
            return server.send_rest(part)
        except _Interrupted as interruption:
            if number == tries:
                raise DownloadError(f"{server.url}: {interruption}, after {tries} tries; {_LATER}") from interruption
        time.sleep(pause * number)


class _Server:
    """Where a file is downloaded from."""

    def __init__(self, url: str, timeout: float, progress: bool) -> None:
        self.url = url
        self._timeout = timeout
        self._progress = progress

    def send_rest(self, part: Path) -> None:
        """One request for what `part` lacks, appended to it; all of the file if the server cannot resume.

        Raises `_Interrupted` if another request may get further.
        """
        have = part.stat().st_size if part.exists() else 0
        with closing(self._request(part, have)) as response:
            resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
            if resumed and _first_byte(response) != have:
                part.unlink(missing_ok=True)
                raise _Interrupted("the server sent another part than the one asked for")
            offset = have if resumed else 0
            missing = response.length  # None if the server does not say
            received = 0
            with part.open("ab" if resumed else "wb") as file, self._bar(part, offset, missing) as bar:
                for chunk in _chunks(response):
                    file.write(chunk)
                    received += len(chunk)
                    bar.update(len(chunk))
                file.flush()
                os.fsync(file.fileno())
        if missing is not None and received < missing:
            raise _Interrupted(f"the connection broke off with {missing - received:,} bytes to go")

    def _request(self, part: Path, have: int) -> http.client.HTTPResponse:
        headers = {"User-Agent": "sentiment-conv1d", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        request = urllib.request.Request(self.url, headers=headers)  # noqa: S310 - http or https, see _file_name
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=self._timeout)  # noqa: S310
        except urllib.error.HTTPError as error:
            with error:
                if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    part.unlink(missing_ok=True)  # it is as long as the file, or longer, and not the file
                elif error.code < 500:
                    raise DownloadError(
                        f"{self.url}: the server answered {error.code} {error.reason}; {_LOCAL_COPY}"
                    ) from None
                raise _Interrupted(f"the server answered {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            raise _Interrupted(f"no connection ({_reason(error)})") from error
        return response

    def _bar(self, part: Path, offset: int, missing: int | None) -> tqdm[Never]:
        return tqdm(
            desc=f"downloading {part.stem}",
            initial=offset,
            total=None if missing is None else offset + missing,
            unit="B",
            unit_scale=True,
            disable=None if self._progress else True,
        )


def _first_byte(response: http.client.HTTPResponse) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    # Only reading is watched here: a disk that is full must not look like a network that fails.
    while True:
        try:
            chunk = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Interrupted(f"the connection broke off ({_reason(error)})") from error
        if not chunk:
            return
        yield chunk


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(cause) or type(cause).__name__
