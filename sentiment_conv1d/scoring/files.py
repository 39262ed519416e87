"""The files of a run: which ones are scored, where the predictions go, and how an output replaces another one."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import glob, has_magic
from io import BufferedReader
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, NamedTuple, cast

from sentiment_conv1d.artifact.errors import writing
from sentiment_conv1d.commands.running import result_output
from sentiment_conv1d.tables import READABLE, DataError, Fault, Format, Table, extension, open_table
from sentiment_conv1d.tables.files import OTHER_COMPRESSIONS, decoded, is_compressed
from sentiment_conv1d.tables.text import open_text

#: Standard input and output.
STANDARD = "-"

#: The extensions of files that can be written.
WRITABLE = (".jsonl", ".csv", ".parquet")


class Source(NamedTuple):
    """A file to score, or standard input."""

    location: str  # a path or `STANDARD`
    extension: str  # one of `READABLE`; of a compressed file, the one before the compression's
    size: int = 0  # bytes; of standard input 0
    modified: int = 0  # nanoseconds since 1970; of standard input 0

    @classmethod
    def at(cls, path: Path) -> Source:
        """Return the file at a path. Raises `DataError` if it is not a file, or has another extension."""
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(f"{path}: there is no such file") from None
        if not S_ISREG(status.st_mode):
            raise DataError(f"{path}: is not a file; to score what a program writes, give - and pipe it")
        kind = extension(path)
        if kind not in READABLE:
            raise DataError(f"{path}: only these extensions can be read: {', '.join(READABLE)}")
        return cls(str(path), kind, status.st_size, status.st_mtime_ns)

    def open(self, form: Format, faults: list[Fault] | None) -> Table:
        """Open the file as `open_table` does."""
        if self.location != STANDARD:
            return open_table(Path(self.location), form, faults)
        if sys.stdin is None:
            raise DataError("standard input is closed")
        file, encoding = decoded(STANDARD, cast(BufferedReader, sys.stdin.buffer), form.encoding)
        table = open_text(STANDARD, file, self.extension, None, encoding, form.delimiter)
        table.faults = faults
        return table

    def check_unchanged(self) -> None:
        """Raise `DataError` if the file is not the one that was found."""
        if self.location != STANDARD and Source.at(Path(self.location)) != self:
            raise DataError(f"{self.location}: changed while it was scored; score it again")


class Output(NamedTuple):
    """Where the predictions of a file go."""

    location: str  # a path or `STANDARD`

    @property
    def extension(self) -> str:
        """The format: one of `WRITABLE`."""
        return ".jsonl" if self.location == STANDARD else Path(self.location).suffix.lower()

    @property
    def manifest(self) -> Path:
        """The path of the manifest, for example `reviews.predictions.manifest.json`."""
        return Path(self.location).with_suffix(".manifest.json")

    @property
    def errors(self) -> Path:
        """The path of the file of the rows that cannot be scored."""
        return Path(self.location).with_suffix(".errors.jsonl")

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that a run writes."""
        return () if self.location == STANDARD else (Path(self.location), self.manifest, self.errors)

    def check(self, source: Source, overwrite: bool) -> None:
        """Raise `DataError` if a file would replace the input, or one that may not be replaced."""
        for path in self.paths:
            if path.exists() and source.location != STANDARD and path.samefile(source.location):
                raise DataError(f"{path}: the output would replace the input")
            check_free_path(path, overwrite)

    def is_newer(self, source: Source) -> bool:
        """Return whether the output exists, and was written after the last change of the input."""
        path = Path(self.location)
        return self.location != STANDARD and path.is_file() and path.stat().st_mtime_ns > source.modified

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open standard output, or a new file, which replaces the output at the end. Raises `DataError`."""
        if self.location != STANDARD:
            with replacing(Path(self.location)) as file:
                yield file
        elif sys.stdout is None:
            raise DataError("standard output is closed")
        else:
            with result_output() as file:
                yield file


def find_sources(locations: Sequence[str]) -> list[Source]:
    """Return the files at paths, folders and patterns such as `reviews/*.parquet`, ordered by name.

    Raises `DataError` if there are none, or one cannot be read.
    """
    return [Source.at(path) for location in locations for path in _find(location)]


def default_output(source: Path) -> Path:
    """Return the default output for a file: next to it, in its format if that can be written, else JSONL."""
    kind = extension(source)
    name = source.with_suffix("") if is_compressed(source) and source.with_suffix("").suffix else source
    return source.with_name(f"{name.stem}.predictions{kind if kind in WRITABLE else '.jsonl'}")


def check_local(location: str) -> None:
    """Raise `DataError` if a location is a URL."""
    if "://" in location:
        raise DataError(f"{location}: predict reads and writes local files; copy it, or pipe it to and from predict -")


def check_free_path(path: Path, overwrite: bool) -> None:
    """Raise `DataError` if the path is a folder, or a file that may not be replaced."""
    if path.is_dir():
        raise DataError(f"{path}: is a folder")
    if path.exists() and not overwrite:
        raise DataError(f"{path}: exists already: choose another --out, or add --overwrite")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file beside `path`, which replaces it at the end. Errors delete it.

    Raises `DataError` if it cannot be written.
    """
    temporary = path.with_name(f".scoring-{secrets.token_hex(8)}")
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
        with writing(path, DataError):
            temporary.replace(path)
    finally:
        # On a read-only file system, this fails too and would hide the first error, which names the path of the user.
        with suppress(OSError):
            temporary.unlink()


def _find(location: str) -> list[Path]:
    check_local(location)
    path = Path(location)
    if path.is_dir():
        found = [each for each in path.iterdir() if _is_scored(each)]
    elif has_magic(location) and not path.exists():
        found = list(map(Path, glob(location, recursive=True)))  # noqa: PTH207 - the pattern can be absolute
    else:
        found = [path]
    if not found:
        raise DataError(f"{location}: there is no such file")
    return sorted(found)


def _is_scored(path: Path) -> bool:
    """Return whether a file in a folder is scored. `.json` files are not, because most describe other files."""
    name = Path(path.stem) if path.suffix.lower() in (".gz", *OTHER_COMPRESSIONS) else path
    return name.suffix.lower() in READABLE and name.suffix.lower() != ".json" and path.name[0] not in "._"
