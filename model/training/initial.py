"""The start of a training from the weights of an earlier run or of an artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.configuration import BaseConfiguration, Convolution
from sentiment_conv1d.artifact.explaining.network import from_keras
from sentiment_conv1d.model.configuration import without_averages
from sentiment_conv1d.model.data.opinions import places
from sentiment_conv1d.model.evaluation import trained
from sentiment_conv1d.model.run import Run
from sentiment_conv1d.model.training.fitting import TrainingError
from sentiment_conv1d.model.training.linear import SHARE, Linear
from sentiment_conv1d.model.training.pretrained import Pretrained, kind_of
from sentiment_conv1d.model.training.table_network import Floats, Ids, TableNetwork

#: What the weights belong to, apart from the vocabulary and the labels.
_SHAPES = ("recipe", "tokenizer", "embedding_width", "convolutions", "hidden_width")


def check(run: Run, configuration: BaseConfiguration) -> None:
    """Raise `TrainingError` if a network of this configuration cannot start with the weights of the run."""
    old = without_averages(run.configuration) if configuration.recipe == "ensemble" else run.configuration
    for name in _SHAPES:
        if getattr(old, name) != getattr(configuration, name):
            raise TrainingError(f"--{name.replace('_', '-')}: a training from {run.path} cannot change it")
    if configuration.vocabulary_size < run.tokenizer.vocabulary_size:
        raise TrainingError(
            f"--vocabulary-size {configuration.vocabulary_size}: {run.path} already has {run.tokenizer.vocabulary_size}"
        )
    if missing := sorted(set(old.labels) - set(configuration.labels)):
        raise TrainingError(
            f"the training texts have no text with the label {', '.join(missing)} of {run.path}: a model keeps its "
            "labels, so add such texts"
        )


def set_weights(model: keras.Model, run: Run, labels: tuple[str, ...]) -> None:
    """Set the weights of a new network, whose labels are `labels`, to those of the run.

    New words start with the vector of unknown words, so the network answers as the run does until it is trained. The
    units of new labels keep their random weights.
    """
    old = trained.load(run)
    for layer in model.layers:
        weights = old.get_layer(layer.name).get_weights()
        if layer.name == "embedding":
            weights = [_grown(weights[0], layer.input_dim, run.tokenizer.unknown_id)]
        elif layer.name == "probabilities" and labels != run.configuration.labels:
            weights = _with_labels(weights, run.configuration.labels, layer.get_weights(), labels)
        if weights:
            layer.set_weights(weights)


def _grown(embedding: npt.NDArray[Any], rows: int, unknown: int | None) -> npt.NDArray[Any]:
    assert unknown is not None  # in every tokenizer that a run can have
    return np.vstack([embedding, np.tile(embedding[unknown], (rows - len(embedding), 1))])


def _with_labels(
    weights: Sequence[npt.NDArray[Any]],
    old: tuple[str, ...],
    fresh: Sequence[npt.NDArray[Any]],
    new: tuple[str, ...],
) -> list[npt.NDArray[Any]]:
    """Return `fresh` with the kernel [features, units] and bias [units] of the old labels."""
    numbers = [new.index(label) for label in old]
    grown = []
    for of_old, of_new in zip(weights, fresh, strict=True):
        of_new[..., numbers] = units_of(of_old)
        grown.append(of_new)
    return grown


@dataclass(frozen=True, eq=False)
class InitialTables:
    """The look-up tables that a network starts with, and the dense layer after them."""

    labels: tuple[str, ...]
    unknown_id: int
    banks: tuple[Convolution, ...]
    tables: Sequence[Floats]  # [width, vocabulary, filters] for each bank
    kernel: Floats  # [filters, outputs]
    bias: Floats  # [outputs]
    of_words: Floats | None  # [vocabulary, outputs]: what each occurrence of a word adds to the logits

    @classmethod
    def of(cls, start: Run | Pretrained) -> InitialTables:
        """Read them from a run of the recipe `ensemble`, or from an artifact."""
        configuration, unknown = start.configuration, start.tokenizer.unknown_id
        assert unknown is not None  # in every tokenizer that a run can have
        banks = without_averages(configuration).convolutions
        if isinstance(start, Pretrained):
            tables, labels = start.tables, start.manifest.labels
            kernel, bias = start.kernel, start.bias
        else:
            read = from_keras(trained.load(start), configuration)
            tables, labels = tuple(each.entries for each in read.tables), configuration.labels
            (dense,) = read.head
            kernel, bias = dense.kernel, dense.bias
        filters = sum(bank.filters for bank in banks)
        of_words = None
        if len(tables) > len(banks):
            of_words = tables[-1][0] @ kernel[filters:] / np.float32(configuration.max_tokens)
        return cls(labels, unknown, banks, tables[: len(banks)], kernel[:filters], bias, of_words)

    def copy_to(self, net: TableNetwork, configuration: BaseConfiguration, ids: Ids) -> None:
        """Set the first filters of each bank to these, and give every label that they have its logits.

        `configuration` is that of the network, and `ids` are the words of its rows. New words start as unknown ones.
        Other filters, and the logits of other labels, keep their random weights.
        """
        kinds = [kind_of(bank) for bank in configuration.convolutions]
        firsts = list(accumulate((bank.filters for bank in configuration.convolutions), initial=0))
        own: list[int] = []
        for bank, table in zip(self.banks, self.tables, strict=True):
            place = kinds.index(kind_of(bank))
            net.tables[place][:, :, : bank.filters] = table[:, self._rows(ids)]
            own += range(firsts[place], firsts[place] + bank.filters)
        kernel, bias = net.dense
        share = 1 if self.of_words is None else 1 - SHARE
        kernel[own] = self._with_labels(kernel[own], self.kernel / share, configuration.labels)
        net.set_mean(net.tables, kernel, self._with_labels(bias, self.bias / share, configuration.labels))

    def linear_of(self, configuration: BaseConfiguration, vocabulary_size: int) -> Linear | None:
        """Return the linear model that it starts with and keeps, if it has one. New words and labels add nothing."""
        if self.of_words is None:
            return None
        rows = self.of_words[self._rows(np.arange(vocabulary_size, dtype=np.int32))] / SHARE
        fresh = np.zeros((vocabulary_size, configuration.outputs), np.float32)
        weights = self._with_labels(fresh, rows, configuration.labels)
        return Linear(weights, np.zeros(configuration.outputs, np.float32))

    def _rows(self, ids: Ids) -> Ids:
        """Return the rows of the tables for words."""
        return np.where(ids < self.tables[0].shape[1], ids, self.unknown_id)

    def _with_labels(self, fresh: Floats, own: Floats, labels: tuple[str, ...]) -> Floats:
        """Return the weights `fresh` [..., outputs] of a network with other labels, for the known labels from `own`."""
        units, theirs = units_of(fresh), units_of(own)
        for number, known in enumerate(places(labels, self.labels)):
            if known is not None:
                units[..., number] = theirs[..., known]
        return outputs_of(units, fresh.shape[-1])


def units_of(weights: Floats) -> Floats:
    """Return the weights of a softmax with the same probabilities, one unit a label: [..., labels]."""
    # A softmax of the logits -z/2 and z/2 is the sigmoid of z.
    return np.concatenate([-weights / 2, weights / 2], axis=-1) if weights.shape[-1] == 1 else weights.copy()


def outputs_of(units: Floats, outputs: int) -> Floats:
    """Return the weights of a sigmoid with the probabilities of two units, or the units if there are more labels."""
    return units[..., 1:] - units[..., :1] if outputs == 1 else units
