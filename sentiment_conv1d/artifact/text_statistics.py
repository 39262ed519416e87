"""Statistics of many texts and of a model's predictions for them. Drift is a difference between two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sentiment_conv1d.artifact.decision import DecisionRule, decide_all, decide_each
from sentiment_conv1d.artifact.limits import Description, Items, Map
from sentiment_conv1d.artifact.tokenizer import Encoding

#: The share of the values up to each bound between two bins.
_QUANTILES = np.arange(1, 10) / 10

_DIGITS = 6


class Distribution(BaseModel):
    """The number of values in each bin. A bin contains its upper bound; the last bin has none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bounds: Items[float] = Field(description="The upper bounds of all bins but the last, in ascending order.")
    counts: Items[int] = Field(description="The number of values in each bin.")
    mean: float

    @classmethod
    def of(cls, values: npt.ArrayLike, bounds: Sequence[float] | None = None) -> Self:
        """Count values, [n] with n > 0. By default there are up to ten bins with about as many values in each."""
        numbers = np.asarray(values, np.float64)
        if bounds is None:
            bounds = np.unique(np.quantile(numbers, _QUANTILES, method="inverted_cdf").round(_DIGITS)).tolist()
        bins = np.searchsorted(bounds, numbers.round(_DIGITS))
        counts = np.bincount(bins, minlength=len(bounds) + 1).tolist()
        return cls(bounds=tuple(bounds), counts=tuple(counts), mean=round(float(numbers.mean()), _DIGITS))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.counts) != len(self.bounds) + 1 or min(self.counts) < 0:
            raise ValueError("every bin has a count, and there is one more bin than bounds")
        if any(low >= high for low, high in pairwise(self.bounds)):
            raise ValueError("bounds must ascend")
        return self


class TextStatistics(BaseModel):
    """What texts and predictions look like, without the texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Description = Field(description="The texts, in words.")
    texts: int = Field(ge=1)
    labels: Map[int] = Field(description="The number of texts for each predicted label.")
    multilabel: bool = Field(
        False,
        exclude_if=lambda value: not value,
        description="Whether a text can have several predicted labels, or none.",
    )
    scores: Distribution = Field(description="The probability of the predicted label.")
    tokens: Distribution = Field(description="Ids of a text before truncation.")
    unknown_words: Distribution | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="The share of unknown words among the ids of a text; null if the tokenizer does not count them.",
    )

    @classmethod
    def measured(
        cls,
        source: str,
        names: Sequence[str],
        outputs: npt.NDArray[np.floating[Any]],
        decision: DecisionRule,
        encodings: Sequence[Encoding],
    ) -> Self:
        """Return the statistics of texts that a model with these label names has predicted.

        `outputs` are [texts, 1] for a single sigmoid, or [texts, labels].
        """
        decided = decide_all(outputs, decision.threshold)
        probabilities = outputs if outputs.shape[1] > 1 else np.hstack([1 - outputs, outputs])
        labels = [names[index] for index in decided]
        if decision.thresholds:
            reached = decide_each(outputs, decision.each_threshold(names))
            labels = [names[index] for index in np.nonzero(reached)[1].tolist()]
        return cls.of(
            source,
            labels=labels,
            multilabel=bool(decision.thresholds),
            scores=probabilities[np.arange(len(decided)), decided],
            tokens=[each.tokens for each in encodings],
            unknown_tokens=[each.unknown_tokens for each in encodings],
        )

    def renamed(self, names: Mapping[str, str]) -> Self:
        """Return the same statistics with other names for the labels."""
        return self.model_copy(update={"labels": {names[label]: count for label, count in self.labels.items()}})

    @classmethod
    def of(
        cls,
        source: str,
        *,
        labels: Sequence[str],
        scores: npt.ArrayLike,
        tokens: npt.ArrayLike,
        unknown_tokens: Iterable[int | None],
        multilabel: bool = False,
        like: TextStatistics | None = None,
    ) -> Self:
        """Return the statistics of texts. With `like`, bins have the bounds of that one.

        The arguments are [texts], but `labels` are all predicted labels of all texts, which can have several or none if
        `multilabel`. Without a number of `unknown_tokens` for every text, there is no statistic of them.
        """
        lengths = np.asarray(tokens)
        unknown_words = None
        counted = [each for each in unknown_tokens if each is not None]
        if len(counted) == len(lengths):
            bounds = None if like is None or like.unknown_words is None else like.unknown_words.bounds
            unknown_words = Distribution.of(np.asarray(counted) / np.maximum(lengths, 1), bounds)
        return cls(
            source=source,
            texts=len(lengths),
            labels=dict(sorted(Counter(labels).items())),
            multilabel=multilabel,
            scores=Distribution.of(scores, None if like is None else like.scores.bounds),
            tokens=Distribution.of(lengths, None if like is None else like.tokens.bounds),
            unknown_words=unknown_words,
        )
