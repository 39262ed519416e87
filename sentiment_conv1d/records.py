"""The answers of a model: dictionaries with the names of REST, whose keys are also attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


class Record(dict[str, Any]):
    """A dictionary, for JSON and data frames, with its keys as attributes, for programs."""

    __slots__ = ()

    if not TYPE_CHECKING:  # type checkers would accept any attribute

        def __getattr__(self, name: str) -> Any:
            try:
                return self[name]
            except KeyError:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.items())})"


class Prediction(Record):
    """The answer for one text, equal to that of `POST /v1/predict`."""

    __slots__ = ()

    label: str
    score: float  # the probability of `label`
    probabilities: dict[str, float]  # by label
    tokens: int  # ids before truncation
    unknown_tokens: int | None  # None: not counted, because the tokenizer finds parts of words
    truncated: bool
    confident: bool | None  # half of the words are known, and `score` reaches the limit of `label`; None without one
    labels: list[str]  # those at or above their thresholds; only of models that give a text several labels
    model: dict[str, str]  # its `name` and `version`


class Word(Record):
    """A word that the model read. `start` and `end` are the offsets of its characters in the text."""

    __slots__ = ()

    text: str
    start: int
    end: int
    id: int
    known: bool
    share: float  # what it adds to the logit


class Filter(Record):
    """A filter, and the words where it has its highest value."""

    __slots__ = ()

    width: int
    index: int  # among the filters of its width
    activation: float  # its value after pooling
    weight: float  # the factor by which the value moves the logit
    start: int  # offsets of the words; 0 to 0 if there are none
    end: int


class Contrast(Record):
    """What speaks for `label` and not for `against`: `log_odds` = `bias` + `padding` + all `shares`."""

    __slots__ = ()

    label: str
    against: str
    log_odds: float  # the logit of `label` minus that of `against`
    bias: float
    padding: float
    shares: list[float]  # of the words, in their order


class Sentence(Prediction):
    """A sentence, with its prediction as a text of its own. `start` and `end` are the offsets of its characters."""

    __slots__ = ()

    text: str
    start: int
    end: int
    share: float  # the sum of the shares of its words


class Explanation(Record):
    """Why a text gets its prediction, equal to the answer of `POST /v1/explain`.

    `logit` = `bias` + `padding` + the shares of all words, or of all sentences. It is the logit of the second label of
    a model with a single sigmoid, and of `label` in any other model. Only models with the labels negative, neutral and
    positive have a `contrast`.
    """

    __slots__ = ()

    prediction: Prediction
    label: str
    logit: float
    bias: float
    padding: float  # the share of the pad ids and the start id
    words: list[Word]
    filters: list[Filter]
    contrast: Contrast
    sentences: list[Sentence]  # only if they were asked for
    decided_by: int | None  # the index of the sentence that adds most to `label`, with `sentences`
