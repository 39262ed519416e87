"""A child process ends at its deadline, with its parent, and keeps no other descriptor."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial

import pytest

from sentiment_conv1d.server.process import child
from tests.processes import PATIENCE, PROJECT


def sleep() -> None:
    """Do nothing until the process is killed."""
    time.sleep(PATIENCE)


def test_deadline() -> None:
    """The kernel kills a child at its deadline, which the child can move."""

    def move() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        sleep()

    for work, seconds in ((sleep, 0.01), (move, PATIENCE)):
        status = child.run(partial(child.start, work, seconds))
        assert status is not None and os.WTERMSIG(status) == signal.SIGALRM


def test_exception() -> None:
    """A child whose work fails has status 1."""
    assert child.run(partial(child.start, lambda: 1 / 0, PATIENCE)) == 1 << 8


@pytest.mark.parametrize("gives_up", [True, False])
def test_patience(gives_up: bool) -> None:
    """After a time the caller kills the child, or waits for its end."""
    reader, writer = os.pipe()
    asked: list[bool] = []

    def give_up() -> bool:
        asked.append(gives_up)
        os.write(writer, b"x")
        return gives_up

    work = sleep if gives_up else partial(os.read, reader, 1)
    assert child.run(partial(child.start, work, PATIENCE, reader), 0.01, give_up) == (None if gives_up else 0)
    assert asked == [gives_up]
    os.close(reader)
    os.close(writer)


def test_signal() -> None:
    """A signal that ends the caller ends the child first."""
    script = f"""
import os, signal
from functools import partial
from sentiment_conv1d.server.process import child

signal.signal(signal.SIGINT, signal.default_int_handler)
pids = []

def begin():
    pids.append(child.start(partial(os.kill, os.getpid(), signal.SIGINT), {PATIENCE}))
    pids.append(child.start(signal.pause, {PATIENCE}))
    return pids[1]

try:
    child.run(begin)
except KeyboardInterrupt:
    os.waitpid(pids[0], 0)
    os.kill(pids[1], 0)
"""
    # It has no other threads, which would get the signal in place of the caller.
    ended = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1] == "ProcessLookupError: [Errno 3] No such process"


def test_descriptors() -> None:
    """A child keeps only one descriptor, so that no peer of a connection waits for it."""
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    pid = child.start(sleep, PATIENCE, writer)
    theirs.close()
    assert ours.recv(1) == b""
    os.close(writer)
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):  # the child has the other end
        os.read(reader, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reader)
    ours.close()
