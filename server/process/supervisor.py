"""The supervisor process: starts and replaces workers, distributes connections and passes on their messages.

The application is loaded before the fork, so that workers share its memory and start at once. The supervisor accepts
every connection and sends it to the worker with the fewest connections. If workers accepted from one socket or port,
chance would distribute the connections. After that, only the worker handles the connection.
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import selectors
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Literal

from sentiment_conv1d.server.network.sockets import ListeningSocket
from sentiment_conv1d.server.process.channel import Channel, pair
from sentiment_conv1d.server.process.control import Control
from sentiment_conv1d.server.process.worker_process import WorkerProcess, describe_end

logger = logging.getLogger(__name__)

#: Collections of young objects between two full ones. More frequent full collections would stop a worker for 0.1 s
#: again and again while a thousand connections begin requests, and would find nothing: requests are in no reference
#: cycles. `Heap` collects too.
_YOUNG_COLLECTIONS = 1000

#: Seconds a worker may take to report that it is ready.
START_TIMEOUT = 60.0

#: A worker that dies sooner after its start is replaced after a pause, to avoid a fork loop.
_STABLE_SECONDS = 5.0
_PAUSE_SECONDS = 1.0

#: Workers send a heartbeat every half second. A worker that is silent for longer than this gets no new connections
#: if other workers can take them.
_SILENT_SECONDS = 2.0

#: Seconds between two checks of the workers. If a check is much later, the whole container was stopped for a while,
#: including the supervisor and the workers.
_CHECK_SECONDS = 1.0
_STOPPED_SECONDS = 3.0

#: Seconds between two checks while a message, a connection or a replacement waits.
_WAIT_SECONDS = 0.01

#: Seconds between the end of listening and the end of accepting, for TCP handshakes in progress to complete.
_SETTLE_SECONDS = 0.2

#: Connections that are accepted in a row before the supervisor handles other events.
_ACCEPT_BATCH = 64

#: Seconds after the workers' shutdown timeout until they are killed.
_KILL_MARGIN = 5.0


@dataclass(eq=False)
class _Acceptor:
    """A listening socket, and an accepted connection that no worker could take yet."""

    protocol: str
    listener: ListeningSocket
    paused_until: float = 0.0
    pending: socket.socket | None = None

    def close(self) -> None:
        """Close the socket. Connections in its queue are lost."""
        self.listener.socket.close()
        if self.pending is not None:
            self.pending.close()


@dataclass(eq=False)
class Supervisor:
    """Runs the workers, from the first fork to the end of the last worker.

    Shutdown has two phases, and each worker gets a message at the start of each. In `drain` requests are answered as
    before while health checks fail. `leave` follows when all connections have been handed to the workers.
    """

    work: Callable[[int, Channel], None]
    number_of_workers: int
    listeners: Mapping[str, ListeningSocket]
    control: Control
    ready: Callable[[], None]
    worker_seconds: float = 10.0  # without a heartbeat, after which a worker is replaced
    shutdown_seconds: float = 30.0  # for running requests to end
    drain_seconds: float = 0.0  # from SIGTERM until the workers leave

    def __post_init__(self) -> None:
        self._acceptors = [_Acceptor(protocol, listener) for protocol, listener in self.listeners.items()]
        self._workers: dict[int, WorkerProcess] = {}  # by process id
        self._selector = selectors.DefaultSelector()
        self._forks = dict.fromkeys(range(self.number_of_workers), 0.0)  # the workers to start, and when
        self._signals: list[int] = []
        self._phase: Literal["", "drain", "leave"] = ""
        self._leave_at = self._kill_at = float("inf")
        self._settled_at: float | None = None
        self._checked_at = monotonic()
        self._next_second = 0.0
        self._failed = False
        self._was_ready = False

    def run(self) -> bool:
        """Start, watch and stop the workers. Returns False if a worker could not start."""
        self.control.start(self._workers)
        wake_reader, wake_writer = socket.socketpair()
        wake_reader.setblocking(False)
        wake_writer.setblocking(False)
        signal.set_wakeup_fd(wake_writer.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda received, frame: self._signals.append(received))
        self._selector.register(wake_reader, selectors.EVENT_READ)
        # Objects that exist now are never freed. The collector must not write to their pages, so that they stay shared.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*gc.get_threshold()[:2], _YOUNG_COLLECTIONS)
        while self._workers or self._forks:
            now = monotonic()
            self._handle_time(now)
            self._update_listening(now)
            waiting = self._phase or self._forks or any(acceptor.paused_until > now for acceptor in self._acceptors)
            for key, _ in self._selector.select(_WAIT_SECONDS if waiting else _CHECK_SECONDS):
                if key.fileobj is wake_reader:
                    wake_reader.recv(4096)
                elif isinstance(key.data, _Acceptor):
                    self._accept(key.data)
                else:
                    self._on_message(key.data)
            self._handle_signals()
        return not self._failed

    def _fork(self, number: int) -> None:
        ours, theirs = pair()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            ours.close()
            self._become(number, theirs)
        theirs.close()
        worker = WorkerProcess(number, pid, ours)
        self._workers[pid] = worker
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _become(self, number: int, channel: Channel) -> None:
        """Run a worker in the forked process, without anything of the supervisor's."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            for worker in self._workers.values():
                worker.channel.close()
            for acceptor in self._acceptors:
                acceptor.close()
            self.control.close()
            self.work(number, channel)
            status = 0
        except Exception:
            logger.exception("worker %d failed", number)
        finally:
            logging.shutdown()
            os._exit(status)

    def _accept(self, acceptor: _Acceptor) -> bool:
        """Accept connections and hand each to the worker with the fewest. Returns whether more can be accepted now."""
        for _ in range(_ACCEPT_BATCH):
            if acceptor.pending is None:
                try:
                    acceptor.pending, _ = acceptor.listener.socket.accept()
                except BlockingIOError:
                    return False
                except OSError as error:
                    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                        logger.error("cannot accept a connection: %s", error.strerror)
                        acceptor.paused_until = monotonic() + _PAUSE_SECONDS
                        return False
                    continue  # the caller disconnected before it was accepted
            if not self._hand_over(acceptor.protocol, acceptor.pending):
                acceptor.paused_until = monotonic() + _WAIT_SECONDS
                return False
            acceptor.pending.close()
            acceptor.pending = None
        return True

    def _hand_over(self, protocol: str, connection: socket.socket) -> bool:
        """Send a connection to a worker. Returns whether one could take it."""
        ready = [worker for worker in self._workers.values() if worker.ready]
        silent_since = monotonic() - _SILENT_SECONDS
        for worker in sorted(ready, key=lambda worker: (worker.heard < silent_since, worker.connections[protocol])):
            if worker.channel.send("connection", connection.fileno(), protocol=protocol):
                worker.connections[protocol] += 1
                return True
        return False

    def _on_message(self, worker: WorkerProcess) -> None:
        while (received := worker.channel.receive()) is not None:
            message, descriptor = received
            match message["kind"]:
                case "alive":
                    worker.heard = monotonic()
                case "ready":
                    worker.heard = monotonic()
                    worker.joined = True
                    self.control.worker_joined()
                case "closed":
                    worker.connections[message["protocol"]] -= message["count"]
                case _:
                    self.control.received(worker, message, descriptor)
        if worker.channel.closed:
            self._selector.unregister(worker.channel)

    def _handle_signals(self) -> None:
        noted, self._signals = self._signals, []
        for number in noted:
            if number == signal.SIGHUP:
                logger.info(
                    "received SIGHUP: certificates and API keys are in use a second after their files change, "
                    "other settings from the next start"
                )
            elif number != signal.SIGCHLD:
                logger.info("shutting down: received %s", signal.Signals(number).name)
                self._shut_down(patient=number == signal.SIGTERM)
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._on_worker_exit(pid, status)

    def _on_worker_exit(self, pid: int, status: int) -> None:
        worker = self._workers.pop(pid, None)
        if worker is None:
            self.control.child_ended(pid, status)
            return
        if worker.channel in self._selector.get_map():
            self._selector.unregister(worker.channel)
        worker.channel.close()
        self.control.worker_lost(pid)
        if self._phase == "leave" and (status == 0 or worker.killed):
            return
        reason: Literal["died", "hung"] = "hung" if worker.killed else "died"
        how = "hung" if worker.killed else describe_end(status)
        extra = {"worker": worker.number, "pid": pid, "reason": reason}
        if self._phase == "leave":
            logger.error("worker %d %s while it shut down", worker.number, how, extra=extra)
        elif not self._was_ready:
            logger.error("worker %d %s before the service was ready", worker.number, how, extra=extra)
            self._replace(worker.number)
        else:
            logger.error("worker %d %s and is replaced", worker.number, how, extra=extra)
            self.control.worker_replaced(reason)
            stable = monotonic() - worker.started > _STABLE_SECONDS
            self._replace(worker.number, 0 if stable else _PAUSE_SECONDS)

    def _replace(self, number: int, seconds: float = 0) -> None:
        """Start a worker again after `seconds`, or shut down if the service was never ready."""
        if self._was_ready:
            self._forks[number] = monotonic() + seconds
        else:
            self._failed = True
            self._shut_down(patient=False)

    def _shut_down(self, *, patient: bool) -> None:
        """Start the shutdown. A second call ends the drain delay, and a later one kills the workers."""
        now = monotonic()
        if self._phase == "leave":
            self._kill_at = now
            return
        self._leave_at = now
        if self._phase == "" and patient and self._was_ready:
            self._leave_at += self.drain_seconds
        self._phase = "drain"
        self._kill_at = self._leave_at + self.shutdown_seconds + _KILL_MARGIN

    def _handle_time(self, now: float) -> None:
        if self._phase != "leave":
            for number in [number for number, due in self._forks.items() if due <= now]:
                del self._forks[number]
                try:
                    self._fork(number)
                except OSError as error:
                    logger.error("worker %d cannot be started: %s", number, error.strerror)
                    self._replace(number, _PAUSE_SECONDS)
            self._check_workers(now)
            if now >= self._next_second:
                self._next_second = now + _CHECK_SECONDS
                self.control.every_second(now)
        self._checked_at = now
        if self._phase == "drain" and now >= self._leave_at and (self._all_handed_over(now) or now >= self._kill_at):
            self._leave()
        if self._phase:
            for worker in self._workers.values():
                if worker.told != self._phase and worker.channel.send(self._phase):
                    worker.told = self._phase
        if now >= self._kill_at:
            logger.error("killing %d workers that did not end", len(self._workers))
            self._kill_at = float("inf")
            for worker in self._workers.values():
                worker.kill()

    def _all_handed_over(self, now: float) -> bool:
        """Return whether the workers have all connections. A connection in the queue can already have a request."""
        if not self._was_ready:
            return True
        if self._settled_at is None:
            self._settled_at = now + _SETTLE_SECONDS
            for acceptor in self._acceptors:
                acceptor.listener.refuse()
        for acceptor in self._acceptors:
            while now >= acceptor.paused_until and self._accept(acceptor):
                pass
        return now >= self._settled_at and all(now >= acceptor.paused_until for acceptor in self._acceptors)

    def _leave(self) -> None:
        self._phase = "leave"
        self._forks.clear()
        self.control.stop()
        for acceptor in self._acceptors:
            if acceptor.listener.socket in self._selector.get_map():
                self._selector.unregister(acceptor.listener.socket)
            acceptor.close()

    def _check_workers(self, now: float) -> None:
        """Kill workers that hang or do not start. They are replaced like workers that died."""
        if not self._was_ready and sum(worker.ready for worker in self._workers.values()) == self.number_of_workers:
            self._was_ready = True
            self.ready()
        if now - self._checked_at > _STOPPED_SECONDS:
            for worker in self._workers.values():
                worker.heard = now
        for worker in self._workers.values():
            if worker.ready and now - worker.heard > self.worker_seconds:
                logger.error("worker %d sent no heartbeat for %g s", worker.number, self.worker_seconds)
                worker.kill()
            elif worker.running and not worker.joined and now - worker.started > START_TIMEOUT:
                logger.error("worker %d is not ready after %.0f s", worker.number, START_TIMEOUT)
                worker.kill()

    def _update_listening(self, now: float) -> None:
        """Accept connections while a worker can take them. Otherwise they wait in the kernel's queue."""
        if self._phase == "leave":
            return
        able = self._was_ready and any(worker.ready for worker in self._workers.values())
        for acceptor in self._acceptors:
            wanted = able and now >= acceptor.paused_until
            registered = acceptor.listener.socket in self._selector.get_map()
            if wanted and not registered:
                self._selector.register(acceptor.listener.socket, selectors.EVENT_READ, acceptor)
            elif registered and not wanted:
                self._selector.unregister(acceptor.listener.socket)
            if wanted and acceptor.pending is not None:
                self._accept(acceptor)  # if no further connection arrives, no event triggers another try
