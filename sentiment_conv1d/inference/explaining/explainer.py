"""Explains the decision on a text: the share of every word, the strongest filters and all intermediate values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.artifact.explaining.attribution import Attribution, attribute, strongest
from sentiment_conv1d.artifact.explaining.forward import Pass, forward
from sentiment_conv1d.artifact.explaining.network import Network
from sentiment_conv1d.artifact.explaining.reading import Reading, Word, read
from sentiment_conv1d.artifact.tokenizer import Encoding
from sentiment_conv1d.inference.errors import NotExplainable, UnknownName
from sentiment_conv1d.inference.explaining.inspection import Inspection, count_numbers, inspect
from sentiment_conv1d.inference.graph_file import read_network

#: Default number of filters in an explanation.
FILTERS = 10


@dataclass(slots=True)
class Filter:
    """A filter and the words where it has its highest value, if it does not average over the text."""

    width: int
    index: Annotated[int, Field(description="Its index among the filters of its width.")]
    activation: Annotated[float, Field(description="Its value after pooling.")]
    weight: Annotated[float, Field(description="The factor by which the value moves the logit.")]
    start: Annotated[
        int, Field(description="Offsets of the words under it; 0 to 0 if there are none, or if it averages over all.")
    ]
    end: int


@dataclass(slots=True)
class Contrast:
    """What speaks for `label` and not for `against`: `log_odds` = `bias` + `padding` + all `shares`."""

    label: str
    against: str
    log_odds: Annotated[
        float, Field(description="The logit of `label` minus that of `against`: ln(p(`label`) / p(`against`)).")
    ]
    bias: float
    padding: float
    shares: Annotated[list[float], Field(description="The share of each word in `log_odds`, in the order of `words`.")]


@dataclass(slots=True)
class Explanation:
    """`logit` = `bias` + `padding` + the shares of all words.

    `logit` belongs to the second label of a model with a single sigmoid, or to `label` of any other model. `padding` is
    the share of the pad ids and the start id. `contrast` is None, unless the model has the labels of
    `Manifest.opposites`.
    """

    label: str
    logit: float
    bias: float
    padding: float
    words: list[Word]
    filters: list[Filter]
    contrast: Contrast | None


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

        Raises `NotExplainable`, or `UnknownName` for a label that the model does not have.
        """
        explanation, *_ = self._analyze(text, encoding, label, filters, whole=False)
        return explanation

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
        the logit most. Raises the errors of `explain`, and `UnknownName` for a filter that the model does not have.
        """
        number = None if chosen is None else self._number(*chosen)
        explanation, reading, taken, attribution = self._analyze(text, encoding, label, FILTERS, whole=True)
        if number is None:
            number = next(iter(strongest(taken, attribution, 1).tolist()), 0)
        return explanation, inspect(self.network, taken, attribution, number, reading.first, feature_map=feature_map)

    def count_numbers(self, *, feature_map: bool) -> int:
        """Return how many numbers the answer of `inspect` has at most. Raises `NotExplainable`."""
        return count_numbers(self.network, self._input_shape.max_tokens, feature_map=feature_map)

    def _analyze(
        self, text: str, encoding: Encoding, label: str, filters: int, *, whole: bool
    ) -> tuple[Explanation, Reading, Pass, Attribution]:
        """Return the explanation and what it is computed from.

        The model reads the text with the least padding that gives the same answer, or with all of it if `whole`.
        """
        unit = self._unit(label)
        network = self.network
        reading = read(text, encoding, self._tokenizer, self._input_shape, whole=whole or network.averages)
        taken = forward(network, reading.row)
        attribution = attribute(network, taken, unit)
        explanation = Explanation(
            label,
            attribution.logit,
            attribution.bias,
            reading.rest(attribution.shares),
            reading.words(text, attribution.shares, self._tokenizer.unknown_id),
            self._filters(taken, attribution, filters, reading),
            self._contrast(taken, reading),
        )
        return explanation, reading, taken, attribution

    def _unit(self, label: str) -> int:
        """Return the unit of the last layer that computes the logit of a label."""
        labels = self.manifest.labels
        if label not in labels:
            raise UnknownName(f"label: there is no {label!r}; the labels are {', '.join(labels)}")
        return 0 if self.manifest.outputs == 1 else labels.index(label)

    def _number(self, width: int, index: int) -> int:
        """Return the number of a filter over all banks. `index` counts the filters of the same width."""
        banks = self.network.banks
        for number in range(sum(len(bank.bias) for bank in banks)):
            bank, place = self.network.locate(number)
            if (bank.width, place) == (width, index):
                return number
        shapes = ", ".join(f"{len(bank.bias)} of width {bank.width}" for bank in banks)
        raise UnknownName(f"filter: there is no filter {index} of width {width}; there are {shapes}")

    def _contrast(self, taken: Pass, reading: Reading) -> Contrast | None:
        if (opposites := self.manifest.opposites) is None:
            return None
        label, against = opposites
        attribution = attribute(self.network, taken, self._unit(label), self._unit(against))
        return Contrast(
            label,
            against,
            attribution.logit,
            attribution.bias,
            reading.rest(attribution.shares),
            attribution.shares[reading.places].tolist(),
        )

    def _filters(self, taken: Pass, attribution: Attribution, count: int, reading: Reading) -> list[Filter]:
        filters = []
        positions = taken.positions
        for number in strongest(taken, attribution, count).tolist():
            bank, index = self.network.locate(number)
            activation, weight = float(taken.features[number]), float(attribution.weights[number])
            # An average has no window: all words add to it.
            start, end = (0, 0) if bank.pooling == "mean" else reading.span(int(positions[number]), bank.span)
            filters.append(Filter(bank.width, index, activation, weight, start, end))
        return filters
