"""The model repository on disk: a folder of models, and the policy that says which of their versions to serve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sentiment_conv1d.model.artifact import Artifact, check_place, verify
from sentiment_conv1d.service.models.scan import Scan, Scanner
from sentiment_conv1d.service.version_policy import VersionPolicy


class Repository:
    """A folder `<name>/<version>/` that changes while it is read. It knows nothing of what is loaded."""

    def __init__(self, path: Path, policy: VersionPolicy) -> None:
        self.path = path
        self.policy = policy
        self._scanner = Scanner(path)

    def scan(self) -> Scan:
        """Every version, with its fingerprint. Raises `OSError` if it cannot be listed."""
        return self._scanner.scan()

    def fingerprint(self, name: str, version: int) -> str:
        """What changes whenever a file of a version is written, replaced, added or removed."""
        return self._scanner.fingerprint(name, version)

    def read(self, name: str, version: int) -> Artifact:
        """Read and verify a version. Raises `ArtifactError`."""
        return self.verify(name, version, self._scanner.read(name, version))

    def verify(self, name: str, version: int, contents: Mapping[str, bytes]) -> Artifact:
        """The artifact of these files, if it is that of this version. Raises `ArtifactError`."""
        artifact = verify(self._scanner.path_of(name, version), contents)
        check_place(artifact)
        return artifact
