"""Rounds the numbers of JSON documents whose last digits depend on the processor or on the number of threads."""

from __future__ import annotations

import json
from typing import Any


def rounded(document: Any, places: int) -> Any:
    """Return a JSON document with all fractions rounded to so many decimals."""
    return json.loads(json.dumps(document), parse_float=lambda digits: round(float(digits), places))
