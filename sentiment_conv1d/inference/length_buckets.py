"""Length bucketing: chooses which texts share a run of the graph, and the shape of the run.

On a CPU, texts of similar length share a run of up to 1,024 positions, which amortizes the fixed cost of a run. With
more positions, the feature maps no longer fit into the caches of a core. The native operator has no feature maps and
skips padding, so texts of any length share a run. On a GPU, additional rows are almost free. There, and for the native
operator, every new shape costs a plan or memory, so runs have few different lengths.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Bucket(NamedTuple):
    """The indices of texts that run together as int32 [rows, sequence_length]. Rows beyond the texts are padding."""

    texts: list[int]
    rows: int
    sequence_length: int


@dataclass(frozen=True)
class LengthBuckets:
    """The rule for texts to share a run, for one execution provider."""

    max_rows: int
    max_positions: int = sys.maxsize  # rows times sequence length; a run of a single row can have more
    max_padding: int = sys.maxsize  # positions that a text may add to the rows before it
    row_sizes: tuple[int, ...] = ()  # the allowed numbers of rows, ascending, up to max_rows; empty: any number
    sequence_lengths: tuple[int, ...] = ()  # the allowed sequence lengths, ascending; empty: any

    def group(self, lengths: Sequence[int]) -> Iterator[Bucket]:
        """Yield runs that contain every text once, shortest first. `lengths` are the sequence lengths of the texts."""
        if self.sequence_lengths:
            lengths = [_up(length, self.sequence_lengths) for length in lengths]
        if self._fits(lengths):
            yield self._run(list(range(len(lengths))), max(lengths))
            return
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        start = 0
        for end in range(1, len(order)):
            if not self._joins(end - start, lengths[order[end - 1]], lengths[order[end]]):
                yield self._run(order[start:end], lengths[order[end - 1]])
                start = end
        if order:
            yield self._run(order[start:], lengths[order[-1]])

    def shapes(self) -> list[tuple[int, int]]:
        """Return all shapes, if their number is limited."""
        return [(rows, sequence_length) for rows in self.row_sizes for sequence_length in self.sequence_lengths]

    def largest(self, shortest: int, longest: int) -> list[tuple[int, int]]:
        """Return the shape with the most rows and the longest shape, for texts of these sequence lengths."""
        sequence_length = max(shortest, self.max_positions // self.max_rows)
        return [(self.max_rows, min(sequence_length, longest)), (1, longest)]

    def _joins(self, rows: int, sequence_length: int, length: int) -> bool:
        """Return whether a text joins a run of `rows` rows, none of which is longer than the text."""
        padding = rows * (length - sequence_length)
        positions = (rows + 1) * length
        return rows < self.max_rows and positions <= self.max_positions and padding <= self.max_padding

    def _fits(self, lengths: Sequence[int]) -> bool:
        """Return whether all texts share a run, which needs no order: the most frequent case."""
        rows = len(lengths)
        if rows < 2:
            return rows == 1
        return self.max_padding == sys.maxsize and rows <= self.max_rows and rows * max(lengths) <= self.max_positions

    def _run(self, texts: list[int], sequence_length: int) -> Bucket:
        rows = _up(len(texts), self.row_sizes) if self.row_sizes else len(texts)
        return Bucket(texts, rows, sequence_length)


#: A separate run is cheaper for a text that would get more than 48 positions of padding.
CPU_BUCKETS = LengthBuckets(max_rows=32, max_positions=1024, max_padding=48)


def native_buckets(max_tokens: int) -> LengthBuckets:
    """Return shapes of up to 32 rows, with sequence lengths in powers of two: at most 32 kB of ids."""
    return LengthBuckets(max_rows=32, max_positions=8192, sequence_lengths=_powers(32, max_tokens))


def cuda_buckets(max_rows: int, max_tokens: int) -> LengthBuckets:
    """Return shapes in powers of two: up to `max_rows` rows, sequence lengths from 32 to `max_tokens`."""
    return LengthBuckets(max_rows, row_sizes=_powers(1, max_rows), sequence_lengths=_powers(32, max_tokens))


def _powers(first: int, last: int) -> tuple[int, ...]:
    sizes = []
    while first < last:
        sizes.append(first)
        first *= 2
    return (*sizes, last)


def _up(size: int, sizes: tuple[int, ...]) -> int:
    """Return the smallest of the sizes that is not below `size`."""
    return sizes[bisect_left(sizes, size)]
