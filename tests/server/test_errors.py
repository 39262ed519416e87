"""The errors of requests."""

from __future__ import annotations

import pytest

from sentiment_conv1d.server.errors import MAX_MESSAGE_BYTES, RequestError


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ("x" * MAX_MESSAGE_BYTES, "x" * MAX_MESSAGE_BYTES),
        ("x" * 10**6, "x" * (MAX_MESSAGE_BYTES - 3) + "…"),
        ("\N{GRINNING FACE}" * 10**6, "\N{GRINNING FACE}" * 124 + "…"),
        ("\udcff.txt", "?.txt"),
    ],
    ids=["longest", "too long", "of four bytes", "surrogate"],
)
def test_messages(message: str, sent: str) -> None:
    """A message is valid UTF-8, and a long one is truncated."""
    assert RequestError(message).message == sent
