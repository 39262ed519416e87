"""The project's own version."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def package_version() -> str:
    """The version of the installed package, or a word for a checkout that is not installed."""
    try:
        return version("sentiment-conv1d")
    except PackageNotFoundError:
        return "development"
