"""The names of a setting, its flag and its environment variable."""

from __future__ import annotations

ENVIRONMENT_PREFIX = "SENTIMENT_"


def flag(name: str) -> str:
    """Return the command line flag of a setting."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()


def named(name: str) -> str:
    """Return the flag of a setting, and its variable in parentheses, for messages."""
    return f"{flag(name)} ({variable(name)})"
