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


def test_reserved_bytes() -> None:
    """Bytes are reserved until the end of the block, also if the request ends before."""
    buffers = Buffers(100)
    charge = Charge(buffers)
    charge.add(10)
    with charge.reserve(60):
        assert buffers.held == 70
        with pytest.raises(Overloaded), charge.reserve(31):
            pass
    assert buffers.held == 10
    with charge.reserve(60):
        charge.release()
    assert buffers.held == charge.held == 0


def test_bytes_that_cannot_be_refused() -> None:
    """Bytes that cannot be refused count even beyond the limit."""
    buffers = Buffers(100)
    buffers.add(150)
    with pytest.raises(Overloaded):
        buffers.hold(1)
    buffers.add(-50)
    buffers.add(-50)
    assert buffers.hold(50) == 50


def test_room_for_a_caller_that_holds_little() -> None:
    """At the limit, the latest requests of the caller that holds most are ended for one that holds little."""
    buffers, ended = Buffers(1_000_000), []

    def evict(charge: Charge) -> bool:
        ended.append(charge)
        return True

    charges = [Charge(buffers, "most", evict) for _ in range(9)]
    for charge in charges:
        charge.add(100_000)
    other = Charge(buffers, "other", evict)
    other.add(300_000)
    assert ended == [charges[8], charges[7]] and buffers.held == 1_000_000
    with pytest.raises(Overloaded):
        other.add(100_000)  # it would hold more than half as much
    with pytest.raises(Overloaded):
        charges[0].add(1)
    assert len(ended) == 2
    for charge in (*charges, other):
        charge.release()
    assert buffers.held == 0 and not buffers._large


def test_requests_that_cannot_be_ended() -> None:
    """A request that runs, or is small, is not ended."""
    buffers, asked = Buffers(1_000_000), []

    def evict(charge: Charge) -> bool:
        asked.append(charge)
        return charge is waiting

    waiting, running = Charge(buffers, "most", evict), Charge(buffers, "most", evict)
    waiting.add(500_000)
    running.add(300_000)
    small = [Charge(buffers, "most", evict) for _ in range(4)]
    for charge in small:
        charge.add(50_000)
    Charge(buffers, "other").add(100_000)
    assert asked == [running, waiting]
    with pytest.raises(Overloaded):
        Charge(buffers, "other").add(500_000)


def test_charge_of_another_caller() -> None:
    """The bytes of a request that shows a key belong to the key's caller."""
    buffers = Buffers(1_000_000)
    first, second = Charge(buffers, "address", lambda charge: True), Charge(buffers, "address", lambda charge: True)
    first.add(500_000)
    second.add(500_000)
    second.assign("key nightly")
    with pytest.raises(Overloaded):
        Charge(buffers, "address").add(1)
    with pytest.raises(Overloaded):
        Charge(buffers, "key nightly").add(1)
    first.assign("key nightly")
    Charge(buffers, "address").add(1)
    assert (first.held, second.held) == (0, 500_000)


def test_bytes_of_a_connection() -> None:
    """Bytes that are in use replace those before them, whoever held these."""
    buffers = Buffers(100)
    unsent = Charge(buffers)
    unsent.replace(150, "first")
    unsent.replace(60, "second")
    assert buffers.held == 60
    unsent.release()
    assert buffers.held == 0
