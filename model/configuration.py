"""The configuration of a training on your own rows, and the presets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self, get_args

from pydantic import ConfigDict, Field, model_validator

from sentiment_conv1d.artifact.configuration import BaseConfiguration, Convolution


class Configuration(BaseConfiguration):
    """The configuration of a training on your own rows."""

    model_config = ConfigDict(extra="forbid")

    recipe: Literal["labels", "ensemble"] = Field(
        "labels",
        exclude_if=lambda value: value == "labels",
        description="How the model is trained: labels (Keras fits one network to the labels) or ensemble (small "
        "networks learn the labels and are averaged into one).",
    )

    @model_validator(mode="after")
    def _suits_its_recipe(self) -> Self:
        if self.recipe == "ensemble":
            self._check_ensemble()
        elif self.members > 1:
            raise ValueError("only an ensemble has members: pass --preset text-ensemble")
        elif self.word_dropout:
            raise ValueError("only an ensemble leaves out words: pass --preset text-ensemble")
        return self

    def _check_ensemble(self) -> None:
        """Check what `model.training.averaging` computes."""
        if self.hidden_width or self.embedding_dropout or self.batch_size != 1 or self.optimizer != "adagrad":
            raise ValueError(
                "an ensemble has no hidden layer and no dropout after the embedding, and learns one text at a time "
                "with adagrad: for anything else, pass --preset text-cnn"
            )
        if self.members > min(convolution.filters for convolution in self.convolutions):
            raise ValueError(f"{self.members} members need as many filters of each width")
        if any(bank.pooling == "mean" for bank in self.convolutions):
            raise ValueError(
                "an ensemble has a linear model instead of filters that are averaged: for those, pass --preset text-cnn"
            )


#: The recipes of a training on your own rows.
RECIPES: tuple[str, ...] = get_args(Configuration.model_fields["recipe"].annotation)

#: The fewest and the most tokens that a training with `text-ensemble` reads of a text, if it chooses their number from
#: the training texts.
FEWEST_TOKENS, MOST_TOKENS = 400, 1000

#: `text-ensemble` is for your own texts: it reads all scripts, stops when the held-out loss no longer falls, is
#: calibrated, and learns from few texts: see `model.training.averaging`.
#: `text-cnn` is the network of `imdb-cnn` for your own texts, which also stops early and is calibrated.
#: `imdb-cnn` is the classic example of the Keras repository (examples/imdb_cnn.py). `kim-cnn` has the three filter
#: widths of Kim, "Convolutional Neural Networks for Sentence Classification" (EMNLP 2014).
PRESETS: dict[str, Configuration] = {
    "imdb-cnn": Configuration(),
    "text-cnn": Configuration(
        name="text-cnn", tokenizer="words:unicode", epochs=50, patience=3, calibration="temperature"
    ),
    "text-ensemble": Configuration(
        name="text-ensemble",
        tokenizer="words:unicode",
        vocabulary_size=10_000,
        embedding_width=(1 + 2) * 256,
        convolutions=(Convolution(width=1, filters=256), Convolution(width=2, filters=256)),
        hidden_width=0,
        embedding_dropout=0,
        hidden_dropout=0.5,
        optimizer="adagrad",
        learning_rate=0.05,
        batch_size=1,
        epochs=40,
        patience=5,
        calibration="temperature",
        recipe="ensemble",
        members=4,
        word_dropout=0.3,
    ),
    "kim-cnn": Configuration(
        name="kim-cnn",
        convolutions=tuple(Convolution(width=width, filters=100) for width in (3, 4, 5)),
        hidden_dropout=0.5,
    ),
}


def with_banks(configuration: BaseConfiguration, banks: Sequence[Convolution]) -> BaseConfiguration:
    """Return the configuration of a network of look-up tables with these banks of filters."""
    width = sum(bank.width * bank.filters for bank in banks)
    return configuration.model_copy(update={"convolutions": tuple(banks), "embedding_width": width})


def without_averages(configuration: BaseConfiguration) -> BaseConfiguration:
    """Return the configuration of the networks of a trained ensemble, without its linear model."""
    return with_banks(configuration, [bank for bank in configuration.convolutions if bank.pooling == "max"])
