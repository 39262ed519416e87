"""The model repository on disk: models, their versions, and fingerprints that change with the files."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from sentiment_conv1d.artifact.artifact import Artifact, ArtifactError, check_place, is_version, read_contents, verify
from sentiment_conv1d.artifact.configuration import is_name
from sentiment_conv1d.artifact.manifest import FILES
from sentiment_conv1d.service.fingerprint import fingerprint
from sentiment_conv1d.service.version_policy import VersionPolicy

logger = logging.getLogger(__name__)

#: The versions of each model, with their fingerprints.
Scan = dict[str, dict[int, str]]


class Repository:
    """A folder `<name>/<version>/`, which can change while it is read, and the policy that selects versions.

    It does not know which versions are loaded. Only names that a scan found become part of a path.
    """

    #: Whether the folder is a copy of a store.
    copied = False

    def __init__(self, path: Path, policy: VersionPolicy) -> None:
        self.path = path
        self.policy = policy
        self._ignored: set[str] = set()

    def scan(self) -> Scan:
        """Return all versions, with a few system calls each. Raises `OSError` if the folder cannot be listed."""
        names = self._folders(self.path, is_name, "name of a model")
        return {name: found for name in names if (found := self._versions(name))}

    def fingerprint(self, name: str, version: int) -> str:
        """Return a string that changes whenever a file of the version is written, replaced, added or removed."""
        folder = self.path / name / str(version)
        return fingerprint(folder / file for file in FILES)

    def read(self, name: str, version: int) -> Artifact:
        """Read and verify a version. Raises `ArtifactError`."""
        folder = self.path / name / str(version)
        # Kubernetes mounts contain symbolic links, but none that leads out of the mount.
        home = os.path.realpath(self.path)
        for place in (folder, *(folder / file for file in FILES)):
            if not Path(os.path.realpath(place)).is_relative_to(home):
                raise ArtifactError(f"{place}: a link that leads out of the repository")
        return self.verify(name, version, read_contents(folder))

    def verify(self, name: str, version: int, contents: Mapping[str, bytes]) -> Artifact:
        """Return the artifact in these files. Raises `ArtifactError` if it is not the expected version."""
        artifact = verify(self.path / name / str(version), contents)
        check_place(artifact)
        return artifact

    def _versions(self, name: str) -> dict[int, str]:
        found = self._folders(self.path / name, is_version, "version, which is a positive integer")
        # Not `self.fingerprint`: that of a mirror reads the file of records, only for versions that the mirror adds.
        return {int(version): Repository.fingerprint(self, name, int(version)) for version in found}

    def _folders(self, path: Path, fits: Callable[[str], bool], what: str) -> list[str]:
        """Return the names of folders that match. Other names, unless hidden, are ignored with a remark."""
        fitting = []
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not _is_folder(entry):
                    continue
                if fits(entry.name):
                    fitting.append(entry.name)
                elif entry.path not in self._ignored:
                    self._ignored.add(entry.path)
                    logger.warning("%s is ignored: its name is no %s", entry.path, what)
        return sorted(fitting)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise
