"""The supervisor's view of a worker process."""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic

from sentiment_conv1d.server.process.channel import Channel

_SIGNAL_NAMES = {each.value: each.name for each in signal.Signals}


@dataclass(eq=False)
class WorkerProcess:
    """A worker's number, the supervisor's end of its channel, and its state."""

    number: int
    pid: int
    channel: Channel
    started: float = field(default_factory=monotonic)
    heard: float = field(default_factory=monotonic)
    joined: bool = False  # has reported that it accepts connections
    killed: bool = False  # by the supervisor
    told: str = ""  # the last shutdown phase that was sent to it
    connections: Counter[str] = field(default_factory=Counter)  # by protocol

    @property
    def running(self) -> bool:
        """Whether it has neither been killed nor closed its end of the channel, which it does when it ends."""
        return not (self.killed or self.channel.closed)

    @property
    def ready(self) -> bool:
        """Whether it accepts connections."""
        return self.joined and self.running

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.killed = True
        os.kill(self.pid, signal.SIGKILL)


def describe_end(status: int) -> str:
    """Describe a status of `waitpid`, as the predicate of a sentence about the process."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with status {code}"
    return f"was killed by signal {-code} ({_SIGNAL_NAMES.get(-code, 'unknown')})"
