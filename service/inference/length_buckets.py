"""Which texts share a run of the graph, and the shape of that run.

On a processor reviews of like length share a run of up to 1,024 positions, so that what a run costs at its start is
paid once for several. Of more, the feature maps push each other out of the caches of a core. On a GPU more rows cost
next to nothing, while every new shape costs a plan and memory, so there runs are large and of few shapes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: Padding that a row may cause before a run of its own is cheaper, in positions.
_WASTE = 48


class Run(NamedTuple):
    """Texts that run together, by their number, as int32 [rows, time]; rows beyond the texts are padding."""

    texts: list[int]
    rows: int
    time: int


@dataclass(frozen=True)
class LengthBuckets:
    """The rule by which texts of like length share a run, for one execution provider."""

    max_rows: int
    max_positions: int | None = None  # rows times time; a single row may have more
    row_sizes: tuple[int, ...] = ()  # ascending, up to max_rows: the only numbers of rows there are; none: any number
    time_sizes: tuple[int, ...] = ()  # ascending: the same for columns

    def group(self, lengths: Sequence[int]) -> Iterator[Run]:
        """Runs that hold every text once, from the shortest to the longest; `lengths` are columns that each needs."""
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        start = 0
        for end in range(1, len(order)):
            if not self._joins(end - start, lengths[order[end - 1]], lengths[order[end]]):
                yield self._run(order[start:end], lengths)
                start = end
        if order:
            yield self._run(order[start:], lengths)

    def shapes(self) -> list[tuple[int, int]]:
        """Every shape of a run, where there are only certain ones."""
        return [(rows, time) for rows in self.row_sizes for time in self.time_sizes]

    def largest(self, shortest: int, longest: int) -> list[tuple[int, int]]:
        """The shapes with the most rows and with the most columns, of texts that need so many columns."""
        columns = max(shortest, (self.max_positions or 0) // self.max_rows)
        return [(self.max_rows, min(columns, longest)), (1, longest)]

    def _joins(self, rows: int, time: int, length: int) -> bool:
        """Whether a text joins a run of so many rows, none longer than itself."""
        if rows == self.max_rows:
            return False
        if self.max_positions is None:
            return True
        return (rows + 1) * length <= self.max_positions and rows * (length - time) <= _WASTE

    def _run(self, texts: list[int], lengths: Sequence[int]) -> Run:
        return Run(texts, _up(len(texts), self.row_sizes), _up(lengths[texts[-1]], self.time_sizes))


CPU_BUCKETS = LengthBuckets(max_rows=32, max_positions=1024)


def cuda_buckets(max_rows: int, max_tokens: int) -> LengthBuckets:
    """Powers of two up to `max_rows` rows and, from 32 on, up to `max_tokens` columns."""
    return LengthBuckets(max_rows, row_sizes=_powers(1, max_rows), time_sizes=_powers(32, max_tokens))


def _powers(first: int, last: int) -> tuple[int, ...]:
    sizes = []
    while first < last:
        sizes.append(first)
        first *= 2
    return (*sizes, last)


def _up(size: int, sizes: tuple[int, ...]) -> int:
    """The least of the sizes that is no smaller."""
    return sizes[bisect_left(sizes, size)] if sizes else size
