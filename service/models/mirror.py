"""A model repository in a store: copies it to a local folder, and brings the copy up to date.

Every version in the copy is complete. A file in the folder records which files a version was copied from, and which
versions of the store are bad.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from sentiment_conv1d.artifact.artifact import (
    STAGING,
    Artifact,
    ArtifactError,
    Fault,
    NotWritable,
    is_version,
    read_artifact,
)
from sentiment_conv1d.artifact.errors import exit_status
from sentiment_conv1d.service.models.repository import Repository, Scan
from sentiment_conv1d.service.telemetry.statistics import Key
from sentiment_conv1d.service.version_policy import VersionPolicy
from sentiment_conv1d.sharing.copier import MAX_BYTES, copy_version
from sentiment_conv1d.sharing.store import Store, StoreError, StoreUnreachable

logger = logging.getLogger(__name__)

#: A copy may take this many times as long as a listing.
COPY_FACTOR = 10

_RECORDS = ".mirror.json"
_LOCK = ".mirror.lock"
_COMPLETE = ".mirror.complete"
_STAGING = ".mirroring-"

#: Called before each step of an update, with what it does, and how many times as long as a listing it may take.
Begin = Callable[[str, int], object]


class UnusableFolder(StoreError):
    """The folder of the copies cannot be written to."""

    reason = "folder"


class UnavailableFolder(UnusableFolder, StoreUnreachable):
    """The folder of the copies cannot be written to, and that can pass by itself."""


class Record(NamedTuple):
    """The fingerprint of a version in the store, and what is wrong with the version, if anything."""

    fingerprint: str
    fault: Fault | None = None
    reason: str = ""


class Memory(NamedTuple):
    """What an update remembers for the next one."""

    failed: dict[Key, str]  # versions that were bad, with their fingerprints
    missing: set[Key]  # copies of versions that the listing did not contain


class Mirror(Repository):
    """A folder in `cache` that contains the repository at a URL, as far as the version policy needs it.

    A version that is bad in the store, or has more than `max_bytes`, appears as one that cannot be read. `problem` is
    why the last update failed, or empty.
    """

    copied = True

    def __init__(self, url: str, cache: Path, policy: VersionPolicy, max_bytes: int = MAX_BYTES) -> None:
        # Each URL has a separate folder, so that the copy of another store is never served.
        super().__init__(cache / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16], policy)
        self.store = Store(url)
        self.problem = ""
        self.memory = Memory({}, set())
        self._max_bytes = max_bytes
        self._records: dict[Key, Record] = {}

    def update(
        self, *, first: bool = False, again: Collection[str] = (), begin: Begin = lambda what, factor: None
    ) -> None:
        """Copy new versions, and remove those that two listings in a row do not contain.

        With `first` a single listing decides, copies are verified again, and bad versions are tried again. The latter
        two also hold for the models in `again`. One process at a time updates a folder. Raises `UnknownStore`, and
        `StoreError` if the store or the folder cannot be used.
        """
        with self._locked(begin):
            begin("listing the models", 1)
            listing = self.store.versions()
            self._remove_missing({(name, version) for name in listing for version in listing[name]}, first)
            for name, versions in listing.items():
                self._copy_chosen(name, versions, first or name in again, begin)
            (self.path / _COMPLETE).touch()

    def scan(self) -> Scan:
        """Return the copied and the bad versions. Raises `OSError` if the folder cannot be listed."""
        found = super().scan()
        for (name, version), bad in self._bad().items():
            found.setdefault(name, {})[version] = bad.fingerprint
        return found

    def fingerprint(self, name: str, version: int) -> str:
        """Return a string that changes with the files of the copy or, for a bad version, with those of the store."""
        bad = self._bad().get((name, version))
        return super().fingerprint(name, version) if bad is None else bad.fingerprint

    def read(self, name: str, version: int) -> Artifact:
        """Read and verify a version. Raises `ArtifactError`."""
        bad = self._bad().get((name, version))
        if bad is not None and bad.fault is not None:
            raise ArtifactError(bad.reason, bad.fault)
        return super().read(name, version)

    def copies(self) -> set[Key]:
        """Return the versions in the folder."""
        found = self.path.glob("[!.]*/[!.]*")
        return {(path.parent.name, int(path.name)) for path in found if is_version(path.name)}

    @property
    def complete(self) -> bool:
        """Whether an update has ever finished, so that the folder contains all models."""
        return self.updated_at > 0

    @property
    def updated_at(self) -> float:
        """When an update last finished, also of an earlier service, in seconds since 1970; 0 if none did."""
        try:
            return (self.path / _COMPLETE).stat().st_mtime
        except OSError:
            return 0.0

    def _bad(self) -> dict[Key, Record]:
        return {key: record for key, record in read_records(self.path).items() if record.fault}

    @contextmanager
    def _locked(self, begin: Begin) -> Iterator[None]:
        """Let no other process, and no other thread, update the folder meanwhile."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / _LOCK).open("w") as lock:
                begin(f"waiting for another process that updates {self.path}", COPY_FACTOR)
                fcntl.flock(lock, fcntl.LOCK_EX)
                for left in (*self.path.glob(f"{_STAGING}*"), *self.path.glob(f"*/{STAGING}*")):
                    shutil.rmtree(left, ignore_errors=True)  # by a process that was killed
                self._records = read_records(self.path)
                yield
        except NotWritable as error:
            raise _unusable_folder(str(error), error) from error
        except OSError as error:
            raise _unusable_folder(f"{self.path}: cannot be written ({error.strerror})", error) from error

    def _copy_chosen(self, name: str, versions: set[int], again: bool, begin: Begin) -> None:
        """Copy the versions of a model that the policy chooses. A bad one leaves its place to the next."""
        valid = set(versions)
        seen: set[int] = set()
        while unseen := set(self.policy.choose(name, valid)) - seen:
            version = max(unseen)
            seen.add(version)
            begin(f"copying version {version} of {name}", COPY_FACTOR)
            if not self._bring((name, version), again):
                valid.remove(version)

    def _bring(self, key: Key, again: bool) -> bool:
        """Copy a version, unless it has been copied or is known to be bad. Returns whether it is valid.

        With `again`, a copy is verified, and a bad version is copied again.
        """
        fingerprint = self.store.fingerprint(*key)
        record = self._records.get(key)
        if record is not None and record.fingerprint == fingerprint:
            if record.fault and not again:
                return False
            if not record.fault and (self._is_valid(key) if again else self._path(key).exists()):
                return True
        try:
            copy_version(self.store, *key, self.path, max_bytes=self._max_bytes, replace=True)
        except NotWritable:
            raise
        except ArtifactError as error:
            # A version that is being written has another fingerprint in the next update.
            if again or self.memory.failed.get(key) == fingerprint:
                self._record(key, Record(fingerprint, error.fault, str(error)))
            self.memory.failed[key] = fingerprint
            return False
        self._record(key, Record(fingerprint))
        logger.info("copied a version of %s from %s", key[0], self.store.name, extra={"version": key[1]})
        return True

    def _remove_missing(self, listed: set[Key], first: bool) -> None:
        missing = (self.copies() | self._records.keys()) - listed
        for key in missing if first else missing & self.memory.missing:
            with self._staging() as staging, suppress(FileNotFoundError):
                self._path(key).rename(Path(staging, "old"))  # so that nobody reads it while it is removed
            with suppress(OSError):  # it contains other versions
                self._path(key).parent.rmdir()
            self._records.pop(key, None)
            self._write_records()
            logger.info("removed the copy of a version of %s", key[0], extra={"version": key[1]})
        self.memory = self.memory._replace(missing=missing)

    def _is_valid(self, key: Key) -> bool:
        try:
            read_artifact(self._path(key))
        except ArtifactError:
            return False
        return True

    def _path(self, key: Key) -> Path:
        return self.path / key[0] / str(key[1])

    def _record(self, key: Key, record: Record) -> None:
        self._records[key] = record
        self._write_records()

    def _write_records(self) -> None:
        document = [[*key, *record] for key, record in sorted(self._records.items())]
        with self._staging() as staging:
            file = Path(staging, _RECORDS)
            file.write_text(json.dumps(document))
            file.replace(self.path / _RECORDS)

    def _staging(self) -> TemporaryDirectory[str]:
        """Return the context of a hidden folder, which is removed at the end."""
        return TemporaryDirectory(prefix=_STAGING, dir=self.path, ignore_cleanup_errors=True)


def _unusable_folder(message: str, error: Exception) -> UnusableFolder:
    kind = UnavailableFolder if exit_status(error) == os.EX_TEMPFAIL else UnusableFolder
    return kind(message)


def read_records(folder: Path) -> dict[Key, Record]:
    """Return what updates recorded in a folder. A file that cannot be read counts as empty."""
    try:
        document = json.loads((folder / _RECORDS).read_bytes())
        return {(name, version): Record(*record) for name, version, *record in document}
    except (OSError, ValueError, TypeError):
        return {}
