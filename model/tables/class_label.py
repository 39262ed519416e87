"""`ClassLabel`, the type of labels in Hugging Face's `datasets`: integers with names."""

from __future__ import annotations

from typing import Any


def class_names(features: Any, column: str) -> tuple[str, ...] | None:
    """Return the names of a column's `ClassLabel`, in the order of their integers; None if the column is not one.

    `features` describes the columns as `datasets.Features.to_dict` does. Raises `LookupError` or `TypeError` if its
    structure is another one.
    """
    feature = features[column]
    return tuple(map(str, feature["names"])) if feature["_type"] == "ClassLabel" else None
