"""Without a usable compiler, a build goes on without the library."""

from pathlib import Path

import pytest

from sentiment_conv1d.native.compilation import compile_library


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler, or with one that fails, there is no library and no other file, and the reason is known."""
    for compiler, reason in (
        ("", "there is no C++ compiler"),
        ("absent", "there is no C++ compiler"),
        ("false", "false failed"),
    ):
        monkeypatch.setenv("CXX", compiler)
        assert reason in compile_library(tmp_path / "library.so")
    assert not list(tmp_path.iterdir())
