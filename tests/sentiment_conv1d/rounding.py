"""Rounds numbers that depend on how NumPy's linear algebra divides its work between threads."""

from __future__ import annotations

import json
from typing import Any


def rounded(document: Any) -> Any:
    """Return a JSON document with all fractions rounded to six places."""
    return json.loads(json.dumps(document), parse_float=lambda digits: round(float(digits), 6))
