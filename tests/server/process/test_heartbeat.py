"""The sign of life of a worker."""

from sentiment_conv1d.server.process.heartbeat import SECONDS, Heartbeat
from tests.server.grpc.caller import Loop


def test_busy_event_loop() -> None:
    """An event loop gives a sign of life in every turn if its turns are long, and in no other turns."""
    loop, beats = Loop(), []
    heartbeat = Heartbeat(loop, lambda: beats.append(loop.now))
    for seconds in (SECONDS, 1.5, 9.0, 3600.0):
        loop.now += seconds
        loop.turn()
        assert beats[-1] == loop.now
    for _ in range(3):
        loop.now += SECONDS / 4
        loop.turn()
    assert len(beats) == 5
    heartbeat.stop()
    loop.now += SECONDS
    loop.turn()
    assert len(beats) == 5
    loop.close()
