"""A model repository in a store of fsspec: an object store, a web server or a hub."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from io import BytesIO
from shutil import copyfileobj
from typing import Any

from sentiment_conv1d.artifact.artifact import is_version
from sentiment_conv1d.artifact.configuration import is_name
from sentiment_conv1d.artifact.errors import SentimentError, TransientError
from sentiment_conv1d.artifact.manifest import FILES
from sentiment_conv1d.commands.installation import install_hint

_PASSWORD = re.compile(r"(?<=//)[^/@\s]*:[^/@\s]*@")

#: The errors of file systems that do not pass by themselves. A `ValueError` is about a part of the URL, and a store
#: that takes no files raises `NotImplementedError`.
_PERMANENT = (
    *(FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError),
    *(ValueError, NotImplementedError),
)

#: What pyarrow and ctypes say about a native library, such as that of HDFS, which is not installed.
_NO_LIBRARY = re.compile("to load lib|cannot open shared object file")

#: The statuses of web servers that do not accept the credentials.
_REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

#: What stores call the properties of a file that change when it is written.
_PROPERTIES = (
    *("size", "ETag", "etag", "generation", "md5Hash", "blob_id", "Content-MD5"),
    *("Last-Modified", "LastModified", "last_modified", "mtime", "created"),
)


class StoreError(SentimentError):
    """The store cannot be read or written. The message names its URL. `reason` is why, in one word for metrics."""

    reason = "refused"


class StoreUnreachable(StoreError, TransientError):
    """The store does not answer, or fails. That can pass by itself, unlike a wrong URL or wrong credentials."""

    reason = "unreachable"


class UnknownStore(SentimentError):
    """The store is of an unknown kind, or needs a package or a library that is not installed."""


class Store:
    """The versions in a store, which can change while they are read.

    Every method raises `UnknownStore`, and `StoreError` if the store cannot be read.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self.name = _PASSWORD.sub("", self._url)  # for messages

    def versions(self) -> dict[str, set[int]]:
        """Return the versions of every model. It is an error if there are none."""
        with self.opened() as (system, root):
            system.invalidate_cache()
            found = {name: versions_in(system, f"{root}/{name}") for name in filter(is_name, _folders(system, root))}
        found = {name: versions for name, versions in found.items() if versions}
        if not found:
            raise StoreError(
                f"{self.name} contains no model (a model is a folder <name>/<version>/ with a manifest.json)"
            )
        return found

    def fingerprint(self, name: str, version: int) -> str:
        """Return a string that changes when a file of the version is written, added or removed."""
        found = []
        with self.opened() as (system, root):
            for file in FILES:
                with suppress(FileNotFoundError):
                    properties = system.info(f"{root}/{name}/{version}/{file}")
                    found.append((file, *(str(properties.get(each)) for each in _PROPERTIES)))
        return hashlib.sha256(json.dumps(found).encode()).hexdigest()

    def load_library(self) -> None:
        """Import the library of the store, so that processes which are forked later need not. It starts no thread.

        A library that cannot be imported is an error when the store is read.
        """
        with suppress(ImportError, ValueError):
            from fsspec.core import split_protocol
            from fsspec.registry import get_filesystem_class

            get_filesystem_class(split_protocol(self._url)[0])

    @contextmanager
    def opened(self, action: str = "read") -> Iterator[tuple[Any, str]]:
        """Yield the file system of the store and the path in it. Errors of the store become a `StoreError`.

        `action` is what the caller does to the store, for the message.
        """
        try:
            yield self._open()
        except SentimentError:
            raise
        except Exception as error:  # stores raise their own errors, not only `OSError`
            reason = " ".join(_PASSWORD.sub("", str(error)).split()) or type(error).__name__
            refused = isinstance(error, _PERMANENT) or _status(error) in _REFUSALS
            kind = StoreError if refused else StoreUnreachable
            raise kind(f"{self.name}: cannot be {action} ({reason})") from error

    def _open(self) -> tuple[Any, str]:
        if "://" not in self._url:  # fsspec would take it for a path of the working directory
            raise StoreError(f"{self.name}//: the URL names no bucket, host or folder")
        try:
            from fsspec.core import url_to_fs

            system, path = url_to_fs(self._url)
        except ImportError as error:
            raise UnknownStore(
                f"{self.name}: needs a package that is not installed ({error}); for S3, Google Cloud Storage, "
                f"Hugging Face and HTTP, {install_hint('remote')}"
            ) from error
        except OSError as error:
            if not _NO_LIBRARY.search(str(error)):
                raise
            raise UnknownStore(f"{self.name}: needs a library that is not installed ({error})") from error
        except (ValueError, TypeError) as error:  # TypeError: the URL lacks a part that the file system needs
            raise UnknownStore(f"{self.name}: {error}") from error
        return system, str(path).rstrip("/")


def versions_in(system: Any, path: str) -> set[int]:
    """Return the versions in the folder of a model in a store."""
    return set(map(int, filter(is_version, _folders(system, path))))


def read_file(system: Any, path: str) -> bytes | None:
    """Return the content of a file in a store, or None if it does not exist."""
    try:
        content: bytes = system.cat_file(path)
    except FileNotFoundError:
        return None
    return content


def read_at_most(system: Any, path: str, most: int) -> bytes | None:
    """Return the content of a file in a store, or its first `most + 1` bytes, or None if it does not exist."""
    content = _Beginning(most + 1)
    try:
        if "://" in path:  # `open` leaves a connection to a web server open if the file does not exist
            system.get_file(path, content)
        else:
            with system.open(path, "rb") as file:
                copyfileobj(file, content)
    except FileNotFoundError:
        return None
    except _Complete:
        pass
    return content.getvalue()


class _Complete(Exception):
    """The beginning of a file has all of its bytes."""


class _Beginning(BytesIO):
    """Takes the first bytes of a file. Raises `_Complete` when it has them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def write(self, content: Any) -> int:
        written = super().write(memoryview(content)[: self._size - self.tell()])
        if self.tell() == self._size:
            raise _Complete
        return written


def _status(error: Exception) -> int:
    """Return the HTTP status in an error of aiohttp, or of an HTTP client like httpx, or 0."""
    return getattr(error, "status", 0) or getattr(getattr(error, "response", None), "status_code", 0)


def _folders(system: Any, path: str) -> list[str]:
    """Return the names of the folders in a folder of a file system."""
    # The links of a web page are relative to a URL that ends with a slash. Pages also link to other places.
    entries = system.ls(f"{path}/" if "://" in path else path, detail=True)
    found = [str(entry["name"]).strip("/").rpartition("/") for entry in entries if entry["type"] == "directory"]
    return sorted(name for parent, _, name in found if parent == path.strip("/"))
