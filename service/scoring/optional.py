"""Parquet, where pyarrow is installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from service.scoring.errors import ScoringError


def import_parquet() -> Any:
    """The module `service.scoring.parquet`. Raises `ScoringError` where pyarrow is not installed."""
    try:
        return import_module("service.scoring.parquet")
    except ImportError as error:
        raise ScoringError(
            "reading or writing Parquet needs pyarrow, install the `parquet` extra "
            "(`pip install --require-hashes -r requirements/parquet.txt`)"
        ) from error
