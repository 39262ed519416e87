"""Reads and opens a version in a child process first: its files can be slow to read, and its graph can run forever.

Both can crash the process. No Python code can interrupt a run of a graph, so the kernel kills the child at the
deadline. The child writes what it found, and the files that it read, to a memory file. The processes that serve the
version open these files themselves, and get the same result.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from sentiment_conv1d.artifact.artifact import Artifact, ArtifactError, Fault
from sentiment_conv1d.artifact.errors import SentimentError, TransientError
from sentiment_conv1d.server.process import child
from sentiment_conv1d.server.process.worker_process import describe_end
from sentiment_conv1d.service.models import snapshot
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.repository import Repository
from sentiment_conv1d.service.telemetry.statistics import MAX_LABELS


@dataclass(frozen=True)
class Trial:
    """Tries versions of a repository, each for at most `seconds`. `models` are those that are served."""

    repository: Repository
    models: LoadedModels
    open_version: Callable[[Artifact], object]
    seconds: float

    def start(self, order: Order, descriptor: int) -> int:
        """Try the version of an order in a child process, and return the id of the process.

        The memory file of the descriptor then contains the order that follows. Call it in a process without threads.
        Raises `TransientError` if there is no child.
        """

        def work() -> None:
            logging.disable()
            self.examine(order, descriptor)

        try:
            return child.start(work, self.seconds, descriptor)
        except OSError as error:
            raise TransientError(f"the system cannot start a process ({error.strerror})") from error

    def examine(self, order: Order, descriptor: int) -> None:
        """Read, verify and open the version of an order, and write the order that follows and the files.

        The order is to `serve` or to `refuse` the version. It is to `keep` what there is if the files are still being
        written, have the contents that are served, or were refused for the same reason.
        """
        try:
            artifact = self.repository.read(*order.key)
            digest = artifact.manifest.manifest_sha256
            if digest == self.models.digest(*order.key):
                snapshot.write(descriptor, order._replace(action="keep"), {})
                return
            self._open(artifact)
            labels = artifact.manifest.labels[:MAX_LABELS]
            serve = order._replace(action="serve", digest=digest, labels=labels)
            snapshot.write(descriptor, serve, artifact.contents)
        except ArtifactError as error:
            refusal = order.refusal(error.fault, str(error))
            known = refusal == self.models.refusal(order.key)
            if known or self.repository.fingerprint(*order.key) != order.fingerprint:
                refusal = refusal._replace(action="keep")
            snapshot.write(descriptor, refusal, {})

    def run(self, order: Order) -> int:
        """Try a version in a child process, wait for its end, and return a descriptor of the files.

        Raises `ArtifactError` if the version must not be served, and `TransientError` if there is no child. A signal
        that ends this process ends the child too.
        """
        descriptor = snapshot.create()
        try:
            status = child.run(lambda: self.start(order, descriptor))
            if status is None:
                raise TransientError("a signal ended the process that opened a version")
            check(status, self.seconds, f"{self.repository.path / order.name / str(order.version)}: ")
            found = snapshot.order(descriptor)
            if found.action != "serve":
                raise ArtifactError(found.reason, cast(Fault, found.fault))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _open(self, artifact: Artifact) -> None:
        try:
            self.open_version(artifact)
        except ArtifactError:
            raise
        except SentimentError:
            pass  # not the version's fault: who serves it gets the same error


def check(status: int, seconds: float, place: str = "") -> None:
    """Raise `ArtifactError` if the version must not be opened, by the status of `waitpid` for the child."""
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        reason = f"it did not open and answer its golden text within {seconds:g} s (--load-timeout)"
        raise ArtifactError(f"{place}{reason}", "timeout")
    if status:
        raise ArtifactError(f"{place}the process that opened it {describe_end(status)}", "crashed")
