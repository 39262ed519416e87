"""A worker process as the supervisor sees it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from time import monotonic
from typing import Any

from sentiment_conv1d.service.process.channel import Channel, ChannelClosed

_SIGNAL_NAMES = {each.value: each.name for each in signal.Signals}


class WorkerProcess:
    """Its number, its end of the channel, and what is known of its state."""

    def __init__(self, number: int, pid: int, channel: Channel) -> None:
        self.number = number
        self.pid = pid
        self.channel = channel
        self.started = monotonic()
        self.heard = self.started
        self.ready = False  # takes connections
        self.ended = False
        self.killed = False  # by the supervisor
        self.told = ""  # the last phase of the shutdown that it was told of
        self.connections: Counter[str] = Counter()  # by protocol

    @property
    def starting(self) -> bool:
        """Whether it may still become ready."""
        return not (self.ready or self.ended or self.killed)

    def kill(self) -> None:
        """End it at once."""
        self.ready = False
        self.killed = True
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> None:
        """Its end of the channel is closed: it has ended, or is about to."""
        self.ready = False
        self.ended = True

    def send(self, kind: str, descriptor: int | None = None, **fields: Any) -> bool:
        """Send a message; whether there was room for it in the channel, and a worker at its other end."""
        try:
            self.channel.send(kind, descriptor, **fields)
        except BlockingIOError:
            return False
        except ChannelClosed:
            self.end()
            return False
        return True


def describe_end(status: int) -> str:
    """What the status of `waitpid` says, as the end of a sentence that begins with the process."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with status {code}"
    return f"was killed by signal {-code} ({_SIGNAL_NAMES.get(-code, 'unknown')})"
