"""The model repository on disk: a folder of models, and the policy that selects the versions to serve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sentiment_conv1d.model.artifact import Artifact, check_place, verify
from sentiment_conv1d.service.models.scan import Scan, Scanner
from sentiment_conv1d.service.version_policy import VersionPolicy


class Repository:
    """A folder `<name>/<version>/`, which can change while it is read. It does not know which versions are loaded."""

    def __init__(self, path: Path, policy: VersionPolicy) -> None:
        self.path = path
        self.policy = policy
        self._scanner = Scanner(path)

    def scan(self) -> Scan:
        """Return every version with its fingerprint. Raises `OSError` if the folder cannot be listed."""
        return self._scanner.scan()

    def fingerprint(self, name: str, version: int) -> str:
        """Return the fingerprint of a version, see `Scanner.fingerprint`."""
        return self._scanner.fingerprint(name, version)

    def read(self, name: str, version: int) -> Artifact:
        """Read and verify a version. Raises `ArtifactError`."""
        return self.verify(name, version, self._scanner.read(name, version))

    def verify(self, name: str, version: int, contents: Mapping[str, bytes]) -> Artifact:
        """Return the artifact in these files. Raises `ArtifactError` if it is not the expected version."""
        artifact = verify(self._scanner.path_of(name, version), contents)
        check_place(artifact)
        return artifact
