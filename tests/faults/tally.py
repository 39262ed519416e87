"""Counts the outcomes of requests, and names the requests that were not answered."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

RIGHT = "right"
WRONG = "wrong"
LOST = "lost"
LEFT = "left by its caller"
REFUSED = "refused "

#: The most lost or wrong requests whose names are kept.
_MAX_NAMES = 1000


class Tally:
    """Outcomes with their durations. The outcome of a rejected request is `REFUSED` and its status."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.names: list[str] = []

    def add(self, outcome: str, seconds: float, name: str = "") -> None:
        """Record the end of a request."""
        self.seconds[outcome].append(seconds)
        if outcome in (LOST, WRONG) and len(self.names) < _MAX_NAMES:
            self.names.append(f"{outcome}: {name}")

    @property
    def counts(self) -> Counter[str]:
        """Return the number of requests per outcome."""
        return Counter({outcome: len(each) for outcome, each in self.seconds.items()})

    @property
    def refused(self) -> list[float]:
        """Return the durations of all rejections."""
        return [each for outcome, taken in self.seconds.items() if outcome.startswith(REFUSED) for each in taken]

    def lines(self) -> Iterator[str]:
        """Return a table with one line per outcome, then the names."""
        yield f"| {'outcome':<30} | {'requests':>9} | {'median ms':>10} | {'p99 ms':>9} | {'longest ms':>10} |"
        yield f"|{'-' * 32}|{'-' * 11}|{'-' * 12}|{'-' * 11}|{'-' * 12}|"
        for outcome, taken in sorted(self.seconds.items()):
            middle, high, longest = (1000 * quantile(taken, share) for share in (0.5, 0.99, 1))
            yield f"| {outcome:<30} | {len(taken):>9} | {middle:>10.1f} | {high:>9.1f} | {longest:>10.1f} |"
        yield f"| {'sent':<30} | {self.counts.total():>9} | {'':>10} | {'':>9} | {'':>10} |"
        yield from self.names


def quantile(values: list[float], share: float) -> float:
    """Return a quantile of the values, or nan if there are none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")
