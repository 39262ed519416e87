"""The supervisor's view of a worker process."""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from sentiment_conv1d.service.process.channel import Channel, ChannelClosed

_SIGNAL_NAMES = {each.value: each.name for each in signal.Signals}


@dataclass(eq=False)
class WorkerProcess:
    """A worker's number, the supervisor's end of its channel, and its state."""

    number: int
    pid: int
    channel: Channel
    started: float = field(default_factory=monotonic)
    heard: float = field(default_factory=monotonic)
    ready: bool = False  # accepts connections
    ended: bool = False
    killed: bool = False  # by the supervisor
    told: str = ""  # the last shutdown phase that was sent to it
    connections: Counter[str] = field(default_factory=Counter)  # by protocol

    @property
    def starting(self) -> bool:
        """Whether it can still become ready."""
        return not (self.ready or self.ended or self.killed)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.ready = False
        self.killed = True
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> None:
        """Note that its end of the channel is closed: it has ended, or is about to."""
        self.ready = False
        self.ended = True

    def send(self, kind: str, descriptor: int | None = None, **fields: Any) -> bool:
        """Send a message. Returns False if the channel is full or closed."""
        try:
            self.channel.send(kind, descriptor, **fields)
        except BlockingIOError:
            return False
        except ChannelClosed:
            self.end()
            return False
        return True


def describe_end(status: int) -> str:
    """Describe a status of `waitpid`, as the predicate of a sentence about the process."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with status {code}"
    return f"was killed by signal {-code} ({_SIGNAL_NAMES.get(-code, 'unknown')})"
