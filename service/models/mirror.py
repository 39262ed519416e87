"""A model repository in a store: copies it to a local folder, and keeps the copy up to date.

A version is downloaded into a hidden folder, verified, and renamed into place, so that every version in the copy is
complete. A file in the folder records which files a version was copied from, and which versions of the store are bad.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from sentiment_conv1d.model.artifact import Artifact, ArtifactError, Fault, check_place, is_version, read_artifact
from sentiment_conv1d.model.errors import SentimentError, TransientError
from sentiment_conv1d.service.errors import StartupError, exit_status
from sentiment_conv1d.service.models.order import Key
from sentiment_conv1d.service.models.repository import Repository, Scan
from sentiment_conv1d.service.setting_names import named
from sentiment_conv1d.service.version_policy import VersionPolicy
from sentiment_conv1d.sharing.store import Store, StoreError, StoreUnreachable

logger = logging.getLogger(__name__)

#: Seconds for the first update, after which the service starts with the copies that it has. It starts sooner if the
#: copies are complete, and further updates follow. Kubernetes kills a container that takes long to start.
_UPDATE_SECONDS = 30.0
_COMPLETE_SECONDS = 5.0

_RECORDS = ".mirror.json"
_LOCK = ".mirror.lock"
_COMPLETE = ".mirror.complete"
_STAGING = ".mirroring-"


class Record(NamedTuple):
    """The fingerprint of a version in the store, and what is wrong with the version, if anything."""

    fingerprint: str
    fault: Fault | None = None
    reason: str = ""


class Mirror(Repository):
    """A folder in `cache` that contains the repository at a URL, as far as the version policy needs it.

    A version that is bad in the store appears as one that cannot be read. At least `interval` seconds pass between two
    listings of the store, which `keep_current` begins.
    """

    def __init__(self, url: str, cache: Path, policy: VersionPolicy, interval: float = 0) -> None:
        # Each URL has a separate folder, so that the copy of another store is never served.
        super().__init__(cache / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16], policy)
        self.store = Store(url)
        self._interval = interval
        self._problem = ""  # why the previous update failed, if it did
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
            (self.path / _COMPLETE).touch()

    def start(self, *, watched: bool) -> None:
        """Update for the first time. If the store cannot be read, or not in time, the folder is used as it is.

        That time is short if the repository is `watched`, which means that `keep_current` will be called. Raises
        `StartupError` or `TransientError` if the folder contains no model either.
        """
        try:
            self._update_in_child(_COMPLETE_SECONDS if watched and self.complete else _UPDATE_SECONDS)
        except StoreError as error:
            if not self.copies():
                kind = TransientError if isinstance(error, StoreUnreachable) else StartupError
                no_copy = f"{self.path} contains no copy of a model; {named('model_cache')} sets where it is"
                raise kind(f"{error}, and {no_copy}") from None
            self._problem = str(error)
            later = ", which are updated as soon as it answers" if watched else ""
            logger.warning("%s; serving the copies in %s%s", error, self.path, later)

    def keep_current(self, interval: float) -> None:
        """Copy new versions every `interval` seconds or less often, on a thread of this process.

        The first update continues there if it failed.
        """
        interval = max(interval, self._interval)
        threading.Thread(target=self._keep_up, args=(interval,), name="mirror", daemon=True).start()

    def try_again(self, name: str) -> None:
        """Copy the bad versions of a model again. If the store cannot be read, they stay bad."""
        if all(name != model for model, _ in self._bad()):
            return  # without waiting for an update
        try:
            with self._locked():
                for version in self.store.versions().get(name, ()):
                    if (record := self._records.get((name, version))) and record.fault:
                        self._bring((name, version), first=True)
        except SentimentError as error:
            logger.warning("%s; the copies in %s stay", error, self.path)

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
        return (self.path / _COMPLETE).exists()

    def _bad(self) -> dict[Key, Record]:
        return {key: record for key, record in read_records(self.path).items() if record.fault}

    def _keep_up(self, interval: float) -> None:
        """Update every `interval` seconds, and never return. If the first update failed, it is tried again at once."""
        first = bool(self._problem)
        pause = 0.0 if first else interval
        while True:
            time.sleep(pause)
            self._try_to_update(first=first)
            first, pause = first and bool(self._problem), interval

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let no other process, and no other thread, update the folder meanwhile."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / _LOCK).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                for left in self.path.glob(f"{_STAGING}*"):  # by a process that was killed
                    shutil.rmtree(left, ignore_errors=True)
                self._records = read_records(self.path)
                yield
        except OSError as error:
            kind = StoreUnreachable if exit_status(error) == os.EX_TEMPFAIL else StoreError
            raise kind(f"{self.path}: cannot be written ({error.strerror})") from error

    def _try_to_update(self, *, first: bool = False) -> None:
        """Update. A failure that is the same as the one before is not logged again."""
        before, self._problem = self._problem, ""
        try:
            self.update(first=first)
        except SentimentError as error:
            self._problem = str(error)
            if self._problem != before:
                logger.warning("%s; the copies in %s stay", error, self.path)
        except Exception:
            logger.exception("%s: copying the models failed", self.store.name)
        else:
            if before:
                logger.info("%s can be read again", self.store.name)

    def _copy_chosen(self, name: str, versions: set[int], first: bool) -> None:
        """Copy the versions of a model that the policy chooses. A bad one leaves its place to the next."""
        valid = set(versions)
        seen: set[int] = set()
        while unseen := set(self.policy.choose(name, valid)) - seen:
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
        return self.path / key[0] / str(key[1])

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
            file.replace(self.path / _RECORDS)

    def _staging(self) -> TemporaryDirectory[str]:
        """Return the context of a hidden folder, which is removed at the end."""
        return TemporaryDirectory(prefix=_STAGING, dir=self.path, ignore_cleanup_errors=True)

    def _update_in_child(self, seconds: float) -> None:
        """Update in a child process. Raises `StoreError` if there are copies and that takes more than `seconds`.

        Raises the errors of `update`, and `TransientError` if the child is killed. The libraries of stores start
        threads, and only a process without threads can fork workers safely.
        """
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=self._update_and_report, args=(sender,), daemon=True)
        child.start()
        sender.close()
        try:
            if not receiver.poll(seconds):
                slow = f"{self.store.name}: copying the models takes more than {seconds:g} s"
                if self.copies():
                    raise StoreUnreachable(slow)
                logger.warning("%s, and %s contains no copy of a model to start with", slow, self.path)
            problem: SentimentError | None = receiver.recv()
        except EOFError:
            raise TransientError(f"{self.store.name}: copying the models failed; the log says why") from None
        finally:
            child.kill()
            child.join()
            receiver.close()
        if problem is not None:
            raise problem

    def _update_and_report(self, sender: Connection) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):  # the parent reports them
            signal.signal(number, signal.SIG_DFL)
        try:
            self.update(first=True)
        except SentimentError as error:
            sender.send(error)
        else:
            sender.send(None)


def read_records(folder: Path) -> dict[Key, Record]:
    """Return what updates recorded in a folder. A file that cannot be read counts as empty."""
    try:
        document = json.loads((folder / _RECORDS).read_bytes())
        return {(name, version): Record(*record) for name, version, *record in document}
    except (OSError, ValueError, TypeError):
        return {}
