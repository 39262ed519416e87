"""Length bucketing: chooses which texts share a run of the graph, and the shape of the run.

On a CPU, texts of similar length share a run of up to 1,024 positions, which amortizes the fixed cost of a run. With
more positions, the feature maps no longer fit into the caches of a core. On a GPU, additional rows are almost free, but
every new shape costs a plan and memory, so runs are large and have few different shapes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: Positions of padding per row from which on a separate run is cheaper.
_WASTE = 48


class Run(NamedTuple):
    """The indices of texts that run together as int32 [rows, time]. Rows beyond the texts are padding."""

    texts: list[int]
    rows: int
    time: int


@dataclass(frozen=True)
class LengthBuckets:
    """The rule for texts to share a run, for one execution provider."""

    max_rows: int
    max_positions: int | None = None  # rows times time; a run of a single row can have more
    row_sizes: tuple[int, ...] = ()  # the allowed numbers of rows, ascending, up to max_rows; empty: any number
    time_sizes: tuple[int, ...] = ()  # the allowed numbers of columns, ascending; empty: any number

    def group(self, lengths: Sequence[int]) -> Iterator[Run]:
        """Yield runs that contain every text once, shortest first. `lengths` are the columns that the texts need."""
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        start = 0
        for end in range(1, len(order)):
            if not self._joins(end - start, lengths[order[end - 1]], lengths[order[end]]):
                yield self._run(order[start:end], lengths)
                start = end
        if order:
            yield self._run(order[start:], lengths)

    def shapes(self) -> list[tuple[int, int]]:
        """Return all shapes, if their number is limited."""
        return [(rows, time) for rows in self.row_sizes for time in self.time_sizes]

    def largest(self, shortest: int, longest: int) -> list[tuple[int, int]]:
        """Return the shapes with the most rows and with the most columns, for texts of these lengths."""
        columns = max(shortest, (self.max_positions or 0) // self.max_rows)
        return [(self.max_rows, min(columns, longest)), (1, longest)]

    def _joins(self, rows: int, time: int, length: int) -> bool:
        """Return whether a text joins a run of so many rows that are no longer than the text."""
        if rows == self.max_rows:
            return False
        if self.max_positions is None:
            return True
        return (rows + 1) * length <= self.max_positions and rows * (length - time) <= _WASTE

    def _run(self, texts: list[int], lengths: Sequence[int]) -> Run:
        return Run(texts, _up(len(texts), self.row_sizes), _up(lengths[texts[-1]], self.time_sizes))


CPU_BUCKETS = LengthBuckets(max_rows=32, max_positions=1024)


def cuda_buckets(max_rows: int, max_tokens: int) -> LengthBuckets:
    """Return shapes whose rows and columns are powers of two: up to `max_rows` rows, 32 to `max_tokens` columns."""
    return LengthBuckets(max_rows, row_sizes=_powers(1, max_rows), time_sizes=_powers(32, max_tokens))


def _powers(first: int, last: int) -> tuple[int, ...]:
    sizes = []
    while first < last:
        sizes.append(first)
        first *= 2
    return (*sizes, last)


def _up(size: int, sizes: tuple[int, ...]) -> int:
    """Return the smallest of the sizes that is not below `size`."""
    return sizes[bisect_left(sizes, size)] if sizes else size
