"""The files of an artifact in a memory file, shared by all processes that have its descriptor.

A process of its own reads a new version once, and writes down what it found: the order that follows. All others,
including workers that are forked much later, open this copy, even if the folder has changed meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Mapping

import orjson

from sentiment_conv1d.artifact.artifact import ArtifactError
from sentiment_conv1d.artifact.errors import TransientError
from sentiment_conv1d.artifact.manifest import FILES
from sentiment_conv1d.service.models.order import Order

#: The lengths of the order and of all files in the order of `FILES`. The contents follow.
_LENGTHS = struct.Struct(f"<{1 + len(FILES)}Q")


def create() -> int:
    """Return the descriptor of an empty memory file. The caller has to close it.

    Raises `TransientError` if this process cannot open another file.
    """
    try:
        return os.memfd_create("artifact", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as error:
        raise TransientError(f"its files cannot be kept in memory ({error.strerror})") from error


def write(descriptor: int, order: Order, contents: Mapping[str, bytes]) -> None:
    """Write an order, and the files of its version if there are any, to a memory file, which is sealed then.

    Raises `ArtifactError` if the system has no room for them. Then something else can be written.
    """
    parts = [orjson.dumps(order._asdict()), *(contents.get(name, b"") for name in FILES)]
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.truncate(0)
            file.seek(0)
            file.write(_LENGTHS.pack(*map(len, parts)))
            for part in parts:
                file.write(part)
            file.flush()
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    except OSError as error:
        raise ArtifactError(f"its files cannot be kept in memory ({error.strerror})", "unreadable") from error


def order(descriptor: int) -> Order:
    """Return the order that was written."""
    return Order(**orjson.loads(_parts(descriptor, 0, 1)[0]))


def contents(descriptor: int) -> dict[str, bytes]:
    """Return the contents of the files by name."""
    return dict(zip(FILES, _parts(descriptor, 1, 1 + len(FILES)), strict=True))


def _parts(descriptor: int, first: int, end: int) -> list[bytes]:
    # `pread`, because processes that inherited the descriptor share its position.
    lengths = _LENGTHS.unpack(os.pread(descriptor, _LENGTHS.size, 0))
    places = [_LENGTHS.size + sum(lengths[:number]) for number in range(first, end)]
    return [os.pread(descriptor, lengths[first + index], place) for index, place in enumerate(places)]
