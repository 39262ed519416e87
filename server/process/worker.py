"""One worker process: an event loop that serves the connections which the supervisor sends, until it has to leave."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Generator, Mapping
from typing import Any

import uvicorn

from sentiment_conv1d.server.network.listener import Listener
from sentiment_conv1d.server.network.turns import Turns
from sentiment_conv1d.server.process.channel import Channel
from sentiment_conv1d.server.process.heap import Heap

logger = logging.getLogger(__name__)

#: Messages that are read per turn of the event loop, so that requests are handled in between.
_MESSAGE_BATCH = 64

#: The longest time that another thread holds Python's lock while the event loop waits for it, which can happen in every
#: turn. Python's default is 5 ms.
_SWITCH_SECONDS = 0.0005

#: Seconds after the shutdown timeout for the errors of unfinished requests to be sent. The supervisor waits longer.
_REJECTION_SECONDS = 4.0

#: Seconds between two heartbeats of an event loop that is not busy.
HEARTBEAT_SECONDS = 0.5

#: How often `on_tick` is called.
_TICKS_PER_SECOND = 10


class Worker(uvicorn.Server):
    """Uvicorn with connections from the supervisor and a graceful shutdown.

    A subclass is the application: it overrides `open`, and what else it needs. At shutdown the worker stops being ready
    at once, leaves after the drain delay, finishes running requests, and ends with exit status 0.
    """

    def __init__(self, config: uvicorn.Config, number: int, channel: Channel, shutdown_timeout: float) -> None:
        super().__init__(config)
        self.number = number
        self.channel = channel
        self._shutdown_timeout = shutdown_timeout
        self._listeners: Mapping[str, Listener] = {}

    async def open(self, turns: Turns) -> Mapping[str, Listener]:
        """Return the listener of every protocol, after everything that requests need is ready."""
        raise NotImplementedError

    def message_received(self, message: dict[str, Any], descriptor: int | None) -> None:
        """Handle a message of the application's `Control`, and close its descriptor."""

    def progresses(self) -> bool:
        """Return whether other threads make progress. Otherwise the supervisor replaces the worker."""
        return True

    def is_idle(self) -> bool:
        """Return whether no request is in progress."""
        return not self.server_state.tasks

    def tick(self) -> None:
        """Called ten times a second."""

    def every_second(self) -> None:
        """Called about once a second."""

    def drain(self) -> None:
        """Answer requests as before, but fail health checks."""

    def stop_listening(self) -> None:
        """Called when the last connection has arrived."""

    def reject_unfinished(self) -> None:
        """Answer requests that have not ended with an error: the time for shutdown is over."""

    async def close(self) -> None:
        """Called when all connections are closed."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the application, listen to the supervisor, and report ready."""
        self._loop = asyncio.get_running_loop()
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._listeners = await self.open(Turns(self._loop))
        self._loop.add_reader(self.channel.fileno(), self._read_channel)
        self._heap = Heap()
        self.channel.send("ready")
        self._send_heartbeat()
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; returns whether it is time to leave."""
        self._report_closed()
        self.tick()
        if counter % _TICKS_PER_SECOND == 0:
            now = self._loop.time()
            for listener in self._listeners.values():
                listener.enforce_timeouts(now)
            self.every_second()
            self._heap.trim(now, idle=self.is_idle())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the requests that are running or being read.

        After the shutdown timeout, requests that have not ended get an error.
        """
        self.stop_listening()
        await self._close_listeners(self._shutdown_timeout)
        self.reject_unfinished()
        await self._close_listeners(_REJECTION_SECONDS)
        for listener in self._listeners.values():
            listener.abort()
        self._loop.remove_reader(self.channel.fileno())
        self._heartbeat.cancel()
        for running in self.server_state.tasks:
            running.cancel()
        await self.close()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Ignore signals, which the whole process group may get: the supervisor tells workers when to leave."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        yield

    def leave(self) -> None:
        """Shut down. The supervisor has sent its last connection."""
        self.drain()
        self.should_exit = True

    def _send_heartbeat(self) -> None:
        """Show the supervisor that the event loop makes progress: in its first turn after every half second.

        A timer of the event loop needs one turn, however long it takes. A task that sleeps, or a count of ticks, needs
        several, so that a worker whose turns take a second would seem to hang.
        """
        if self.progresses():
            self.channel.send("alive")
        self._heartbeat = self._loop.call_later(HEARTBEAT_SECONDS, self._send_heartbeat)

    def _read_channel(self) -> None:
        """Read what the supervisor sent. Leave if the supervisor is gone."""
        for _ in range(_MESSAGE_BATCH):
            if any(listener.busy for listener in self._listeners.values()):
                break
            received = self.channel.receive()
            if received is None:
                if self.channel.closed:
                    logger.error("worker %d: the supervisor is gone", self.number)
                    self._loop.remove_reader(self.channel.fileno())
                    self.leave()
                break
            self._handle(*received)
        self._report_closed()

    def _handle(self, message: dict[str, Any], descriptor: int | None) -> None:
        match message["kind"]:
            case "connection":
                listener = self._listeners[message["protocol"]]
                if descriptor is None:  # this process has no free file descriptor
                    listener.closed += 1
                else:
                    listener.accept(socket.socket(fileno=descriptor))
            case "drain":
                self.drain()
            case "leave":
                self.leave()
            case _:
                self.message_received(message, descriptor)

    def _report_closed(self) -> None:
        """Tell the supervisor how many of the connections that it handed out are closed."""
        for protocol, listener in self._listeners.items():
            if listener.closed and self.channel.send("closed", protocol=protocol, count=listener.closed):
                listener.closed = 0

    async def _close_listeners(self, seconds: float) -> None:
        await asyncio.gather(*(listener.close(seconds) for listener in self._listeners.values()))
