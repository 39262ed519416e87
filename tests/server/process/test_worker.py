"""The heartbeat of a worker."""

from sentiment_conv1d.server.http.server import configure
from sentiment_conv1d.server.process.channel import pair
from sentiment_conv1d.server.process.worker import HEARTBEAT_SECONDS, Worker
from tests.server.grpc.caller import Loop


def test_busy_event_loop() -> None:
    """An event loop sends a heartbeat in every turn if its turns are long, and in no other turns."""
    loop, (supervisor, channel) = Loop(), pair()
    worker = Worker(configure(None), 0, channel, shutdown_timeout=0)
    worker._loop = loop
    beats: list[float] = []

    def listen() -> None:
        while (received := supervisor.receive()) is not None:
            assert received[0] == {"kind": "alive"}
            beats.append(loop.now)

    worker._send_heartbeat()
    listen()
    assert len(beats) == 1
    for seconds in (HEARTBEAT_SECONDS, 1.5, 9.0, 3600.0):
        loop.now += seconds
        loop.turn()
        listen()
        assert beats[-1] == loop.now
    for _ in range(3):
        loop.now += HEARTBEAT_SECONDS / 4
        loop.turn()
        listen()
    assert len(beats) == 5
    worker._heartbeat.cancel()
    loop.now += HEARTBEAT_SECONDS
    loop.turn()
    listen()
    assert len(beats) == 5
    loop.close()
    supervisor.close()
    channel.close()
