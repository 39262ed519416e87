"""Renders the templates in `templates/`. Each page is a self-contained HTML document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from loadtest.units import duration, number, rate

#: The cell of a number that was not measured.
NONE = "-"


def _or_none(value: Any, show: str = "number") -> str:
    """Format a value with the filter `show`, or return a dash if it is None."""
    return NONE if value is None else str(_ENVIRONMENT.filters[show](value))


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_ENVIRONMENT.filters |= {"duration": duration, "number": number, "rate": rate, "or_none": _or_none}


def render(template: str, **values: Any) -> str:
    """Render a template with values, whose text is escaped."""
    return _ENVIRONMENT.get_template(template).render(values)
