"""How often a model ran and how long its stages took, in all workers together."""

from __future__ import annotations

from time import time

from service.counters import Counters


class Duration:
    """A number of events and the nanoseconds they took together; takes two slots."""

    SLOTS = 2

    def __init__(self, counters: Counters, slot: int) -> None:
        self._counters = counters
        self._slot = slot

    def add(self, nanoseconds: int) -> None:
        """One more event."""
        row = self._counters.row
        row[self._slot] += 1
        row[self._slot + 1] += nanoseconds

    @property
    def count(self) -> int:
        """Events."""
        return self._counters.total(self._slot)

    @property
    def nanoseconds(self) -> int:
        """Their time."""
        return self._counters.total(self._slot + 1)


class Statistics:
    """The counts of one version of a model, in `SLOTS` slots from `first` on."""

    _STAGES = ("success", "fail", "queue", "tokenize", "infer", "output")
    _ROWS, _RUNS, _LAST, _FIRST_STAGE = range(4)
    SLOTS = _FIRST_STAGE + len(_STAGES) * Duration.SLOTS

    def __init__(self, counters: Counters | None = None, first: int = 0) -> None:
        self._counters = counters or Counters(1, self.SLOTS)
        self._first = first
        stages = (
            Duration(self._counters, first + self._FIRST_STAGE + number * Duration.SLOTS)
            for number in range(len(self._STAGES))
        )
        self.success, self.fail, self.queue, self.tokenize, self.infer, self.output = stages

    @property
    def rows(self) -> int:
        """Texts answered."""
        return self._counters.total(self._first + self._ROWS)

    @property
    def runs(self) -> int:
        """Runs of the graph."""
        return self._counters.total(self._first + self._RUNS)

    @property
    def last_inference(self) -> int:
        """Milliseconds since 1970, 0 before the first."""
        return self._counters.largest(self._first + self._LAST)

    def ran(self, runs: int) -> None:
        """The graph ran, for one request or for several."""
        self._counters.row[self._first + self._RUNS] += runs

    def succeeded(self, rows: int, *, whole: int, queue: int, tokenize: int, infer: int) -> None:
        """A request of `rows` texts was answered; times in nanoseconds."""
        row, first = self._counters.row, self._first
        row[first + self._ROWS] += rows
        row[first + self._LAST] = int(time() * 1000)
        slot = first + self._FIRST_STAGE
        # One loop and not one call a stage, since this runs for every request.
        for nanoseconds in (whole, None, queue, tokenize, infer, max(0, whole - queue - tokenize - infer)):
            if nanoseconds is not None:  # the stage that failed
                row[slot] += 1
                row[slot + 1] += nanoseconds
            slot += Duration.SLOTS

    def failed(self, whole: int) -> None:
        """A request for this model was refused or failed after that many nanoseconds."""
        self.fail.add(whole)
