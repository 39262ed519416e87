"""An artifact whose network a training keeps, because it learned nothing that is better by more than chance.

Vocabulary and tables are those of the artifact. Only the last layer has other labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.model.configuration import with_banks
from sentiment_conv1d.model.data.opinions import places
from sentiment_conv1d.model.evaluation.candidate import answers_with
from sentiment_conv1d.model.training.initial import outputs_of, units_of
from sentiment_conv1d.model.training.pretrained import Pretrained
from sentiment_conv1d.model.training.table_network import Floats


@dataclass(frozen=True, eq=False)
class Kept:
    """The network of an artifact with these labels, all of which the artifact has."""

    start: Pretrained
    labels: tuple[str, ...]

    @classmethod
    def of(cls, start: Pretrained, labels: tuple[str, ...]) -> Kept | None:
        """Return the network, or None if the artifact lacks a label."""
        return None if None in places(labels, start.manifest.labels) else cls(start, labels)

    def configured(self, configuration: BaseConfiguration) -> BaseConfiguration:
        """Return the configuration of the network after a training with a configuration."""
        tokenizer = self.start.tokenizer
        size = {"vocabulary_size": tokenizer.vocabulary_size, "max_tokens": tokenizer.max_tokens}
        return with_banks(configuration, self.start.configuration.convolutions).model_copy(update=size)

    @property
    def tables(self) -> list[Floats]:
        """The tables of all banks, [width, vocabulary, filters]. Those of averages are what the words add to a sum."""
        banks, length = self.start.configuration.convolutions, np.float32(self.start.tokenizer.max_tokens)
        return [
            table if bank.pooling == "max" else table / length
            for bank, table in zip(banks, self.start.tables, strict=True)
        ]

    @property
    def dense(self) -> tuple[Floats, Floats]:
        """The kernel [filters, outputs] and the bias [outputs] of the dense layer that computes the logits."""
        known = [place for place in places(self.labels, self.start.manifest.labels) if place is not None]
        outputs = 1 if len(self.labels) == 2 else len(self.labels)
        kernel, bias = (
            outputs_of(units_of(each)[..., known], outputs) for each in (self.start.kernel, self.start.bias)
        )
        return kernel, bias

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return what the artifact answers to texts: float32 [texts, outputs]."""
        outputs = answers_with(read_artifact(self.start.path), self.labels, texts)
        assert outputs is not None  # it has the labels
        return outputs
