"""The files of an artifact in a memory file, shared by all processes that have its descriptor.

The worker that finds a new version reads it once. All others, including workers that are forked much later, open this
copy, even if the folder has changed meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Mapping

from sentiment_conv1d.model.artifact import ArtifactError
from sentiment_conv1d.model.manifest import FILES

#: The lengths of all files in the order of `FILES`. The contents follow.
_LENGTHS = struct.Struct(f"<{len(FILES)}Q")


def take(contents: Mapping[str, bytes]) -> int:
    """Return the descriptor of a sealed memory file with these files. The caller has to close it.

    Raises `ArtifactError` if the system has no room for them.
    """
    try:
        with os.fdopen(os.memfd_create("artifact", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb") as file:
            file.write(_LENGTHS.pack(*(len(contents[name]) for name in FILES)))
            for name in FILES:
                file.write(contents[name])
            file.flush()
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
            return os.dup(file.fileno())
    except OSError as error:
        raise ArtifactError(f"its files cannot be kept in memory ({error.strerror})", "unreadable") from error


def contents(descriptor: int) -> dict[str, bytes]:
    """Return the contents of the files by name."""
    # `pread`, because processes that inherited the descriptor share its position.
    position = _LENGTHS.size
    found = {}
    for name, length in zip(FILES, _LENGTHS.unpack(os.pread(descriptor, position, 0)), strict=True):
        found[name] = os.pread(descriptor, length, position)
        position += length
    return found
