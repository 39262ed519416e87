"""Opens a version in a child process first: its graph can run forever, and can crash the process that runs it.

No Python code can interrupt a run of a graph, so the kernel kills the child at the deadline. A child that ends in time
has proven only that the version can be opened or refused. The processes that serve the version open it themselves, and
get the same result.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress

from sentiment_conv1d.model.artifact import Artifact, ArtifactError
from sentiment_conv1d.model.errors import SentimentError, TransientError
from sentiment_conv1d.server.process import child
from sentiment_conv1d.server.process.worker_process import describe_end


def start(open_version: Callable[[], object], seconds: float, descriptor: int | None = None) -> int:
    """Open a version in a child process, and return the id of the process. Call it in a process without threads.

    The child keeps only this descriptor, and is killed after `seconds`. Raises `TransientError` if there is no child.
    """

    def work() -> None:
        logging.disable()
        with suppress(SentimentError):  # the caller gets the same error
            open_version()

    try:
        return child.start(work, seconds, descriptor)
    except OSError as error:
        raise TransientError(f"the system cannot start a process ({error.strerror})") from error


def check(status: int, seconds: float, place: str = "") -> None:
    """Raise `ArtifactError` if the version must not be opened, by the status of `waitpid` for the child."""
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        reason = f"it did not open and answer its golden text within {seconds:g} s (--load-timeout)"
        raise ArtifactError(f"{place}{reason}", "timeout")
    if status:
        raise ArtifactError(f"{place}the process that opened it {describe_end(status)}", "crashed")


def run(artifact: Artifact, open_version: Callable[[Artifact], object], seconds: float) -> None:
    """Open an artifact in a child process and wait for its end. Raises `ArtifactError` if it fails.

    Raises `TransientError` if the system cannot start a process.

    A signal that ends this process ends the child too.
    """
    status = child.run(lambda: start(lambda: open_version(artifact), seconds))
    if status is not None:
        check(status, seconds, f"{artifact.path}: ")
