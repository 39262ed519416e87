"""Fingerprints detect changes of files without reading them."""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

from sentiment_conv1d.service.errors import StartupError

logger = logging.getLogger(__name__)


def fingerprint(files: Iterable[Path]) -> str:
    """Return a string that changes if a file is written, replaced, added or removed, or a link points elsewhere."""
    state = hashlib.blake2b(digest_size=12)
    for file in files:
        try:
            found = file.stat()
        except OSError as error:
            state.update(f"{error.errno}\n".encode())
        else:
            times = (found.st_mtime_ns, found.st_ctime_ns)
            state.update(f"{found.st_dev} {found.st_ino} {found.st_size} {times}\n".encode())
    return state.hexdigest()


class Reloaded(ABC):
    """Contents of files, which `refresh` reads again if the files have changed.

    If the new files are invalid, they are `refused`, and the old contents stay in use. `what` names them in the plural.
    The constructor raises `StartupError` if the files are invalid.
    """

    def __init__(self, what: str, files: Sequence[Path]) -> None:
        self.what = what
        self.refused = False
        self._files = files
        self._fingerprint = fingerprint(files)
        self._load()

    def refresh(self, level: int = logging.INFO) -> bool:
        """Read the files again if they have changed, and log at this level that the new contents are in use.

        Returns whether they are.
        """
        current = fingerprint(self._files)
        if current == self._fingerprint:
            return False
        self._fingerprint = current
        try:
            self._load()
        except StartupError as error:
            logger.error("the %s changed, and the old ones stay in use: %s", self.what, error)
            self.refused = True
            return False
        logger.log(level, "the %s changed, and only the new ones are in use", self.what)
        self.refused = False
        return True

    @abstractmethod
    def _load(self) -> None:
        """Read the files. Raises `StartupError`."""
