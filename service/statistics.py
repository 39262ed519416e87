"""How often a model ran and how long its stages took, since it was loaded."""

from __future__ import annotations

from time import time


class Duration:
    """A number of events and the nanoseconds they took together."""

    __slots__ = ("count", "nanoseconds")

    def __init__(self) -> None:
        self.count = 0
        self.nanoseconds = 0

    def add(self, nanoseconds: int) -> None:
        """One more event."""
        self.count += 1
        self.nanoseconds += nanoseconds


class Statistics:
    """The counts of one model. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self.rows = 0
        self.runs = 0
        self.last_inference = 0  # milliseconds since 1970, 0 before the first
        self.success = Duration()
        self.fail = Duration()
        self.queue = Duration()
        self.tokenize = Duration()
        self.infer = Duration()
        self.output = Duration()

    def succeeded(self, rows: int, runs: int, *, whole: int, queue: int, tokenize: int, infer: int) -> None:
        """A request of `rows` texts was answered in `runs` runs of the graph; times in nanoseconds."""
        self.rows += rows
        self.runs += runs
        self.last_inference = int(time() * 1000)
        self.success.add(whole)
        self.queue.add(queue)
        self.tokenize.add(tokenize)
        self.infer.add(infer)
        self.output.add(max(0, whole - queue - tokenize - infer))

    def failed(self, whole: int) -> None:
        """A request for this model was refused or failed after that many nanoseconds."""
        self.fail.add(whole)
