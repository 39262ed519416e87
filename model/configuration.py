"""The Conv1D family as data: every number that decides what is trained."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

#: Ids every vocabulary starts with: padding, the start of a review, an unknown word.
RESERVED_IDS = 3

#: A name is a folder of the repository and a part of URLs.
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class Convolution(BaseModel):
    """One bank of filters over the embedded review: 'valid' padding, stride 1, relu."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(3, ge=1, description="Words under the filter at one position.")
    filters: int = Field(250, ge=1, description="Filters of this width.")


class Configuration(BaseModel):
    """Embedding -> one or several Conv1D in parallel -> global max pooling -> dense -> sigmoid or softmax."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field("imdb-cnn", description="Name of the model in a model repository.")
    labels: tuple[Label, ...] = Field(
        ("negative", "positive"), min_length=2, description="Two labels: one sigmoid; more: a softmax."
    )
    vocabulary_size: int = Field(5000, gt=RESERVED_IDS, description="Ids in all, the three reserved ones included.")
    max_tokens: int = Field(400, ge=1, description="Ids the model reads of one review: the last ones.")
    embedding_width: int = Field(50, ge=1, description="Numbers that stand for one word.")
    convolutions: tuple[Convolution, ...] = Field((Convolution(),), min_length=1, description="Banks of filters.")
    hidden_width: int = Field(250, ge=0, description="Units of the dense layer; 0: there is none.")
    embedding_dropout: Dropout = Field(0.2, description="Share of the embedding dropped while training.")
    hidden_dropout: Dropout = Field(0.2, description="Share of the dense layer dropped while training.")
    optimizer: Literal["adam", "rmsprop", "sgd", "adagrad"] = Field("adam", description="Keras optimizer.")
    learning_rate: float = Field(0.001, gt=0, allow_inf_nan=False, description="Step size of the optimizer.")
    batch_size: int = Field(32, ge=1, description="Reviews per training step.")
    epochs: int = Field(2, ge=1, description="Passes over the training reviews.")
    recipe: Literal["labels", "distillation"] = Field(
        "labels",
        exclude_if=lambda value: value == "labels",
        description="What is learned from: the labels, or with unlabelled texts also the answers of a teacher.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of weights, shuffling, dropout and hold-out.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        widths = [convolution.width for convolution in self.convolutions]
        if max(widths) > self.max_tokens:
            raise ValueError(f"a filter of width {max(widths)} does not fit into {self.max_tokens} tokens")
        if len(set(widths)) != len(widths):
            raise ValueError(f"filter widths repeat: {widths}")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels repeat: {list(self.labels)}")
        if self.recipe == "distillation":
            self._check_distillation()
        return self

    def _check_distillation(self) -> None:
        """`model.student` trains the look-up tables of one bank: `embedding_width` holds a word's rows of all taps."""
        if len(self.labels) != 2 or len(self.convolutions) != 1 or self.hidden_width:
            raise ValueError("a distillation has two labels, filters of one width and no hidden layer")
        (convolution,) = self.convolutions
        if self.embedding_width != convolution.width * convolution.filters:
            raise ValueError("the embedding width of a distillation is the width of its filters times their number")

    @property
    def activation(self) -> Literal["sigmoid", "softmax"]:
        """What the last layer ends with."""
        return "sigmoid" if len(self.labels) == 2 else "softmax"

    @property
    def outputs(self) -> int:
        """Units of the last layer: one for a sigmoid, one a label for a softmax."""
        return 1 if self.activation == "sigmoid" else len(self.labels)


#: `imdb-cnn` is the classic example of the Keras repository (examples/imdb_cnn.py); `kim-cnn` has the three filter
#: widths of Kim, "Convolutional Neural Networks for Sentence Classification" (EMNLP 2014). `accurate` is the most
#: accurate one, which learns from unlabelled reviews too: see `model.distillation`.
PRESETS: dict[str, Configuration] = {
    "imdb-cnn": Configuration(),
    "kim-cnn": Configuration(
        name="kim-cnn",
        convolutions=tuple(Convolution(width=width, filters=100) for width in (3, 4, 5)),
        hidden_dropout=0.5,
    ),
    "accurate": Configuration(
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
        epochs=6,
        recipe="distillation",
    ),
}
