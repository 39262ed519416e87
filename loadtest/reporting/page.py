"""The pages of a report, from the templates in `templates/`: each is one HTML document that needs no other file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from loadtest.units import duration, number, rate

#: Stands in a table for a number that was not measured.
NONE = "-"


def _or_none(value: Any, show: str = "number") -> str:
    """The value as the filter `show` formats it, or a dash if it is None."""
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
    """The page that a template makes of the values; text in them is escaped."""
    return _ENVIRONMENT.get_template(template).render(values)
