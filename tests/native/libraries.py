"""Compiles the native code, separately from that of the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentiment_conv1d.native.compilation import compile_library, find_compiler


def compiler() -> list[str]:
    """Return the command of the C++ compiler. Without one, skip the test, even if CI is set: the code is optional."""
    if not (command := find_compiler()):
        pytest.skip("this machine has no C++ compiler")
    return command


def compiled(folder: Path, *flags: str) -> Path:
    """Return a new library. Skips the test if there is no compiler."""
    compiler()
    target = folder / "library.so"
    assert compile_library(target, flags) == ""
    return target
