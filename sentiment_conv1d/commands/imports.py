"""Import large libraries, such as TensorFlow, without searching their objects for garbage."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from sentiment_conv1d.commands.startup import end_at_once


@contextmanager
def uncollected() -> Iterator[None]:
    """Exclude what exists at the end of the block from garbage collection, and do not collect within it.

    Imported objects are never freed, so the collector need not search them for cycles, neither now nor later.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def ended_at_once() -> Iterator[None]:
    """End this process at Ctrl-C, with status 130, and SIGTERM, for imports before anything was written.

    Imports drop exceptions such as `KeyboardInterrupt`, or raise others in their place.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, end_at_once) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def import_tensorflow() -> None:
    """Import TensorFlow without its start-up messages, in two thirds of the time that `import tensorflow` takes.

    Commands call it once they need TensorFlow, before they import a module that uses it.

    TensorFlow's C++ code logs harmless conditions as errors, for example an attribute that its own graph rewriting left
    behind. Real errors still raise exceptions, and fatal errors are still logged.

    The function also disables oneDNN's kernels. With them, the sums and so the trained weights differ more between
    machines, and a network of this size does not train faster.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # Keras' exporter looks up an alias that NumPy 2.5 announces for the future.
    warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
    with ended_at_once(), uncollected():
        import_module("keras")
