"""Open a file as a stream of UTF-8 bytes: decompress it, and decode it from its encoding.

The extension decides the compression: `.gz`, `.bz2`, `.xz`, or `.zip` with a single file in it. The encoding is the
given one, otherwise that of a byte order mark (UTF-8, UTF-16 or UTF-32), and otherwise UTF-8.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any, BinaryIO, cast

from sentiment_conv1d.model.tables.faults import DataError

#: The errors that reading a damaged file raises.
READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, UnicodeDecodeError)

#: Byte order marks. The UTF-32 marks come first, because the UTF-32 (LE) mark starts with the UTF-16 (LE) mark.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def extension(place: Path | str, open_file: Callable[[], BinaryIO] | None = None) -> str:
    """Return the extension of a file's content in lower case, for example `.csv` for `reviews.csv.gz`.

    `open_file` opens the file if the place is not a local path. Raises `DataError` if a zip archive does not contain
    exactly one file, and `OSError`.
    """
    path = Path(place)
    compression = path.suffix.lower()
    if compression not in _DECOMPRESSORS:
        return compression
    if compression == ".zip" and not PurePath(path.stem).suffix:
        file = path if open_file is None else open_file()
        return PurePath(_only_member(place, file)[1]).suffix.lower()
    return PurePath(path.stem).suffix.lower()


def is_compressed(path: Path) -> bool:
    """Return whether a file is compressed, by its extension."""
    return path.suffix.lower() in _DECOMPRESSORS


def open_utf8(
    place: Path | str, encoding: str | None, file: io.BufferedReader | None = None
) -> tuple[io.BufferedReader, str]:
    """Open a file as UTF-8 bytes; returns the name of its encoding too.

    `file` is the open file if the place is not a local path. A byte that is invalid in the encoding is passed on
    unchanged, so its line is not valid UTF-8. Raises `DataError` for an unknown encoding or a damaged archive, and
    `OSError`.
    """
    path = Path(place)
    decompress = _DECOMPRESSORS.get(path.suffix.lower())
    if decompress is None:
        return decoded(place, file or path.open("rb"), encoding)
    # Decompressors have all methods of a buffered file.
    return decoded(place, cast(io.BufferedReader, decompress(place, file or path)), encoding)


def decoded(source: Path | str, file: io.BufferedReader, encoding: str | None) -> tuple[io.BufferedReader, str]:
    """Return a file's content like `open_utf8`. Closing it closes the file, and so does an error."""
    try:
        found = encoding or _marked(source, file)
        if _is_utf8(found):
            return file, "UTF-8"
        return io.BufferedReader(_Recoder(file, found)), found
    except BaseException:
        file.close()
        raise


def _marked(source: Path | str, file: io.BufferedReader) -> str:
    try:
        first = file.peek(4)[:4]
    except READ_ERRORS as error:
        raise DataError(f"{source}: cannot be read ({error})") from error
    return next((encoding for mark, encoding in _MARKS if first.startswith(mark)), "utf-8")


def _is_utf8(encoding: str) -> bool:
    try:
        "".encode(encoding)
    except (LookupError, UnicodeError) as error:
        raise DataError(f"there is no encoding {encoding!r}") from error
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


class _Recoder(io.RawIOBase):
    """The content of a file in UTF-8."""

    def __init__(self, file: io.BufferedReader, encoding: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = b"more"
        while not self._rest and block:
            block = self._file.read(1 << 16)
            text = self._decoder.decode(block, final=not block)
            self._rest = text.encode("utf-8", "surrogateescape")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def _only_member(place: Path | str, file: Path | BinaryIO) -> tuple[zipfile.ZipFile, str]:
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise DataError(f"{place}: not a zip archive, or a damaged one ({error})") from error
    # macOS adds a folder with a second file for each file.
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(names) != 1:
        raise DataError(f"{place}: the archive contains {len(names)} files instead of one")
    return archive, names[0]


def _unzip(place: Path | str, file: Path | BinaryIO) -> Any:
    archive, name = _only_member(place, file)
    try:
        return io.BufferedReader(cast(io.RawIOBase, archive.open(name)))
    except (RuntimeError, NotImplementedError) as error:
        raise DataError(f"{place}: the archive cannot be read ({error})") from error


_DECOMPRESSORS: dict[str, Callable[[Path | str, Path | BinaryIO], Any]] = {
    ".gz": lambda _, file: gzip.open(file),  # noqa: SIM115 - the caller closes it
    ".bz2": lambda _, file: bz2.open(file),  # noqa: SIM115 - the caller closes it
    ".xz": lambda _, file: lzma.open(file),  # noqa: SIM115 - the caller closes it
    ".zip": _unzip,
}
