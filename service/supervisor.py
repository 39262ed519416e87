"""The process that starts the workers, shares out connections among them, keeps their number and passes on orders.

It loads the models before it forks, so that the workers share their memory and start at once. It accepts every
connection and hands it to the worker that holds the fewest: processes that accept from one socket, or from one port,
get as many as chance has it. After that the connection is the worker's alone.
"""

from __future__ import annotations

import errno
import gc
import itertools
import logging
import os
import selectors
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from types import FrameType
from typing import Any, Literal

from service.channel import Channel, ChannelClosed, pair
from service.ledger import Fact, Ledger, Order

logger = logging.getLogger(__name__)

#: Seconds a worker may take to say that it is ready, or that it has opened a new version.
START_TIMEOUT = 60.0

#: Workers that may end while they open a version before it is taken for the cause. One may have ended for another.
_MAX_LOST = 2

#: A worker that dies sooner after its start is replaced only after a pause, or it would be forked without end.
_STABLE_SECONDS = 5.0
_PAUSE_SECONDS = 1.0

#: Workers say every half second that they live. One that is silent for so many seconds gets no new connections as long
#: as there are others.
_SILENT_SECONDS = 2.0

#: The supervisor looks around at least this often, in seconds. If it comes much later, it was itself stopped for a
#: while, as a container can be, and the workers with it.
_LOOK_SECONDS = 1.0
_STOPPED_SECONDS = 3.0

#: Where workers have been given so many connections that they have to catch up, the next ones wait that long.
_FULL_SECONDS = 0.01

#: Connections that are handed out before the supervisor looks after its workers again.
_HANDOUT = 64

#: Seconds beyond the workers' own time to shut down after which they are killed.
_KILL_MARGIN = 5.0


class _Member:
    """One worker as the supervisor sees it."""

    def __init__(self, number: int, pid: int, channel: Channel) -> None:
        self.number = number
        self.pid = pid
        self.channel = channel
        self.started = monotonic()
        self.heard = self.started
        self.ready = False
        self.killed = False
        self.connections: Counter[str] = Counter()  # by protocol

    def kill(self) -> None:
        """End it at once."""
        self.ready = False
        self.killed = True
        os.kill(self.pid, signal.SIGKILL)


class _Door:
    """Where the connections of a protocol come in."""

    def __init__(self, protocol: str, listener: socket.socket) -> None:
        self.protocol = protocol
        self.listener = listener
        self.open = False
        self.open_again_at = 0.0
        self.in_hand: socket.socket | None = None  # accepted, while no worker could take one more


class Supervisor:
    """`run` is the life of the service, from the first fork to the last worker's end."""

    def __init__(
        self,
        work: Callable[[int, Channel, list[Fact]], None],
        workers: int,
        listeners: Mapping[str, socket.socket],
        ledger: Ledger,
        *,
        ready: Callable[[], None],
        followed: Callable[[Order], None],
        replaced: Callable[[Literal["died", "hung"]], None],
        worker_seconds: float,
        shutdown_seconds: float,
        drain_seconds: float,
    ) -> None:
        self._work = work
        self._workers = workers
        self._doors = [_Door(protocol, listener) for protocol, listener in listeners.items()]
        self._ledger = ledger
        self._ready = ready
        self._followed = followed
        self._replaced = replaced
        self._worker_seconds = worker_seconds
        self._shutdown_seconds = shutdown_seconds
        self._drain_seconds = drain_seconds
        self._members: dict[int, _Member] = {}
        self._selector = selectors.DefaultSelector()
        self._forks: list[tuple[float, int]] = []  # when to start which worker
        self._transaction: _Transaction | None = None
        self._waiting: list[_Transaction] = []
        self._rounds = itertools.count()
        self._signals: list[int] = []
        self._leave_at: float | None = None
        self._kill_at: float | None = None
        self._looked = monotonic()
        self._failed = False
        self._was_ready = False

    def run(self) -> bool:
        """Start, watch, stop. Returns whether all went well, which it did not where no worker would start."""
        wake_reader, wake_writer = socket.socketpair()
        wake_reader.setblocking(False)
        wake_writer.setblocking(False)
        signal.set_wakeup_fd(wake_writer.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, self._note)
        self._selector.register(wake_reader, selectors.EVENT_READ)
        # What is in memory now is never freed: leaving it alone keeps it shared.
        gc.collect()
        gc.freeze()
        for worker in range(self._workers):
            self._fork(worker)
        now = monotonic()
        while self._members or self._forks:
            for key, _ in self._selector.select(self._seconds_to_wait(now)):
                if key.fileobj is wake_reader:
                    wake_reader.recv(4096)
                elif isinstance(key.data, _Door):
                    self._accept(key.data)
                else:
                    self._hear(key.data)
            self._handle_signals()
            now = monotonic()
            self._handle_time(now)
            self._open_or_not(now)
        return not self._failed

    def _fork(self, worker: int) -> None:
        ours, theirs = pair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become(worker, theirs)
        theirs.close()
        member = _Member(worker, pid, ours)
        self._members[pid] = member
        self._selector.register(ours, selectors.EVENT_READ, member)

    def _become(self, worker: int, channel: Channel) -> None:
        """The worker's whole life; nothing of the supervisor's may go on in it."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            for member in self._members.values():
                member.channel.close()
            for door in self._doors:
                if door.in_hand is not None:
                    door.in_hand.close()
            for transaction in (self._transaction, *self._waiting):
                if transaction is not None and transaction.descriptor is not None:
                    os.close(transaction.descriptor)
            self._work(worker, channel, self._ledger.facts())
            status = 0
        except Exception:
            logger.exception("worker %d failed", worker)
        finally:
            logging.shutdown()
            os._exit(status)

    def _accept(self, door: _Door) -> None:
        """Hand connections that wait to the worker with the fewest."""
        for _ in range(_HANDOUT):
            ready = [member for member in self._members.values() if member.ready]
            if not ready:
                return
            if door.in_hand is None:
                try:
                    door.in_hand, _ = door.listener.accept()
                except BlockingIOError:
                    return
                except OSError as error:
                    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                        logger.error("cannot accept a connection: %s", error.strerror)
                        door.open_again_at = monotonic() + _PAUSE_SECONDS
                        return
                    continue  # the caller was gone before it was accepted
            if not self._hand_over(door.protocol, door.in_hand, ready):
                door.open_again_at = monotonic() + _FULL_SECONDS
                return
            door.in_hand.close()
            door.in_hand = None

    def _hand_over(self, protocol: str, connection: socket.socket, ready: list[_Member]) -> bool:
        """Give a connection to a worker; whether one of them could take it."""
        silent_since = monotonic() - _SILENT_SECONDS
        for member in sorted(ready, key=lambda member: (member.heard < silent_since, member.connections[protocol])):
            try:
                member.channel.send("connection", connection.fileno(), protocol=protocol)
            except (BlockingIOError, ChannelClosed):
                continue
            member.connections[protocol] += 1
            return True
        return False

    def _hear(self, member: _Member) -> None:
        try:
            while (received := member.channel.receive()) is not None:
                message, descriptor = received
                member.heard = monotonic()
                match message["kind"]:
                    case "ready":
                        member.ready = True
                        self._go_on()
                    case "closed":
                        member.connections[message["protocol"]] -= message["count"]
                    case "ask":
                        order = Order(**message["order"])
                        self._waiting.append(_Transaction(member, message["ticket"], order, descriptor))
                    case "done":
                        self._answered(member, message)
        except ChannelClosed:
            member.ready = False
            self._selector.unregister(member.channel)
        self._next_transaction()

    def _next_transaction(self) -> None:
        """Orders are carried out one after the other, so that all workers hear them in the same sequence."""
        while self._transaction is None and self._waiting:
            transaction = self._transaction = self._waiting.pop(0)
            order = transaction.order
            transaction.declined = self._ledger.objection(order)
            if transaction.declined or self._ledger.needless(order):
                self._finish()
            elif order.action == "load":
                self._send([member for member in self._members.values() if not member.killed], order)
                self._prepare()
            else:
                self._announce(order)

    def _prepare(self) -> None:
        """Have the next worker open the version beside those that it serves; when all have, have them serve it.

        One at a time, so that the others answer undisturbed, and a graph that brings a process down brings down one.
        """
        transaction = self._transaction
        assert transaction is not None
        order = transaction.order
        # One that is starting hears it as soon as it is up: it was not told of this version when it was forked.
        missing = (member for member in self._members.values() if member.pid not in transaction.prepared)
        member = next((member for member in missing if not member.killed), None)
        if member is not None:
            transaction.give_up_at = monotonic() + START_TIMEOUT
            self._ask({member.pid: member}, order._replace(action="prepare"))
        elif transaction.prepared:
            self._announce(order._replace(action="serve"))
        # Else the only worker ended. The one that takes its place opens it next, once it is up.

    def _announce(self, order: Order) -> None:
        """Have all workers follow an order at once."""
        transaction = self._transaction
        assert transaction is not None
        transaction.give_up_at = None
        transaction.announced = order
        self._ask({pid: member for pid, member in self._members.items() if not member.killed}, order)
        if order.action == "serve":
            descriptor, transaction.descriptor = transaction.descriptor, None
            self._ledger.record(order, descriptor)
        else:
            self._ledger.record(order)
        self._go_on()

    def _ask(self, members: dict[int, _Member], order: Order) -> None:
        transaction = self._transaction
        assert transaction is not None
        transaction.round = next(self._rounds)
        transaction.missing = set(members)
        self._send(members.values(), order)

    def _send(self, members: Iterable[_Member], order: Order) -> None:
        """An order of this round; before the first one it is not one to be waited for."""
        transaction = self._transaction
        assert transaction is not None
        descriptor = None if order.action == "load" else transaction.descriptor
        for member in members:
            try:
                member.channel.send("order", descriptor, round=transaction.round, order=order._asdict())
            except (BlockingIOError, ChannelClosed):
                # It would serve other versions than the rest.
                logger.error("worker %d takes no orders and is replaced", member.number)
                member.kill()

    def _answered(self, member: _Member, message: dict[str, Any]) -> None:
        transaction = self._transaction
        if transaction is None or message["round"] != transaction.round:
            return  # it comes too late
        transaction.missing.discard(member.pid)
        transaction.prepared.add(member.pid)
        if message["fault"]:
            self._refuse(message["fault"], message["reason"])
        else:
            self._go_on()

    def _refuse(self, fault: str, reason: str) -> None:
        """Have all workers know that a version is bad and why."""
        transaction = self._transaction
        assert transaction is not None
        self._announce(transaction.order._replace(action="refuse", fault=fault, reason=reason))

    def _go_on(self) -> None:
        transaction = self._transaction
        if transaction is None or transaction.missing:
            return
        if transaction.give_up_at is None:
            self._finish()
        else:
            self._prepare()

    def _finish(self) -> None:
        transaction, self._transaction = self._transaction, None
        assert transaction is not None
        announced = transaction.announced
        if announced is not None:
            self._followed(announced)
        if transaction.asking.pid in self._members:
            refusal = announced._asdict() if announced is not None and announced.action == "refuse" else None
            self._tell(
                transaction.asking, "result", ticket=transaction.ticket, refusal=refusal, declined=transaction.declined
            )
        if transaction.descriptor is not None:
            os.close(transaction.descriptor)

    def _tell(self, member: _Member, kind: str, **fields: Any) -> None:
        try:
            member.channel.send(kind, **fields)
        except (BlockingIOError, ChannelClosed):
            logger.warning("worker %d does not listen", member.number)

    def _handle_signals(self) -> None:
        noted, self._signals = self._signals, []
        for number in noted:
            if number != signal.SIGCHLD:
                self._leave(number)
        while self._members:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._buried(pid, status)

    def _buried(self, pid: int, status: int) -> None:
        member = self._members.pop(pid, None)
        if member is None:
            return  # the first process of a container inherits the orphans of all others
        if member.channel in self._selector.get_map():
            self._selector.unregister(member.channel)
        member.channel.close()
        self._lost(pid)
        if self._leave_at is not None:
            return
        reason = os.waitstatus_to_exitcode(status)
        if not self._was_ready:
            logger.error("worker %d ended with %d before the service was ready", member.number, reason)
            self._failed = True
            self._leave(signal.SIGINT)
            return
        logger.error("worker %d ended with %d and is replaced", member.number, reason)
        self._replaced("hung" if member.killed else "died")
        stable = monotonic() - member.started > _STABLE_SECONDS
        self._forks.append((monotonic() + (0 if stable else _PAUSE_SECONDS), member.number))

    def _lost(self, pid: int) -> None:
        """A worker ended, which the order on its way must not wait for."""
        transaction = self._transaction
        if transaction is None or pid not in transaction.missing:
            return
        transaction.missing.discard(pid)
        if transaction.give_up_at is not None:
            transaction.lost += 1
        if transaction.lost == _MAX_LOST:
            self._refuse("crashed", f"{_MAX_LOST} workers ended while they opened it")
        else:
            self._go_on()
        self._next_transaction()

    def _leave(self, number: int) -> None:
        """Pass the wish on; a second one waits for nothing."""
        self._forks.clear()
        if self._leave_at is None:
            logger.info("shutting down")
            drain = self._drain_seconds if number == signal.SIGTERM else 0
            self._leave_at = monotonic() + drain
            self._kill_at = self._leave_at + self._shutdown_seconds + _KILL_MARGIN
        else:
            self._leave_at = monotonic()
        for member in self._members.values():
            self._tell(member, "leave", now=number != signal.SIGTERM)

    def _handle_time(self, now: float) -> None:
        if self._leave_at is None:
            for due, worker in [fork for fork in self._forks if fork[0] <= now]:
                self._forks.remove((due, worker))
                self._fork(worker)
            self._watch_start(now)
            self._watch_life(now)
            self._watch_transaction(now)
        self._looked = now
        if self._kill_at is not None and now >= self._kill_at:
            logger.error("killing %d workers that did not end", len(self._members))
            self._kill_at = None
            for member in self._members.values():
                member.kill()

    def _watch_start(self, now: float) -> None:
        ready = [member for member in self._members.values() if member.ready]
        if not self._was_ready and len(ready) == self._workers:
            self._was_ready = True
            self._ready()
        for member in self._members.values():
            if not member.ready and not member.killed and now - member.started > START_TIMEOUT:
                logger.error("worker %d is not ready after %.0f s", member.number, START_TIMEOUT)
                member.kill()

    def _watch_life(self, now: float) -> None:
        """Kill a worker that hangs; as one that died it is replaced."""
        if now - self._looked > _STOPPED_SECONDS:
            for member in self._members.values():
                member.heard = now
        for member in self._members.values():
            if member.ready and now - member.heard > self._worker_seconds:
                logger.error("worker %d gave no sign of life for %g s", member.number, self._worker_seconds)
                member.kill()

    def _watch_transaction(self, now: float) -> None:
        transaction = self._transaction
        if transaction is not None and transaction.give_up_at is not None and now > transaction.give_up_at:
            self._refuse("timeout", f"a worker took more than {START_TIMEOUT:.0f} s to open it")
            self._next_transaction()

    def _open_or_not(self, now: float) -> None:
        """Accept while there is a worker to hand a connection to; until then they wait in the kernel's queue."""
        leaving = self._leave_at is not None and now >= self._leave_at
        able = self._was_ready and not leaving and any(member.ready for member in self._members.values())
        for door in self._doors:
            wanted = able and now >= door.open_again_at
            if wanted and not door.open:
                self._selector.register(door.listener, selectors.EVENT_READ, door)
            elif door.open and not wanted:
                self._selector.unregister(door.listener)
            door.open = wanted
            if wanted and door.in_hand is not None:
                self._accept(door)  # it may be the last one, so that nothing else would have us try again
            if leaving:
                door.listener.close()

    def _seconds_to_wait(self, now: float) -> float:
        """Until there is something to do that was not yet due at this moment."""
        times = [due for due, _ in self._forks]
        moments = (self._leave_at, self._kill_at, *(door.open_again_at for door in self._doors))
        times += [moment for moment in moments if moment is not None and moment > now]
        times.append(now + _LOOK_SECONDS)
        return max(0.0, min(times) - monotonic())

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)


class _Transaction:
    """An order on its way through the workers; it owns its descriptor."""

    def __init__(self, asking: _Member, ticket: int, order: Order, descriptor: int | None) -> None:
        self.asking = asking
        self.ticket = ticket
        self.order = order
        self.descriptor = descriptor
        self.round = -1
        self.missing: set[int] = set()  # who has not answered in this round
        self.prepared: set[int] = set()
        self.lost = 0  # workers that ended while they prepared
        self.give_up_at: float | None = None  # while workers prepare
        self.announced: Order | None = None  # what all workers follow in the end
        self.declined = ""
