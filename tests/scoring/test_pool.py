"""The processes of the pool share the memory of the session, unless forking them would be unsafe."""

from __future__ import annotations

import pytest

from tests.processes import MODEL_REPOSITORY, run

#: Starts a pool of two processes. Prints how they started, and how much of the memory of one is not shared.
_PROGRAM = """
import multiprocessing, sys, threading
import sentiment_conv1d.service
from sentiment_conv1d.scoring.pool import Pool
from sentiment_conv1d.scoring.session import Session
from tests.proc import proportional_megabytes

if __name__ == "__main__":
    ended = threading.Event()
    if "thread" in sys.argv:
        threading.Thread(target=ended.wait).start()
    with Pool(Session(sys.argv[1], threads=int(sys.argv[2])), 2):
        process = multiprocessing.active_children()[0]
        private, resident = (proportional_megabytes(process.pid, *fields) for fields in (["Private_"], ["Rss:"]))
        print(type(process).__name__, private / resident)
    ended.set()
"""


def start(*arguments: str) -> list[str]:
    """Run the program and return what it prints."""
    ended = run("-c", _PROGRAM, str(MODEL_REPOSITORY / "imdb-cnn" / "1"), *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def test_shared_memory() -> None:
    """The processes are forked, and share most of their memory."""
    started, private = start("1")
    assert started == "_Forked"
    assert float(private) < 0.2


@pytest.mark.parametrize("arguments", [["2"], ["1", "thread"]], ids=["session", "process"])
def test_threads(arguments: list[str]) -> None:
    """If the session or this process has threads, no process is forked, because it would lack them."""
    assert start(*arguments)[0] == "_Spawned"


#: Sends signals to the processes of a pool before and after they have started, and scores with them.
_SIGNALLED = """
import multiprocessing, os, signal, sys
from types import SimpleNamespace
from sentiment_conv1d.scoring.pool import Pool
from sentiment_conv1d.scoring.session import Session

def signalled():
    for process in multiprocessing.active_children():
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(process.pid, number)

if __name__ == "__main__":
    with Pool(Session(sys.argv[1], threads=int(sys.argv[2])), 2) as pool:
        signalled()
        for batch, columns in pool.score(SimpleNamespace(texts=["good"]) for _ in range(9)):
            signalled()
            print("scored")
"""


@pytest.mark.parametrize("threads", ["1", "2"], ids=["forked", "spawned"])
def test_signals(threads: str) -> None:
    """The processes leave Ctrl-C and SIGTERM to the main process: none ends with a lock that the others need."""
    ended = run("-c", _SIGNALLED, str(MODEL_REPOSITORY / "imdb-cnn" / "1"), threads)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(ended.stdout.splitlines()) == 9


_LIMITED = """
import os, sys
from sentiment_conv1d.tables import DataError
from sentiment_conv1d.scoring.pool import Pool
from sentiment_conv1d.scoring.session import Session

if __name__ == "__main__":
    fork, pids = os.fork, []

    def limited():
        if pids:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        pids.append(fork())
        return pids[0]

    os.fork = limited
    try:
        Pool(Session(sys.argv[1]), 3)
    except DataError as error:
        print(error)
"""


def test_limit_of_processes() -> None:
    """If not all processes can be started, the error says what helps, and the others do not outlive the command."""
    ended = run("-c", _LIMITED, str(MODEL_REPOSITORY / "imdb-cnn" / "1"))
    assert "Resource temporarily unavailable); --workers 1 needs none" in ended.stdout
