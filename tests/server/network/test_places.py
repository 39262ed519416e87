"""Who gets a place, and who gives up theirs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sentiment_conv1d.server.network.places import Connection, Places


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return the two ends of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class Held:
    """A connection that has a number in place of a name."""

    def __init__(self, number: int, end: socket.socket) -> None:
        self.number = number
        self.idle_until: float | None = None
        self.running = False
        extra = {"socket": end}
        self.transport = SimpleNamespace(get_extra_info=extra.get)


def hold(places: Places, end: socket.socket, *addresses: str) -> list[Any]:
    """Give every address a place for a new connection, and return these."""
    connections = [Held(number, end) for number in range(len(addresses))]
    for connection, address in zip(connections, addresses, strict=True):
        places.add(cast(Connection, connection), address)
    return connections


def replaced(places: Places, address: str = "new") -> int | None:
    """Let a newcomer from an address replace a connection, and return the number of this one."""
    found: Any = places.replaceable(address, lambda connection: connection.running)
    if found is None:
        return None
    assert places.remove(found)
    return int(found.number)


@pytest.mark.parametrize(
    ("count", "kept"), [(2, 1), (3, 1), (20, 10), (32, 16), (255, 16), (256, 16), (512, 32), (2048, 128)]
)
def test_kept_places(count: int, kept: int, ends: tuple[socket.socket, socket.socket]) -> None:
    """A sixteenth of the places, at least 16 and at most half of them, is not given to admitted connections."""
    places = Places(count, guarded=True)
    for connection in hold(places, ends[0], *[""] * count):
        if places.full_of_admitted:
            break
        places.admit(connection)
    assert connection.number == count - kept
    assert places.full


def test_strangers(ends: tuple[socket.socket, socket.socket]) -> None:
    """If the service is guarded, the longest-held stranger is replaced, whatever it does, and never an admitted one."""
    places = Places(4, guarded=True)
    held = hold(places, ends[0], *"abcc")
    for connection in (held[0], held[2]):
        places.admit(connection)
    held[1].running = True
    held[0].idle_until = held[2].idle_until = 0.0
    assert [replaced(places) for _ in range(3)] == [1, 3, None]
    assert len(places) == 2


def test_no_admission_without_keys(ends: tuple[socket.socket, socket.socket]) -> None:
    """If the service is not guarded, no connection is protected, and all places can be taken by those that ask."""
    places = Places(2, guarded=False)
    held = hold(places, ends[0], "a", "a")
    places.admit(held[0])
    places.admit(held[1])
    assert not places.full_of_admitted
    assert replaced(places) == 0


def test_address_with_the_most_places(ends: tuple[socket.socket, socket.socket]) -> None:
    """Without keys, the address with the most connections gives up its longest-held one without a running request."""
    places = Places(8, guarded=False)
    held = hold(places, ends[0], *"abbbcc")
    held[1].running = True
    assert [replaced(places) for _ in range(6)] == [2, 3, 4, 0, 5, None]


def test_newcomer_counts_for_its_address(ends: tuple[socket.socket, socket.socket]) -> None:
    """Without keys, a newcomer does not replace a connection of an address that has fewer than its own."""
    places = Places(4, guarded=False)
    held = hold(places, ends[0], *"aabb")
    assert replaced(places, "b") == 2
    places.add(held[2], "b")
    assert replaced(places, "a") == 0
    places.add(held[0], "a")
    held[0].running = held[1].running = True
    assert replaced(places, "a") is None
    assert replaced(places, "b") == 3


def test_half_of_the_places(ends: tuple[socket.socket, socket.socket]) -> None:
    """Without keys, an address that holds all places has half of them left when another one has asked often enough."""
    places = Places(8, guarded=False)
    hold(places, ends[0], *["a"] * 8)
    for number in range(20):
        for address in "ba":
            assert replaced(places, address) is not None
            places.add(cast(Connection, Held(number, ends[0])), address)
    assert (places.held_by("a"), places.held_by("b")) == (4, 4)


def admitted(end: socket.socket, *idle_until: float | None) -> tuple[Places, list[Any]]:
    """Return places that are full of admitted connections with these times."""
    places = Places(2 * len(idle_until), guarded=True)
    connections = hold(places, end, *[""] * len(idle_until))
    for connection, until in zip(connections, idle_until, strict=True):
        places.admit(connection)
        connection.idle_until = until
    assert places.full_of_admitted
    return places, connections


def least_active(places: Places) -> int | None:
    """Replace the least recently active connection, and return its number."""
    found: Any = places.least_active()
    if found is None:
        return None
    places.remove(found)
    return int(found.number)


def test_least_recently_active(ends: tuple[socket.socket, socket.socket]) -> None:
    """Admitted connections are replaced in the order of their activity, also since the last one was replaced."""
    places, held = admitted(ends[0], 5, 3, None, 4, 2)
    assert least_active(places) == 4
    held[1].idle_until = 9
    held[2].idle_until = 8
    held[3].idle_until = None
    assert [least_active(places) for _ in range(3)] == [0, 2, 1]
    assert least_active(places) is None
    held[3].idle_until = 10
    assert least_active(places) == 3


def test_lost_connection_is_not_replaced(ends: tuple[socket.socket, socket.socket]) -> None:
    """A connection that is lost after a search has found it idle gives up its place once."""
    places, held = admitted(ends[0], 1, 2, 3)
    assert least_active(places) == 0
    assert places.remove(held[1])
    assert not places.remove(held[1])
    assert least_active(places) == 2


def test_unread_bytes(ends: tuple[socket.socket, socket.socket]) -> None:
    """An admitted connection with bytes that are not read yet is not replaced, because they can be a request."""
    ours, theirs = ends
    places, _ = admitted(ours, 1)
    theirs.sendall(b"x")
    assert least_active(places) is None
    ours.recv(1)
    assert least_active(places) == 0
