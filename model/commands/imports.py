"""Import modules without searching their objects for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
