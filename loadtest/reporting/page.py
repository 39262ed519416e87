"""Renders the templates in `templates/` as self-contained pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from loadtest.units import callers, duration, number, rate
from sentiment_conv1d.commands.page import page, table

#: The cell of a number that was not measured.
NONE = "-"

_TEMPLATES = Path(__file__).parent / "templates"


def _or_none(value: Any, show: str = "number") -> str:
    """Format a value with the filter `show`, or return a dash if it is None."""
    return NONE if value is None else str(_ENVIRONMENT.filters[show](value))


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_TEMPLATES),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_ENVIRONMENT.filters |= {
    "callers": callers,
    "duration": duration,
    "number": number,
    "rate": rate,
    "or_none": _or_none,
}
_ENVIRONMENT.globals["table"] = lambda *arguments: Markup(table(*arguments))  # noqa: S704 - it escapes the cells


def render(template: str, title: str, **values: Any) -> str:
    """Render a template with values, whose text is escaped."""
    body = _ENVIRONMENT.get_template(template).render(values)
    return page(title, body, (_TEMPLATES / "page.css").read_text(encoding="utf-8"))
