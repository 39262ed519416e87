"""TensorFlow is imported quietly, its objects are not searched for garbage, and Ctrl-C ends imports."""

import signal

import pytest

from tests.processes import run

PROGRAM = """
import gc
from sentiment_conv1d.commands.imports import import_tensorflow
import_tensorflow()
import tensorflow
print(gc.isenabled(), gc.get_freeze_count() > len(gc.get_objects()))
"""


INTERRUPTED = """
import contextlib, signal
from sentiment_conv1d.commands.imports import ended_at_once
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores for background processes
with ended_at_once(), contextlib.suppress(BaseException):
    signal.raise_signal(signal.SIG{})
    print("not reached")
"""

AFTERWARDS = """
import signal
from sentiment_conv1d.commands.imports import ended_at_once
signal.signal(signal.SIGINT, signal.SIG_IGN)
before = signal.getsignal(signal.SIGTERM)
with ended_at_once():
    signal.raise_signal(signal.SIGINT)
print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN, signal.getsignal(signal.SIGTERM) is before)
"""


@pytest.mark.parametrize(("name", "status"), [("INT", 130), ("TERM", -signal.SIGTERM)])
def test_interrupted_import(name: str, status: int) -> None:
    """A signal during an import ends the process, even if the import would drop an exception."""
    result = run("-c", INTERRUPTED.format(name))
    assert (result.returncode, result.stdout, result.stderr) == (status, "", "interrupted: nothing was written\n")


def test_handlers_after_an_import() -> None:
    """A signal that is ignored stays ignored, and the handlers of before come back."""
    assert run("-c", AFTERWARDS).stdout == "True True\n"


def test_import() -> None:
    """Nothing is logged, and the collector runs afterwards, but skips what was imported."""
    result = run("-c", PROGRAM)
    assert (result.stdout, result.stderr) == ("True True\n", "")
