"""The requests of each API key by its name, counted by all workers together."""

from __future__ import annotations

import mmap
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from sentiment_conv1d.server.process.counters import Counters

#: The most names with series of their own. Each takes two series.
MAX_KEYS = 64

#: The most characters of the name of a key.
NAME_CHARACTERS = 64

#: The name under which the requests of further keys are counted.
OTHER = "other"

_TEXT = """\
# HELP sentiment_key_requests_total Requests with an API key, by its name.
# TYPE sentiment_key_requests_total counter
{requests}# HELP sentiment_key_refused_total Those of them that were refused because of a limit on load.
# TYPE sentiment_key_refused_total counter
{refused}"""


class KeyCounts:
    """Create it before the fork, and call `choose_row` in each worker.

    Keys change while the workers run, and not in all of them at the same time. So every worker has its own table of
    names, in memory that all share.
    """

    def __init__(self, workers: int) -> None:
        names = mmap.mmap(-1, workers * (MAX_KEYS + 1) * NAME_CHARACTERS)
        self._names = np.frombuffer(names, f"S{NAME_CHARACTERS}").reshape(workers, MAX_KEYS + 1)
        self._counters = Counters(workers, 2 * (MAX_KEYS + 1))
        self.choose_row(0)

    def choose_row(self, worker: int) -> None:
        """Count as this worker from now on."""
        self._counters.choose_row(worker)
        self._row = self._names[worker]
        self._slots = {name.decode(): slot for slot, name in enumerate(self._row.tolist()) if name}

    def add(self, names: Iterable[str]) -> None:
        """Add series with the value zero, so that rates are right from the start."""
        for name in names:
            self._slot(name)

    def count(self, name: str, *, refused: bool) -> None:
        """Count a request with the key of this name."""
        slot = self._slot(name)
        self._counters.row[2 * slot] += 1
        self._counters.row[2 * slot + 1] += refused

    def expose(self) -> bytes:
        """Return the series in the Prometheus text format. Without keys there are none."""
        totals: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for worker, slot in np.argwhere(self._names != b""):
            total = totals[self._names[worker, slot].decode()]
            total[0] += float(self._counters.table[worker, 2 * slot])
            total[1] += float(self._counters.table[worker, 2 * slot + 1])
        if not totals:
            return b""
        requests, refused = (
            "".join(f'sentiment_key_{what}_total{{key="{name}"}} {total[number]!r}\n' for name, total in totals.items())
            for number, what in enumerate(("requests", "refused"))
        )
        return _TEXT.format(requests=requests, refused=refused).encode()

    def _slot(self, name: str) -> int:
        slot = self._slots.get(name)
        if slot is None:
            slot = min(len(self._slots), MAX_KEYS)
            self._row[slot] = name if slot < MAX_KEYS else OTHER
            self._slots[name] = slot
        return slot
