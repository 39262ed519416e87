"""`import sentiment_conv1d`: the exported names, and what importing them loads."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import sentiment_conv1d
from sentiment_conv1d.service.version import package_version
from tests.processes import PROJECT, run


def test_names() -> None:
    """The package exports the names of `__all__`, in alphabetical order."""
    for name in sentiment_conv1d.__all__:
        assert getattr(sentiment_conv1d, name) is not None
    assert set(sentiment_conv1d.__all__) <= set(dir(sentiment_conv1d))
    assert sorted(sentiment_conv1d.__all__) == sentiment_conv1d.__all__
    assert sentiment_conv1d.__version__ == package_version()


def test_unknown_names() -> None:
    """An unknown name is an `AttributeError`."""
    with pytest.raises(AttributeError, match="module 'sentiment_conv1d' has no attribute 'predict'"):
        _ = sentiment_conv1d.predict  # type: ignore[attr-defined]


def test_modules_have_their_own_names() -> None:
    """No exported name hides a module or a folder of the package."""
    hidden = [name for name in sentiment_conv1d.__all__ if importlib.util.find_spec(f"sentiment_conv1d.{name}")]
    assert hidden == []


def test_light_import() -> None:
    """Importing the package imports nothing else that is not loaded already."""
    program = "import sys; before = set(sys.modules); import sentiment_conv1d; print(*set(sys.modules) - before)"
    assert run("-c", program).stdout.split() == ["sentiment_conv1d"]


def test_no_telemetry(tmp_path: Path) -> None:
    """ONNX Runtime, imported through the package, stores no telemetry in the user's home and no id of the machine."""
    finished = run("-c", "import sentiment_conv1d.inference.engine", HOME=str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    assert list(tmp_path.iterdir()) == []


def test_typed() -> None:
    """The package says that it has types (PEP 561)."""
    assert (PROJECT / "sentiment_conv1d" / "py.typed").read_text() == ""
