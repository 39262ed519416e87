"""A model repository in a store, as the service sees it: a local folder that a mirror keeps up to date."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from sentiment_conv1d.model.artifact import Artifact, ArtifactError
from sentiment_conv1d.model.errors import SentimentError, TransientError
from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.models.mirror import Mirror, Record, read_records
from sentiment_conv1d.service.models.order import Key
from sentiment_conv1d.service.models.repository import Repository, Scan
from sentiment_conv1d.service.version_policy import VersionPolicy
from sentiment_conv1d.sharing.store import StoreError, StoreUnreachable

logger = logging.getLogger(__name__)

#: Seconds for the first update, after which the service starts with the copies that it has. It starts sooner if the
#: copies are complete, and further updates follow. Kubernetes kills a container that takes long to start.
_UPDATE_SECONDS = 30.0
_COMPLETE_SECONDS = 5.0


class MirroredRepository(Repository):
    """The folder of a mirror. A version that is bad in the store appears as one that cannot be read.

    At least `store_interval` seconds pass between two listings of the store.

    Creating it updates the mirror. If the store cannot be read, or not in time, the folder is used as it is. That time
    is short if it is `watched`, which means that `follow` will be called. Raises `StartupError` if the folder contains
    no model either.
    """

    def __init__(
        self, url: str, cache: Path, policy: VersionPolicy, store_interval: float, *, watched: bool = False
    ) -> None:
        self._store_interval = store_interval
        self._mirror = Mirror(url, cache, policy)
        super().__init__(self._mirror.folder, policy)
        self._problem = ""  # why the first update failed
        try:
            _update(self._mirror, _COMPLETE_SECONDS if watched and self._mirror.complete else _UPDATE_SECONDS)
        except StoreError as error:
            if not self._mirror.copies():
                kind = TransientError if isinstance(error, StoreUnreachable) else StartupError
                raise kind(f"{error}, and {self.path} contains no copy of a model") from None
            self._problem = str(error)
            later = ", which are updated as soon as it answers" if watched else ""
            logger.warning("%s; serving the copies in %s%s", error, self.path, later)

    def follow(self, interval: float) -> None:
        """Copy new versions every `interval` seconds or less often, on a thread of this process.

        The first update continues there if it failed.
        """
        arguments = (max(interval, self._store_interval), self._problem)
        threading.Thread(target=self._mirror.follow, args=arguments, name="mirror", daemon=True).start()

    def try_again(self, name: str) -> None:
        """Copy the bad versions of a model again. If the store cannot be read, they stay bad."""
        if all(name != model for model, _ in self._bad()):
            return  # without waiting for an update
        try:
            self._mirror.copy_again(name)
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

    def _bad(self) -> dict[Key, Record]:
        return {key: record for key, record in read_records(self.path).items() if record.fault}


def _update(mirror: Mirror, seconds: float) -> None:
    """Update a mirror for the first time. Raises `StoreError` if there are copies and that takes more than `seconds`.

    Raises the errors of `Mirror.update`, and `TransientError` if the process that updates is killed.

    That happens in a child process: the libraries of stores start threads, and only a process without threads can fork
    workers safely.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_update_and_report, args=(mirror, sender), daemon=True)
    child.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            slow = f"{mirror.store.name}: copying the models takes more than {seconds:g} s"
            if mirror.copies():
                raise StoreUnreachable(slow)
            logger.warning("%s, and %s contains no copy of a model to start with", slow, mirror.folder)
        problem: SentimentError | None = receiver.recv()
    except EOFError:
        raise TransientError(f"{mirror.store.name}: copying the models failed; the log says why") from None
    finally:
        child.kill()
        child.join()
        receiver.close()
    if problem is not None:
        raise problem


def _update_and_report(mirror: Mirror, sender: Connection) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent reports them
        signal.signal(number, signal.SIG_DFL)
    try:
        mirror.update(first=True)
    except SentimentError as error:
        sender.send(error)
    else:
        sender.send(None)
