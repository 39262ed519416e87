"""Headers of requests."""

import pytest

from sentiment_conv1d.server.http.headers import content_length


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ({}, None),
        ({b"content-length": b"0"}, 0),
        ({b"content-length": b"12"}, 12),
        ({b"content-length": b"0" * 5000 + b"12"}, 12),
    ],
)
def test_content_length(fields: dict[bytes, bytes], length: int | None) -> None:
    """Leading zeros do not change a length, however many there are."""
    assert content_length(fields) == length
