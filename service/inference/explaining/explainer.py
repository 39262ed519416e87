"""Explains the decision on a text: the share of every word, the strongest filters and all intermediate values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from sentiment_conv1d.model.artifact import Artifact
from sentiment_conv1d.model.explaining.attribution import Attribution, attribute, strongest
from sentiment_conv1d.model.explaining.forward import Pass, forward
from sentiment_conv1d.model.explaining.network import Network
from sentiment_conv1d.model.explaining.reading import Reading, Word, read
from sentiment_conv1d.model.tokenizer import Encoding
from sentiment_conv1d.service.errors import Invalid, NotExplainable
from sentiment_conv1d.service.inference.explaining.graph import read_network
from sentiment_conv1d.service.inference.explaining.inspection import Inspection, inspect

#: Default number of filters in an explanation.
FILTERS = 10


@dataclass(slots=True)
class Filter:
    """A filter and the words where it has its highest value."""

    width: int
    index: Annotated[int, Field(description="Its index among the filters of its width.")]
    activation: Annotated[float, Field(description="Its value after pooling.")]
    weight: Annotated[float, Field(description="The factor by which the value moves the logit.")]
    start: Annotated[int, Field(description="Offsets of the words under it; 0 to 0 if there are none.")]
    end: int


@dataclass(slots=True)
class Explanation:
    """`logit` = `bias` + `padding` + the shares of all words.

    `logit` belongs to the second label of a sigmoid model, or to `label` of a softmax model. `padding` is the share of
    the pad ids and the start id.
    """

    label: str
    logit: float
    bias: float
    padding: float
    words: list[Word]
    filters: list[Filter]


class Explainer:
    """Explains the decisions of a folded model. For any other model, the methods raise `NotExplainable`."""

    def __init__(self, artifact: Artifact) -> None:
        self.manifest = artifact.manifest
        self._tokenizer = artifact.tokenizer
        self._input_shape = artifact.input_shape
        self._network = read_network(artifact.graph)

    @property
    def explainable(self) -> bool:
        """Whether the model has exact explanations."""
        return self._network is not None

    @property
    def network(self) -> Network:
        """The arrays of the network. Raises `NotExplainable`."""
        if self._network is None:
            raise NotExplainable(
                f"there is no exact explanation for model {self.manifest.name!r}: "
                "it does not consist of an embedding, convolutions directly after it, global pooling and dense layers"
            )
        return self._network

    def explain(self, text: str, encoding: Encoding, label: str, filters: int = FILTERS) -> Explanation:
        """Explain the decision on a text.

        Raises `NotExplainable`, or `Invalid` for a label that the model does not have.
        """
        unit = self._unit(label)
        reading = self._read(text, encoding)
        taken = forward(self.network, reading.row)
        return self._explanation(text, label, reading, taken, attribute(self.network, taken, unit), filters)

    def inspect(
        self,
        text: str,
        encoding: Encoding,
        label: str,
        chosen: tuple[int, int] | None = None,
        *,
        feature_map: bool = False,
    ) -> tuple[Explanation, Inspection]:
        """Return the explanation and all intermediate values, over the full sequence length of the model.

        `chosen` is the width and the index of the filter that is shown in full. By default, it is the filter that moved
        the logit most. Raises the errors of `explain`, and `Invalid` for a filter that the model does not have.
        """
        unit = self._unit(label)
        number = None if chosen is None else self._number(*chosen)
        reading = self._read(text, encoding, whole=True)
        taken = forward(self.network, reading.row)
        attribution = attribute(self.network, taken, unit)
        explanation = self._explanation(text, label, reading, taken, attribution, FILTERS)
        if number is None:
            number = next(iter(strongest(taken, attribution, 1).tolist()), 0)
        return explanation, inspect(self.network, taken, attribution, number, reading.first, feature_map=feature_map)

    def _unit(self, label: str) -> int:
        """Return the unit of the last layer that computes the logit of a label."""
        labels = self.manifest.labels
        if label not in labels:
            raise Invalid(f"label: there is no {label!r}; the labels are {', '.join(labels)}")
        return 0 if self.manifest.activation == "sigmoid" else labels.index(label)

    def _number(self, width: int, index: int) -> int:
        """Return the number of a filter over all banks. `index` counts the filters of the same width."""
        first, remaining = 0, index
        for bank in self.network.banks:
            filters = len(bank.bias)
            if bank.width == width:
                if 0 <= remaining < filters:
                    return first + remaining
                remaining -= filters
            first += filters
        shapes = ", ".join(f"{len(bank.bias)} of width {bank.width}" for bank in self.network.banks)
        raise Invalid(f"filter: there is no filter {index} of width {width}; there are {shapes}")

    def _explanation(
        self, text: str, label: str, reading: Reading, taken: Pass, attribution: Attribution, filters: int
    ) -> Explanation:
        shares = attribution.shares
        return Explanation(
            label,
            attribution.logit,
            attribution.bias,
            reading.rest(shares),
            reading.words(text, shares, self._tokenizer.unknown_id),
            self._filters(taken, attribution, filters, reading),
        )

    def _read(self, text: str, encoding: Encoding, *, whole: bool = False) -> Reading:
        """Return the ids that the model reads, with the least padding that gives the same answer, or with all of it."""
        whole = whole or self.network.averages
        return read(text, encoding, self._tokenizer, self._input_shape, whole=whole)

    def _filters(self, taken: Pass, attribution: Attribution, count: int, reading: Reading) -> list[Filter]:
        numbers = strongest(taken, attribution, count)
        places = [self.network.locate(number) for number in numbers.tolist()]
        spans = [
            reading.span(position, bank.span)
            for (bank, _), position in zip(places, taken.positions[numbers].tolist(), strict=True)
        ]
        activations, weights = taken.features[numbers].tolist(), attribution.weights[numbers].tolist()
        return [
            Filter(bank.width, index, activation, weight, start, end)
            for (bank, index), activation, weight, (start, end) in zip(places, activations, weights, spans, strict=True)
        ]
