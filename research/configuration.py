"""The configurations of the shipped models whose recipes are here."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import ConfigDict, Field, model_validator

from research.mixture.labels import LABELS
from research.mixture.plan import Mixture
from sentiment_conv1d.artifact.configuration import BaseConfiguration, Convolution, Label
from sentiment_conv1d.model.data.labels import SENTIMENTS


class DistillationConfiguration(BaseConfiguration):
    """The configuration of a model that also learns teachers' answers to texts without a label."""

    model_config = ConfigDict(extra="forbid")

    _LABELS: ClassVar[tuple[str, ...]] = SENTIMENTS

    recipe: str = Field("distillation", pattern="^distillation$", description="How the model is trained.")

    @property
    def needs_validation(self) -> bool:
        """Whether the training needs held-out reviews: they always calibrate the probabilities."""
        return True

    @model_validator(mode="after")
    def _can_be_distilled(self) -> Self:
        """Check what `TableNetwork` needs: an embedding that holds the rows of all taps and banks."""
        if self.hidden_width:
            raise ValueError("a distillation needs no hidden layer")
        if self.labels != self._LABELS:
            raise ValueError(f"this recipe has the labels {', '.join(self._LABELS)}")
        if self.embedding_width != sum(bank.width * bank.filters for bank in self.convolutions):
            raise ValueError("the embedding width of a distillation must be the sum of the widths of all its filters")
        if self.tokenizer not in ("words", "words:marks"):
            raise ValueError(f"a distillation needs the tokenizer words or words:marks, not {self.tokenizer}")
        if self.patience or self.class_weights != "none" or self.calibration != "none":
            raise ValueError("a distillation has its own calibration, and takes no patience and no class weights")
        if self.members > 1 or (self.word_dropout and self.recipe == "distillation"):
            raise ValueError("a distillation has one network, and only a mixture leaves out words")
        return self


class MixtureConfiguration(DistillationConfiguration):
    """The configuration of a distillation from samples of several domains."""

    _LABELS: ClassVar[tuple[str, ...]] = LABELS

    labels: tuple[Label, ...] = Field(LABELS, description="What a text says.")
    recipe: str = Field("mixture", pattern="^mixture$", description="How the model is trained.")
    mixture: Mixture = Field(Mixture(), description="How much of each domain a mixture reads.")


#: `accurate` also learns from unlabelled reviews: see `research.distillation`.
ACCURATE = DistillationConfiguration(
    name="accurate",
    vocabulary_size=10_900,
    max_tokens=1000,
    embedding_width=3 * 512,
    convolutions=(Convolution(width=3, filters=512),),
    hidden_width=0,
    embedding_dropout=0,
    hidden_dropout=0.2,
    optimizer="adagrad",
    learning_rate=0.05,
    batch_size=1,
    epochs=8,
)

#: `reviews` learns from reviews of several domains: see `research.mixture.training`.
REVIEWS = MixtureConfiguration(
    name="reviews",
    vocabulary_size=20_000,
    max_tokens=1000,
    embedding_width=128 + 2 * 96 + 3 * 160,
    convolutions=tuple(Convolution(width=width, filters=filters) for width, filters in ((1, 128), (2, 96), (3, 160))),
    hidden_width=0,
    embedding_dropout=0,
    hidden_dropout=0.3,
    optimizer="adagrad",
    learning_rate=0.05,
    batch_size=1,
    epochs=7,
    min_precision=0.95,
    word_dropout=0.1,
)
