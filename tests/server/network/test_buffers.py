"""The limit on the memory of requests."""

import pytest

from sentiment_conv1d.server.errors import Overloaded
from sentiment_conv1d.server.network.buffers import Buffers, Charge


def test_charges_share_one_limit() -> None:
    """Requests together stay within the limit, and released bytes are available to others."""
    buffers = Buffers(100)
    first, second = Charge(buffers), Charge(buffers)
    first.add(60)
    second.add(40)
    for charge in (first, second):
        with pytest.raises(Overloaded):
            charge.add(1)
    first.release()
    first.release()
    third = Charge(buffers)
    third.add(60)
    with pytest.raises(Overloaded):
        third.add(1)


def test_bytes_that_cannot_be_refused() -> None:
    """Bytes that cannot be refused count even beyond the limit."""
    buffers = Buffers(100)
    buffers.add(150)
    with pytest.raises(Overloaded):
        buffers.hold(1)
    buffers.add(-50)
    buffers.add(-50)
    assert buffers.hold(50) == 50
