"""The configuration of a training, as an artifact records it: every number that decides what is trained."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from sentiment_conv1d.artifact.decision import MIN_PRECISION, THRESHOLD

#: The number of ids before the words of a vocabulary: padding, the start of a text, and unknown words.
RESERVED_IDS = 3

#: A name is a folder in the repository and part of URLs.
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_TOKENIZERS = r"^(words|words:marks|words:unicode|characters:[1-9]-[1-9])$"

Dropout = Annotated[float, Field(ge=0, lt=1)]


def is_name(name: str) -> bool:
    """Return whether a text can be the name of a model."""
    return re.fullmatch(NAME_PATTERN, name) is not None


class Convolution(BaseModel):
    """One bank of filters over the embedded text: 'valid' padding, stride 1, relu if their maxima are pooled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(3, ge=1, description="Words under the filter at one position.")
    filters: int = Field(250, ge=1, description="Filters of this width.")
    pooling: Literal["max", "mean"] = Field(
        "max",
        exclude_if=lambda value: value == "max",
        description="Over the text: max, or mean, which counts each position, the padding too, and has no relu.",
    )

    @property
    def name(self) -> str:
        """The name of the layer, which no other bank of the network has."""
        return f"convolution_{self.width}" + ("" if self.pooling == "max" else f"_{self.pooling}")

    def table_name(self, place: int) -> str:
        """Return the name of the layer that is the look-up table of a place in the window, 0 for the first."""
        return f"{self.name.replace('convolution', 'table')}_{place + 1}"

    def __str__(self) -> str:
        return f"{self.width}:{self.filters}" + ("" if self.pooling == "max" else f":{self.pooling}")


class BaseConfiguration(BaseModel):
    """Embedding -> one or several Conv1D in parallel -> global max pooling -> dense -> sigmoid or softmax.

    These are the numbers of every recipe. A recorded configuration keeps those that only its own recipe has.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: Name = Field("imdb-cnn", description="Name of the model in a model repository.")
    labels: tuple[Label, ...] = Field(
        ("negative", "positive"), min_length=2, description="Two labels make a sigmoid, more make a softmax."
    )
    multilabel: bool = Field(
        False,
        exclude_if=lambda value: not value,
        description="Whether a text can have several labels, or none: each label has a sigmoid.",
    )
    tokenizer: str = Field(
        "words",
        pattern=_TOKENIZERS,
        exclude_if=lambda value: value == "words",
        description="How texts are split: words (as in the IMDB data of Keras), words:marks (punctuation of all "
        "scripts, and emojis, emoticons, ratings, ! and ? as words), words:unicode (punctuation of all scripts) or "
        "character n-grams, for example characters:1-3.",
    )
    vocabulary_size: int = Field(5000, gt=RESERVED_IDS, description="Number of ids, including the three reserved ones.")
    max_tokens: int = Field(
        400,
        ge=1,
        description="Sequence length: the model reads the last ids of a text; without this flag, text-ensemble reads "
        "95% of the training texts whole, if that takes 400 to 1000 ids.",
    )
    embedding_width: int = Field(50, ge=1, description="Length of the vector of a word.")
    convolutions: tuple[Convolution, ...] = Field((Convolution(),), min_length=1, description="Banks of filters.")
    hidden_width: int = Field(250, ge=0, description="Units of the dense layer; 0: no dense layer.")
    embedding_dropout: Dropout = Field(0.2, description="Dropout rate after the embedding.")
    hidden_dropout: Dropout = Field(0.2, description="Dropout rate after the dense layer.")
    optimizer: Literal["adam", "rmsprop", "sgd", "adagrad"] = Field("adam", description="Keras optimizer.")
    learning_rate: float = Field(0.001, gt=0, allow_inf_nan=False, description="Step size of the optimizer.")
    batch_size: int = Field(32, ge=1, description="Texts per training step.")
    epochs: int = Field(2, ge=1, description="Maximum number of passes over the training texts.")
    patience: int = Field(
        0,
        ge=0,
        exclude_if=lambda value: value == 0,
        description="Training stops after this number of epochs without a lower loss on held-out texts, and keeps "
        "the best weights; 0: it never stops early.",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        exclude_if=lambda value: value == "none",
        description="Weight of a label in the loss: none (all texts count the same) or balanced (all labels do).",
    )
    calibration: Literal["none", "temperature"] = Field(
        "none",
        exclude_if=lambda value: value == "none",
        description="temperature: divide the logits by a number chosen on held-out texts.",
    )
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["f1"] = Field(
        THRESHOLD,
        exclude_if=lambda value: value == THRESHOLD,
        description="The lowest probability of the second of two labels at which the model answers with it; f1: the "
        "threshold with the highest macro F1 on held-out texts.",
    )
    min_precision: float = Field(
        MIN_PRECISION,
        gt=0,
        lt=1,
        exclude_if=lambda value: value == MIN_PRECISION,
        description="Share of right predictions of each label that decides from which probability on the model is "
        "confident of the label, measured on held-out texts.",
    )
    recipe: str = Field("labels", exclude_if=lambda value: value == "labels", description="How the model is trained.")
    members: int = Field(
        1,
        ge=1,
        exclude_if=lambda value: value == 1,
        description="Networks of an ensemble, which share the filters.",
    )
    word_dropout: Dropout = Field(
        0,
        exclude_if=lambda value: value == 0,
        description="Share of the words of a text that an ensemble leaves out when it learns the text.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of weights, shuffling, dropout and held-out texts.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        widths = [convolution.width for convolution in self.convolutions]
        if max(widths) > self.max_tokens:
            raise ValueError(f"a filter of width {max(widths)} does not fit into {self.max_tokens} tokens")
        if len({bank.name for bank in self.convolutions}) != len(widths):
            raise ValueError(f"filter widths repeat: {widths}")
        if self.tokenizer[-3:-2].isdigit() and self.tokenizer[-3] > self.tokenizer[-1]:
            raise ValueError(f"{self.tokenizer}: the shortest n-gram is longer than the longest")
        if self.multilabel and (self.threshold != THRESHOLD or self.class_weights != "none"):
            raise ValueError("thresholds of several labels for a text are chosen, and class_weights do not weigh them")
        if self.threshold != THRESHOLD and len(self.labels) > 2:
            raise ValueError(f"a threshold is for two labels; there are {len(self.labels)}")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels repeat: {list(self.labels)}")
        return self

    def changed(self, **values: Any) -> Self:
        """Return a configuration with other values. Raises `pydantic.ValidationError`."""
        return type(self).model_validate(self.model_dump() | values)

    @property
    def needs_validation(self) -> bool:
        """Whether the training is impossible without held-out texts."""
        return self.calibration != "none" or self.patience > 0 or self.threshold == "f1"

    @property
    def activation(self) -> Literal["sigmoid", "softmax"]:
        """The activation of the last layer."""
        return "sigmoid" if self.multilabel or len(self.labels) == 2 else "softmax"

    @property
    def outputs(self) -> int:
        """The number of units of the last layer: one for two labels that exclude each other, else one per label."""
        return 1 if self.activation == "sigmoid" and not self.multilabel else len(self.labels)
