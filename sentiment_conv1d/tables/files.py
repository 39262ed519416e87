"""Open a file as a stream of UTF-8 bytes: decompress it, and decode it from its encoding.

The extension `.gz` means that the file is compressed with gzip. The encoding is the given one, otherwise that of a byte
order mark (UTF-8, UTF-16 or UTF-32), and otherwise UTF-8.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from pathlib import Path
from typing import Any, cast

from sentiment_conv1d.tables.faults import DataError

#: The errors that reading a damaged file raises.
READ_ERRORS = (OSError, EOFError, zlib.error, UnicodeDecodeError)

#: The extensions of compressed files that cannot be read.
OTHER_COMPRESSIONS = (".bz2", ".xz", ".zip", ".zst")

#: Byte order marks. The UTF-32 marks come first, because the UTF-32 (LE) mark starts with the UTF-16 (LE) mark.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def extension(path: Path) -> str:
    """Return the extension of a file's content in lower case, for example `.csv` for `reviews.csv.gz`.

    Raises `DataError` if the file is compressed with anything but gzip.
    """
    return (Path(path.stem) if is_compressed(path) else path).suffix.lower()


def is_compressed(path: Path) -> bool:
    """Return whether a file is compressed with gzip, by its extension. Raises `DataError` for another compression."""
    suffix = path.suffix.lower()
    if suffix in OTHER_COMPRESSIONS:
        raise DataError(f"{path}: files compressed as {suffix} cannot be read; decompress it, or compress it with gzip")
    return suffix == ".gz"


def open_utf8(path: Path, encoding: str | None) -> tuple[io.BufferedReader, str]:
    """Open a file as UTF-8 bytes; returns the name of its encoding too.

    A byte that is invalid in the encoding is passed on unchanged, so its line is not valid UTF-8. Raises `DataError`
    for an unknown encoding or a damaged file, and `OSError`.
    """
    # A gzip file has all methods of a buffered file.
    file = cast(io.BufferedReader, gzip.open(path)) if is_compressed(path) else path.open("rb")  # noqa: SIM115
    return decoded(path, file, encoding)


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
