"""Compares the statistics of two sets of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from sentiment_conv1d.artifact.text_statistics import Distribution, TextStatistics
from sentiment_conv1d.drift.stability import chance_index, stability_index

#: Numbers from this one on are shown without decimals.
_LARGE = 1000


class Bin(NamedTuple):
    """One bin, with its share of the reference's texts and of the log's texts."""

    name: str
    expected: float
    actual: float


class Comparison(NamedTuple):
    """One property of the texts, compared."""

    name: str
    psi: float  # population stability index
    chance: float  # without drift, one in twenty comparisons exceeds this index
    bins: Sequence[Bin]
    means: tuple[float, float] | None  # of the reference and the log; None for labels


def compare(reference: TextStatistics, observed: TextStatistics) -> list[Comparison]:
    """Compare the statistics of a log with a reference whose bins have the same bounds."""
    comparisons = [
        _of_numbers("score", reference.scores, observed.scores),
        *_of_labels(reference, observed),
        _of_numbers("tokens", reference.tokens, observed.tokens),
    ]
    if reference.unknown_words is not None and observed.unknown_words is not None:
        comparisons.append(_of_numbers("unknown words", reference.unknown_words, observed.unknown_words))
    return comparisons


def _of_numbers(name: str, reference: Distribution, observed: Distribution) -> Comparison:
    names = list(_intervals(reference.bounds))
    return _compared(name, names, reference.counts, observed.counts, (reference.mean, observed.mean))


def label_shares(reference: TextStatistics, observed: TextStatistics) -> list[Bin]:
    """Return for each predicted label the shares of the texts that have it."""
    names = dict.fromkeys((*reference.labels, *observed.labels))
    return [Bin(name, *(each.labels.get(name, 0) / each.texts for each in (reference, observed))) for name in names]


def _of_labels(reference: TextStatistics, observed: TextStatistics) -> Iterator[Comparison]:
    """Yield the comparison of the labels, or one for each label if a text can have several."""
    names = list(dict.fromkeys((*reference.labels, *observed.labels)))
    before, now = ([each.labels.get(name, 0) for name in names] for each in (reference, observed))
    if not (reference.multilabel or observed.multilabel):
        yield _compared("label", names, before, now, None)
        return
    for name, expected, actual in zip(names, before, now, strict=True):
        counts = [expected, reference.texts - expected], [actual, observed.texts - actual]
        yield _compared(f"label {name}", ["with it", "without it"], *counts, None)


def _compared(
    name: str,
    bins: Sequence[str],
    expected: Sequence[int],
    actual: Sequence[int],
    means: tuple[float, float] | None,
) -> Comparison:
    shares = [[count / sum(counts) for count in counts] for counts in (expected, actual)]
    named = [Bin(*each) for each in zip(bins, *shares, strict=True)]
    return Comparison(name, stability_index(expected, actual), chance_index(expected, actual), named, means)


def _intervals(bounds: Sequence[float]) -> Iterator[str]:
    """Yield the name of every bin."""
    if not bounds:
        yield "all"
        return
    edges = [f"{bound:,.0f}" if bound >= _LARGE else f"{bound:.4g}" for bound in bounds]
    yield f"\N{LESS-THAN OR EQUAL TO} {edges[0]}"
    for low, high in pairwise(edges):
        yield f"{low} \N{EN DASH} {high}"
    yield f"> {edges[-1]}"
