"""Messages and connections between the supervisor and a worker."""

import socket
from functools import partial

from sentiment_conv1d.server.process.channel import Channel, pair


def test_messages_arrive_one_by_one() -> None:
    """Each message is received as it was sent, in order, and nothing follows the last one."""
    first, second = pair()
    first.send("order", action="load", name="imdb-cnn")
    first.send("ready")
    assert second.receive() == ({"kind": "order", "action": "load", "name": "imdb-cnn"}, None)
    assert second.receive() == ({"kind": "ready"}, None)
    assert second.receive() is None
    first.close()
    second.close()


def test_a_connection_is_handed_over() -> None:
    """The receiver can use a connection after the sender has closed it."""
    first, second = pair()
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            first.send("connection", theirs.fileno())
        received = second.receive()
        assert received is not None and received[1] is not None
        with socket.socket(fileno=received[1]) as connection:
            connection.sendall(b"hello")
        assert ours.recv(16) == b"hello"
    first.close()
    second.close()


def test_closed_channel() -> None:
    """A process notices that the other end is closed when it sends or receives."""
    for notice in (Channel.receive, partial(Channel.send, kind="ready")):
        first, second = pair()
        first.close()
        assert not second.closed
        assert not notice(second)
        assert second.closed
        second.close()


def test_a_full_channel_does_not_block() -> None:
    """Sending to a receiver that does not read fails instead of blocking."""
    first, second = pair()
    assert not all(first.send("closed", count=1) for _ in range(100_000))
    assert not first.closed
    first.close()
    second.close()
