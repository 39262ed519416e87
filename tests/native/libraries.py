"""Compiles the native code, separately from that of the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentiment_conv1d.native.compilation import compile_library


def compiled(folder: Path, *flags: str) -> Path:
    """Return a new library. Skips the test if there is no compiler."""
    target = folder / "library.so"
    if problem := compile_library(target, flags):
        assert problem == "there is no C++ compiler"
        pytest.skip(problem)
    return target
