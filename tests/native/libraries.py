"""Compiles the native code, separately from that of the checkout."""

from __future__ import annotations

from pathlib import Path

from sentiment_conv1d.native.compilation import compile_library
from tests.programs import missing


def compiled(folder: Path, *flags: str) -> Path:
    """Return a new library. Skips the test if there is no compiler."""
    target = folder / "library.so"
    if problem := compile_library(target, flags):
        assert problem == "there is no C++ compiler"
        missing("C++ compiler")
    return target
