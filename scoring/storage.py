"""Reads files and writes folders, locally or in a store of fsspec (`s3://`, `gs://`, `memory://` and others).

A file appears in its folder only when it is complete.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from glob import glob, has_magic
from io import SEEK_CUR, SEEK_END, SEEK_SET, BufferedReader, RawIOBase
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from sentiment_conv1d.model.errors import SentimentError, reading, writing
from sentiment_conv1d.model.tables import READABLE, DataError, extension
from sentiment_conv1d.model.tables.files import decoded, is_compressed, open_utf8
from sentiment_conv1d.sharing.store import Store

if TYPE_CHECKING:
    from sentiment_conv1d.model.tables.parquet import ParquetTable

#: Standard input and output.
STANDARD = "-"

_TEMPORARY = ".scoring-"


class Source(NamedTuple):
    """A file to score. If two sources have equal fields, they are assumed to have the same content."""

    place: str  # a path, a URL or `STANDARD`
    extension: str  # one of `READABLE`; of a compressed file, the one before the compression's
    size: int  # bytes; 0 if it is unknown, as of standard input
    version: str = ""  # a time or a digest, which changes when the file is written


class Folder(ABC):
    """Files by name."""

    place: str

    def release(self) -> None:  # noqa: B027 - object stores have no locks
        """Let other runs write to the folder."""

    @abstractmethod
    def writing(self, name: str) -> Any:
        """Return a context manager with a binary file, which replaces `name` at the end. Raises `DataError`."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Open a file for reading."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of the files."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file."""

    def remove_all(self) -> None:
        """Remove the folder with its files."""
        for name in self.names():
            self.remove(name)

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file."""
        with self.writing(name) as file:
            file.write(content)

    def read(self, name: str) -> bytes:
        """Read a whole file."""
        with self.open(name) as file:
            return file.read()


class LocalFolder(Folder):
    """A local folder, or one that all machines of a cluster mount. It removes files that killed runs left."""

    _lock: int | None = None  # a descriptor

    def __init__(self, path: Path) -> None:
        self.place = str(path)
        self.path = path

    def create(self) -> None:
        """Create the folder if it does not exist, lock it, and remove files that killed runs left.

        Raises `DataError`, also if another run has locked it.
        """
        with writing(self.path, DataError):
            self.path.mkdir(exist_ok=True)
            self._lock = os.open(self.path, os.O_RDONLY)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(f"{self.path}: another run writes to it") from None
            except OSError:  # the file system has no locks
                pass
            for left in self.path.glob(f"{_TEMPORARY}*"):
                left.unlink(missing_ok=True)

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def writing(self, name: str) -> Any:
        return replacing(self.path / name)

    def open(self, name: str) -> BinaryIO:
        return (self.path / name).open("rb")

    def names(self) -> list[str]:
        return [entry.name for entry in self.path.iterdir()] if self.path.exists() else []

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def remove_all(self) -> None:
        super().remove_all()
        with suppress(FileNotFoundError):
            self.path.rmdir()


class RemoteFolder(Folder):
    """A folder of a store in which files appear when they are closed, such as an object store."""

    def __init__(self, place: str) -> None:
        self.place = place

    def create(self) -> None:
        """Do nothing: object stores have no folders."""

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        with (
            _store_of(self.place, "written") as (system, root),
            system.transaction,
            system.open(f"{root}/{name}", "wb") as file,
        ):
            yield file

    def open(self, name: str) -> BinaryIO:
        return _open_remote(f"{self.place}/{name}")

    def names(self) -> list[str]:
        with _store_of(self.place) as (system, root):
            if not system.exists(root):
                return []
            entries = system.ls(root, detail=True, refresh=True)
        return [str(each["name"]).rstrip("/").rsplit("/", 1)[-1] for each in entries]

    def remove(self, name: str) -> None:
        with _store_of(self.place, "written") as (system, root), suppress(FileNotFoundError):
            system.rm(f"{root}/{name}")


def folder_at(place: str) -> LocalFolder | RemoteFolder:
    """Return the folder at a path or URL."""
    return RemoteFolder(place.rstrip("/")) if is_remote(place) else LocalFolder(Path(place))


def is_remote(place: str) -> bool:
    """Return whether a place is a URL."""
    return "://" in place


def open_place(place: str) -> BinaryIO:
    """Open a file for reading by its path or URL. Raises `OSError` and `DataError`."""
    return _open_remote(place) if is_remote(place) else Path(place).open("rb")


class _Positioned(RawIOBase):
    """A file of a store, with its own position: `memory://` gives the same object to all readers.

    Stores raise their own errors, which become an `OSError`.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        if whence == SEEK_END:
            self._position = self._file.seek(offset, SEEK_END)
        else:
            self._position = offset + (self._position if whence == SEEK_CUR else 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        try:
            self._file.seek(self._position)
            content = self._file.read(len(buffer))
        except OSError:
            raise
        except Exception as error:
            raise OSError(str(error)) from error
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_remote(place: str) -> BufferedReader:
    with _store_of(place) as (system, path):
        return BufferedReader(_Positioned(system.open(path, "rb")))


def open_text_source(source: Source, encoding: str | None) -> tuple[BufferedReader, str]:
    """Open a text file or standard input as UTF-8 bytes. Returns the file and the encoding that it is decoded from.

    Raises `DataError`.
    """
    place = source.place
    with reading(place, DataError):
        if place == STANDARD:
            return decoded(place, _standard_input(), encoding)
        return open_utf8(place, encoding, _open_remote(place) if is_remote(place) else None)


def open_parquet(place: str) -> ParquetTable:
    """Open a Parquet file by its path or URL. Raises `OSError`, and `DataError` if it is not one."""
    from sentiment_conv1d.model.tables.parquet import ParquetTable

    return ParquetTable(place, open_place(place) if is_remote(place) else None)


def find_sources(places: Sequence[str]) -> list[Source]:
    """Return the files at paths, URLs, folders and patterns such as `reviews/*.parquet`, ordered by name.

    Raises `DataError` if there are none, or one cannot be read.
    """
    sources = [source for place in places for source in _find(place)]
    for source in sources:
        if source.extension not in READABLE:
            raise DataError(f"{source.place}: only these extensions can be read: {', '.join(READABLE)}")
    return sources


def check_unchanged(sources: Sequence[Source]) -> None:
    """Raise `DataError` if a local file is not the one that was found."""
    for source in sources:
        if source.place != STANDARD and not is_remote(source.place) and _local_source(Path(source.place)) != source:
            raise DataError(f"{source.place}: changed while it was scored; score it again with another output")


def contains(output: str, place: str) -> bool:
    """Return whether an output is the file at a place, or the folder of that file."""
    if place == STANDARD:
        return False
    if is_remote(output) or is_remote(place):
        urls = [each if is_remote(each) else f"file://{Path(each).absolute()}" for each in (place, output)]
        with _store_of(urls[0]) as (system, file), _store_of(urls[1]) as (other, folder):
            return bool(system == other) and folder in (file, file.rpartition("/")[0])
    path, out = Path(place), Path(output).resolve()
    return out in (path.resolve(), path.parent.resolve(), path.resolve().parent) or (
        out.exists() and out.samefile(path)
    )


def standard_output() -> BinaryIO:
    """Return standard output. Raises `DataError` if it is closed."""
    if sys.stdout is None:
        raise DataError("standard output is closed")
    return cast(BinaryIO, sys.stdout.buffer)


def _standard_input() -> BufferedReader:
    if sys.stdin is None:
        raise DataError("standard input is closed")
    return cast(BufferedReader, sys.stdin.buffer)


@contextmanager
def replacing(path: Path, check: Any = None, beside: Path | None = None) -> Iterator[BinaryIO]:
    """Open a new file in the folder `beside`, which replaces `path` after a call of `check`. Errors delete it.

    Raises `DataError` if it cannot be written.
    """
    temporary = (beside or path.parent) / f"{_TEMPORARY}{secrets.token_hex(8)}"
    try:
        with writing(path, DataError):
            file = temporary.open("xb")
        try:
            with writing(path, DataError):
                yield file
                file.flush()
                os.fsync(file.fileno())
        finally:
            # On a full disk, closing fails too and would hide the first error.
            with suppress(OSError):
                file.close()
        if check is not None:
            check()
        with writing(path, DataError):
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_free_path(path: Path, overwrite: bool) -> None:
    """Raise `DataError` if the path is a folder, or a file that may not be replaced."""
    if path.is_dir():
        raise DataError(f"{path}: is a folder")
    if path.exists() and not overwrite:
        raise DataError(f"{path}: exists already; give another output or ask to overwrite it")


def _find(place: str) -> list[Source]:
    if place == STANDARD:
        return [Source(STANDARD, ".txt", 0, secrets.token_hex(8))]
    if is_remote(place):
        return _find_remote(place)
    path = Path(place)
    if path.is_dir():
        found = [each for each in path.iterdir() if _is_scored(each)]
    elif has_magic(place) and not path.exists():
        found = list(map(Path, glob(place, recursive=True)))  # noqa: PTH207 - the pattern can be absolute
    else:
        found = [path]
    if not found:
        raise DataError(f"{place}: there is no such file")
    return [_local_source(each) for each in sorted(found)]


def _local_source(path: Path) -> Source:
    try:
        status = path.stat()
    except OSError:
        raise DataError(f"{path}: there is no such file") from None
    if not S_ISREG(status.st_mode):
        raise DataError(f"{path}: is not a file; to score what a program writes, give - and pipe it")
    return Source(str(path), extension(path), status.st_size, str(status.st_mtime_ns))


def _is_scored(path: Path) -> bool:
    """Return whether a file in a folder is scored. `.json` files are not, because most describe other files."""
    name = path.with_suffix("") if is_compressed(path) else path
    return name.suffix.lower() in READABLE and name.suffix.lower() != ".json" and path.name[0] not in "._"


def _find_remote(place: str) -> list[Source]:
    sources = []
    with _store_of(place) as (system, path):
        if has_magic(path):
            found = system.glob(path)
        elif system.isdir(path):
            found = [name for name in system.ls(path, detail=False) if _is_scored(Path(name))]
        else:
            found = [path]
        for name in sorted(map(str, found)):
            try:
                information = system.info(name)
            except FileNotFoundError:
                raise DataError(f"{place}: there is no such file") from None
            version = information.get("ETag") or information.get("mtime") or information.get("created") or ""
            place_of = str(system.unstrip_protocol(name))
            kind = extension(place_of, partial(_open_remote, place_of))
            sources.append(Source(place_of, kind, information["size"] or 0, str(version)))
    if not sources:
        raise DataError(f"{place}: there is no such file")
    return sources


@contextmanager
def _store_of(place: str, action: str = "read") -> Iterator[tuple[Any, str]]:
    """Yield the store and the path in it. Every error of the store becomes a `DataError`."""
    try:
        with Store(place).opened(action) as opened:
            yield opened
    except DataError:
        raise
    except SentimentError as error:
        raise DataError(str(error)) from error
