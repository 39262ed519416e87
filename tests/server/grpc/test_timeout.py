"""`grpc-timeout` is read in each of its six units."""

from __future__ import annotations

import pytest

from sentiment_conv1d.server.errors import Malformed
from sentiment_conv1d.server.grpc.timeout import seconds_of


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(b"2H", 7200), (b"2M", 120), (b"2S", 2), (b"2m", 0.002), (b"2u", 2e-6), (b"99999999n", 0.099999999)],
)
def test_units(timeout: bytes, seconds: float) -> None:
    """Hours, minutes, seconds, milliseconds, microseconds and nanoseconds become seconds."""
    assert seconds_of(timeout) == pytest.approx(seconds)


@pytest.mark.parametrize("timeout", [b"", b"2", b"S", b"2s", b"-2S", b"2.5S", b"100000000S", b"2S ", "²S".encode()])
def test_malformed(timeout: bytes) -> None:
    """A value without one to eight digits and a unit is refused."""
    with pytest.raises(Malformed, match=r"grpc-timeout .* is not valid"):
        seconds_of(timeout)
