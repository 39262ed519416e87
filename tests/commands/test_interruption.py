"""Signals interrupt a command even if the exception of the handler is lost, and SIGTERM ends its process."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sentiment_conv1d.commands.interruption import check, interruptible, left_to_this_process, terminated
from tests.processes import PATIENCE, PROJECT, environment


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restore the signal handlers of the test process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores for background processes
    yield
    with interruptible():  # forgets the signals of the test
        pass
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_lost_exception(number: signal.Signals) -> None:
    """After a signal, the next check raises, even if the first exception was lost."""
    with interruptible():
        check()
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            check()
        assert terminated() == (number == signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_other_handlers(number: signal.Signals) -> None:
    """A signal stays ignored if a shell started the command so, and a handler of the command itself stays."""
    for handler in (signal.SIG_IGN, lambda *_: None):
        signal.signal(number, handler)
        with interruptible():
            signal.raise_signal(number)
            check()
        assert signal.getsignal(number) is handler


def test_repeated_sigterm() -> None:
    """A second SIGTERM does not interrupt the cleaning up after the first."""
    with interruptible():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)


def test_after_a_command() -> None:
    """The handlers of before come back."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with interruptible():
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signals_of_other_processes() -> None:
    """A process that starts in the block gets neither signal."""
    with left_to_this_process():
        process = subprocess.Popen(["cat", "/proc/self/status"], stdout=subprocess.PIPE, text=True)
    status, _ = process.communicate(timeout=PATIENCE)
    [blocked] = [line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:")]
    for number in (signal.SIGINT, signal.SIGTERM):
        assert int(blocked, 16) >> (number - 1) & 1
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}


#: A command that waits, and cleans up after a signal.
COMMAND = """
import argparse, os, sys, time
from sentiment_conv1d.commands import startup
from sentiment_conv1d.commands.running import run_command

def wait(options):
    try:
        os.write(1, b"waiting\\n")  # a signal in the middle of `print` could repeat the line
        while True:
            time.sleep(0.01)
    finally:
        print("cleaned up")

startup.begin()
sys.exit(run_command(argparse.ArgumentParser(), [], wait))
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_status(number: signal.Signals, status: int) -> None:
    """A command cleans up, then ends with 130 after Ctrl-C, and dies of SIGTERM, as other programs do."""
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND],
        cwd=PROJECT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        assert process.communicate(timeout=PATIENCE) == ("cleaned up\n", "interrupted: nothing was written\n")
        assert process.returncode == status
