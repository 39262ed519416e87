"""Download the Large Movie Review Dataset from its authors' site into a cache that later runs reuse."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import keras

from sentiment_conv1d.tables import DataError

#: 84,125,825 bytes; Maas et al., "Learning Word Vectors for Sentiment Analysis" (ACL 2011).
ACL_IMDB_URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
ACL_IMDB_MD5 = "7c2ac02c03563afcf9b574c7e56c153a"

_LOCAL_COPY = "pass --data with a local copy"


def fetch(
    url: str = ACL_IMDB_URL, md5: str = ACL_IMDB_MD5, *, cache: Path | None = None, timeout: float = 30.0
) -> Path:
    """Return the path of a file, downloaded unless the cache contains it with this MD5. A terminal shows the progress.

    `timeout` is the number of seconds to wait for data. Raises `DataError` and leaves no incomplete file behind.
    """
    folder = default_cache() if cache is None else cache
    target = folder / url.rpartition("/")[2]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _socket_timeout(timeout), _quiet_without_terminal():
            keras.utils.get_file(
                target.name, url, file_hash=md5, hash_algorithm="md5", cache_dir=folder, cache_subdir=""
            )
    except Exception as error:
        # Keras raises ValueError for a wrong digest, and Exception for an error response of the server.
        with suppress(OSError):
            target.unlink()
        raise DataError(f"{url}: {error}; {_LOCAL_COPY}") from error
    return target


def default_cache() -> Path:
    """Return the folder for downloads: `sentiment-conv1d` in the user's cache. Raises `DataError`."""
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification says to ignore relative paths.
    try:
        base = configured if configured.is_absolute() else Path.home() / ".cache"
    except RuntimeError as error:
        raise DataError(f"no folder for downloads ({error}); set XDG_CACHE_HOME, or {_LOCAL_COPY}") from None
    return base / "sentiment-conv1d"


@contextmanager
def _quiet_without_terminal() -> Iterator[None]:
    """Keep Keras from drawing a progress bar into a file, where each of its states would be a line."""
    if sys.stdout is not None and sys.stdout.isatty() and sys.stderr.isatty():
        yield
        return
    keras.config.disable_interactive_logging()
    try:
        yield
    finally:
        keras.config.enable_interactive_logging()


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Set the default timeout of sockets, which urllib uses because Keras passes none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
