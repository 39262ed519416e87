"""Copies a model repository from a store to a local folder, and keeps the copy up to date.

A version is downloaded into a hidden folder, verified, and renamed into place, so that every version in the copy is
complete. A file in the folder records which files a version was copied from, and which versions of the store are bad.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from sentiment_conv1d.model.artifact import ArtifactError, Fault, check_place, is_version, read_artifact
from sentiment_conv1d.model.errors import SentimentError
from sentiment_conv1d.service.errors import exit_status
from sentiment_conv1d.service.models.order import Key
from sentiment_conv1d.service.version_policy import VersionPolicy
from sentiment_conv1d.sharing.store import Store, StoreError, StoreUnreachable

logger = logging.getLogger(__name__)

_RECORDS = ".mirror.json"
_LOCK = ".mirror.lock"
_COMPLETE = ".mirror.complete"
_STAGING = ".mirroring-"


class Record(NamedTuple):
    """The fingerprint of a version in the store, and what is wrong with the version, if anything."""

    fingerprint: str
    fault: Fault | None = None
    reason: str = ""


class Mirror:
    """Keeps a folder in `cache` in line with the repository at a URL, as far as the version policy needs it."""

    def __init__(self, url: str, cache: Path, policy: VersionPolicy) -> None:
        self.store = Store(url)
        # Each URL has a separate folder, so that the copy of another store is never served.
        self.folder = cache / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]
        self._policy = policy
        self._records: dict[Key, Record] = {}
        self._failed: dict[Key, str] = {}  # versions that were bad in the previous update, with their fingerprints
        self._missing: set[Key] = set()  # versions that the previous listing did not contain

    def update(self, *, first: bool = False) -> None:
        """Copy new versions, and remove those that two listings in a row do not contain.

        With `first` a single listing decides, copies are verified again, and bad versions are tried again. One process
        at a time updates a folder. Raises `UnknownStore`, and `StoreError` if the store or the folder cannot be
        used.
        """
        with self._locked():
            listing = self.store.versions()
            self._remove_missing({(name, version) for name in listing for version in listing[name]}, first)
            for name, versions in listing.items():
                self._copy_chosen(name, versions, first)
            (self.folder / _COMPLETE).touch()

    def copy_again(self, name: str) -> None:
        """Copy the bad versions of a model once more, because they can be right in the store.

        Raises the errors of `update`.
        """
        with self._locked():
            for version in self.store.versions().get(name, ()):
                if (record := self._records.get((name, version))) and record.fault:
                    self._bring((name, version), first=True)

    def copies(self) -> set[Key]:
        """Return the versions in the folder."""
        found = self.folder.glob("[!.]*/[!.]*")
        return {(path.parent.name, int(path.name)) for path in found if is_version(path.name)}

    @property
    def complete(self) -> bool:
        """Whether an update has ever finished, so that the folder contains all models."""
        return (self.folder / _COMPLETE).exists()

    def follow(self, interval: float, problem: str = "") -> None:
        """Update every `interval` seconds, and never return.

        `problem` is why the first update failed, if it did. Then it is tried again at once, until it succeeds.
        """
        first, pause = bool(problem), 0.0 if problem else interval
        while True:
            time.sleep(pause)
            problem = self._try_to_update(problem, first=first)
            first, pause = first and bool(problem), interval

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let no other process, and no other thread, update the folder meanwhile."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / _LOCK).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                for left in self.folder.glob(f"{_STAGING}*"):  # by a process that was killed
                    shutil.rmtree(left, ignore_errors=True)
                self._records = read_records(self.folder)
                yield
        except OSError as error:
            kind = StoreUnreachable if exit_status(error) == os.EX_TEMPFAIL else StoreError
            raise kind(f"{self.folder}: cannot be written ({error.strerror})") from error

    def _try_to_update(self, before: str, *, first: bool = False) -> str:
        """Update, and return why that failed. A failure that is the same as the one before is not logged again."""
        try:
            self.update(first=first)
        except SentimentError as error:
            if (problem := str(error)) != before:
                logger.warning("%s; the copies in %s stay", problem, self.folder)
            return problem
        except Exception:
            logger.exception("%s: copying the models failed", self.store.name)
            return ""
        if before:
            logger.info("%s can be read again", self.store.name)
        return ""

    def _copy_chosen(self, name: str, versions: set[int], first: bool) -> None:
        """Copy the versions of a model that the policy chooses. A bad one leaves its place to the next."""
        valid = set(versions)
        seen: set[int] = set()
        while unseen := set(self._policy.choose(name, valid)) - seen:
            version = max(unseen)
            seen.add(version)
            if not self._bring((name, version), first):
                valid.remove(version)

    def _bring(self, key: Key, first: bool) -> bool:
        """Copy a version, unless it has been copied or is known to be bad. Returns whether it is valid."""
        fingerprint = self.store.fingerprint(*key)
        record = self._records.get(key)
        if record is not None and record.fingerprint == fingerprint:
            if record.fault and not first:
                return False
            if not record.fault and (self._is_valid(key) if first else self._path(key).exists()):
                return True
        try:
            self._copy(key)
        except ArtifactError as error:
            # A version that is being written has another fingerprint in the next update.
            if first or self._failed.get(key) == fingerprint:
                self._record(key, Record(fingerprint, error.fault, str(error)))
            self._failed[key] = fingerprint
            return False
        self._record(key, Record(fingerprint))
        logger.info("copied a version of %s from %s", key[0], self.store.name, extra={"version": key[1]})
        return True

    def _copy(self, key: Key) -> None:
        """Download a version and rename it into place. Raises `ArtifactError`."""
        with self._staging() as staging:
            folder = Path(staging, key[0], str(key[1]))
            folder.mkdir(parents=True)
            self.store.download(*key, folder)
            try:
                check_place(read_artifact(folder))
            except ArtifactError as error:
                raise ArtifactError(str(error).replace(staging, self.store.name), error.fault) from error
            self._take_away(key, staging)
            self._path(key).parent.mkdir(exist_ok=True)
            folder.rename(self._path(key))

    def _remove_missing(self, listed: set[Key], first: bool) -> None:
        missing = (self.copies() | self._records.keys()) - listed
        for key in missing if first else missing & self._missing:
            with self._staging() as staging:
                self._take_away(key, staging)
            with suppress(OSError):  # it contains other versions
                self._path(key).parent.rmdir()
            self._records.pop(key, None)
            self._write_records()
            logger.info("removed the copy of a version of %s", key[0], extra={"version": key[1]})
        self._missing = missing

    def _is_valid(self, key: Key) -> bool:
        try:
            read_artifact(self._path(key))
        except ArtifactError:
            return False
        return True

    def _path(self, key: Key) -> Path:
        return self.folder / key[0] / str(key[1])

    def _take_away(self, key: Key, staging: str) -> None:
        """Move a copy, if there is one, into a hidden folder, so that nobody reads it while it is removed."""
        with suppress(FileNotFoundError):
            self._path(key).rename(Path(staging, "old"))

    def _record(self, key: Key, record: Record) -> None:
        self._records[key] = record
        self._write_records()

    def _write_records(self) -> None:
        document = [[*key, *record] for key, record in sorted(self._records.items())]
        with self._staging() as staging:
            file = Path(staging, _RECORDS)
            file.write_text(json.dumps(document))
            file.replace(self.folder / _RECORDS)

    def _staging(self) -> TemporaryDirectory[str]:
        """Return the context of a hidden folder, which is removed at the end."""
        return TemporaryDirectory(prefix=_STAGING, dir=self.folder, ignore_cleanup_errors=True)


def read_records(folder: Path) -> dict[Key, Record]:
    """Return what updates recorded in a folder. A file that cannot be read counts as empty."""
    try:
        document = json.loads((folder / _RECORDS).read_bytes())
        return {(name, version): Record(*record) for name, version, *record in document}
    except (OSError, ValueError, TypeError):
        return {}
