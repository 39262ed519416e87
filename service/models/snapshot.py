"""The files of an artifact in memory, the same bytes for every process that holds the descriptor.

Whoever finds a new version reads it once. Everyone else, also a worker that is forked much later, opens what was read
then, whatever has become of the folder.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Mapping

from sentiment_conv1d.model.artifact import FILES

#: The length of every file, in the order of `FILES`; behind them the files themselves.
_LENGTHS = struct.Struct(f"<{len(FILES)}Q")


def take(contents: Mapping[str, bytes]) -> int:
    """A descriptor of memory that holds these files and that nobody can change; closing it is the caller's matter."""
    descriptor = os.memfd_create("artifact", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(_LENGTHS.pack(*(len(contents[name]) for name in FILES)))
        for name in FILES:
            file.write(contents[name])
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return descriptor


def contents(descriptor: int) -> dict[str, bytes]:
    """The files by their names."""
    # Not `read`: processes that inherited the descriptor share its position.
    position = _LENGTHS.size
    found = {}
    for name, length in zip(FILES, _LENGTHS.unpack(os.pread(descriptor, position, 0)), strict=True):
        found[name] = os.pread(descriptor, length, position)
        position += length
    return found
