"""A text explained: shares for its words, the filters that moved the logit most, and the text's way as numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.artifact import Artifact
from model.padding import pad, padded_length
from model.tokenizer import UNKNOWN_ID, word_spans
from service.errors import Invalid, NotExplainable
from service.explaining.explanation import Attribution, attribute, strongest
from service.explaining.forward import Pass, forward
from service.explaining.inspection import Inspection, inspect
from service.explaining.network import Network, read_network

#: Filters of an explanation, if nobody says.
FILTERS = 10


@dataclass(slots=True)
class Word:
    """A word that the model read. `start` and `end` are character offsets in the text that was sent."""

    text: str
    start: int
    end: int
    id: int
    known: bool
    share: float


@dataclass(slots=True)
class Filter:
    """A filter and the words under it where it was highest; both offsets are 0 where those are no words."""

    width: int
    index: int  # among the filters of its width
    activation: float  # the pooled value
    weight: float  # what the logit gains with it
    start: int
    end: int


@dataclass(slots=True)
class Explanation:
    """`logit` = `bias` + `padding` + the shares of all words.

    The logit is that of the second label under a sigmoid, and that of `label` under a softmax. `padding` is the share
    of what stands in front of the words: pad ids and the start id.
    """

    label: str
    logit: float
    bias: float
    padding: float
    words: list[Word]
    filters: list[Filter]


@dataclass(frozen=True)
class Reading:
    """What the model read of a text: a row of ids, and where its words lie."""

    row: np.ndarray[tuple[int], np.dtype[np.int32]]  # [time]
    spans: list[tuple[int, int]]  # of the words read, in the text

    @property
    def first(self) -> int:
        """Position of the first word in the row; before it are pad ids and, unless the text was cut, the start id."""
        return len(self.row) - len(self.spans)

    def span(self, position: int, width: int) -> tuple[int, int]:
        """The characters under a window of the row; (0, 0) if there are none."""
        first, last = max(position - self.first, 0), position - self.first + width - 1
        return (self.spans[first][0], self.spans[last][1]) if last >= first else (0, 0)


class Explainer:
    """Explains what a model of the foldable family decides. Any other model raises `NotExplainable` when asked."""

    def __init__(self, artifact: Artifact) -> None:
        self.manifest = artifact.manifest
        self._tokenizer = artifact.tokenizer
        self._network = read_network(artifact.graph)

    @property
    def network(self) -> Network:
        """Its arrays. Raises `NotExplainable`."""
        if self._network is None:
            raise NotExplainable(
                f"there is no exact explanation for model {self.manifest.name!r}: "
                "it is no embedding with convolutions straight after it, max pooling and dense layers in float32"
            )
        return self._network

    def explain(self, text: str, label: str, filters: int = FILTERS) -> Explanation:
        """Where the decision comes from. Raises `NotExplainable`, or `Invalid` for a label the model does not have."""
        unit = self._unit(label)
        reading = self._read(text)
        taken = forward(self.network, reading.row)
        return self._explanation(text, label, reading, taken, attribute(self.network, taken, unit), filters)

    def inspect(
        self, text: str, label: str, chosen: tuple[int, int] | None = None, *, feature_map: bool = False
    ) -> tuple[Explanation, Inspection]:
        """The explanation and all numbers behind it, over the full length of the model.

        `chosen` is the width and index of the filter that is shown in full; None is the one that moved the logit most.
        Raises as `explain` does, and `Invalid` for a filter the model does not have.
        """
        unit = self._unit(label)
        number = None if chosen is None else self._number(*chosen)
        reading = self._read(text, whole=True)
        taken = forward(self.network, reading.row)
        attribution = attribute(self.network, taken, unit)
        explanation = self._explanation(text, label, reading, taken, attribution, FILTERS)
        if number is None:
            number = next(iter(strongest(taken, attribution, 1)), 0)
        return explanation, inspect(self.network, taken, attribution, number, reading.first, feature_map=feature_map)

    def _unit(self, label: str) -> int:
        """The unit of the last layer whose logit is explained for a label."""
        labels = self.manifest.labels
        if label not in labels:
            raise Invalid(f"label: there is no {label!r}; the labels are {', '.join(labels)}")
        return 0 if self.manifest.activation == "sigmoid" else labels.index(label)

    def _number(self, width: int, index: int) -> int:
        """The number of a filter over all banks; of several banks of one width the first is meant."""
        first = 0
        for bank in self.network.banks:
            filters = len(bank.bias)
            if bank.width == width and 0 <= index < filters:
                return first + index
            first += filters
        shapes = ", ".join(f"{len(bank.bias)} of width {bank.width}" for bank in self.network.banks)
        raise Invalid(f"filter: there is no filter {index} of width {width}; there are {shapes}")

    def _explanation(
        self, text: str, label: str, reading: Reading, taken: Pass, attribution: Attribution, filters: int
    ) -> Explanation:
        first = reading.first
        words = [
            Word(text[start:end], start, end, id, id != UNKNOWN_ID, share)
            for (start, end), id, share in zip(
                reading.spans, reading.row[first:].tolist(), attribution.shares[first:].tolist(), strict=True
            )
        ]
        return Explanation(
            label,
            attribution.logit,
            attribution.bias,
            float(attribution.shares[:first].sum()),
            words,
            [
                self._filter(number, taken, float(attribution.weights[number]), reading)
                for number in strongest(taken, attribution, filters)
            ],
        )

    def _read(self, text: str, *, whole: bool = False) -> Reading:
        """The row of ids that stands for a text, padded as little as gives the same answer, or to its whole length."""
        encoding = self._tokenizer.encode(text)
        ids = encoding.ids
        max_tokens = self.manifest.max_tokens
        time = max_tokens if whole else padded_length(len(ids), max_tokens, self.manifest.leading_padding)
        words = min(encoding.tokens - 1, len(ids))
        spans = word_spans(text)
        return Reading(pad([ids], time)[0], spans[len(spans) - words :])

    def _filter(self, number: int, taken: Pass, weight: float, reading: Reading) -> Filter:
        index = number
        for pooled in taken.pooled:
            if index < len(pooled.values):
                break
            index -= len(pooled.values)
        width = pooled.bank.width
        start, end = reading.span(int(pooled.positions[index]), width)
        return Filter(width, index, float(pooled.values[index]), weight, start, end)
