"""The base class of all errors whose message is meant for the person who runs a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class SentimentError(Exception):
    """An error that the caller can fix. Commands print its message without a traceback, and exit with status 2.

    The commands of the service exit with another status if the cause can pass by itself.
    """


class TransientError(SentimentError):
    """A command cannot succeed now, but the same command can succeed later."""


@contextmanager
def about_files() -> Iterator[None]:
    """Raise what the system says about a file, such as one in a folder without permission, as a `SentimentError`."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise SentimentError(f"{error.filename}: {error.strerror}") from error


def one_line(error: SentimentError) -> str:
    """Return the message without line breaks, which file names and messages of other libraries may contain."""
    return " ".join(str(error).split())
