"""`Model`: classifies, explains and scores texts in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Literal, overload

import orjson

from sentiment_conv1d.artifact.manifest import NO_ANSWER
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.explaining.explainer import FILTERS
from sentiment_conv1d.inference.prediction import Prediction as ServedPrediction
from sentiment_conv1d.inference.prediction import prediction_body
from sentiment_conv1d.inference.sentences import sentences_body
from sentiment_conv1d.records import Contrast, Explanation, Filter, Prediction, Sentence, Word
from sentiment_conv1d.scoring.batches import BatchScorer
from sentiment_conv1d.scoring.session import Session

#: Texts that are classified at once. This bounds the memory for their ids.
_TEXTS = 1024

#: The most characters of a text in a message.
_SHOWN = 40


class Model:
    """A loaded model, see `load`. Several threads can use it at the same time.

    A pickle of it contains the path of its folder, so the folder must exist wherever the pickle is loaded.

    Raises `SentimentError` if the artifact is damaged or the execution provider does not work.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.classifier: Classifier = session.open()

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.classifier.manifest.name

    @property
    def version(self) -> str:
        """The version of the model."""
        return str(self.classifier.manifest.version)

    @property
    def labels(self) -> list[str]:
        """The labels, in the order of the outputs."""
        return list(self.classifier.labels)

    @property
    def folder(self) -> Path:
        """The folder of the artifact."""
        return Path(self.session.artifact)

    @property
    def explainable(self) -> bool:
        """Whether `explain` can explain the decisions of this model."""
        return self.classifier.explainer.explainable

    def __repr__(self) -> str:
        return f"Model('{self.name}:{self.version}', labels={self.labels})"

    def __reduce__(self) -> tuple[type[Model], tuple[Session]]:
        return Model, (self.session,)

    @overload
    def predict(self, texts: str) -> Prediction: ...  # type: ignore[overload-overlap]

    @overload
    def predict(self, texts: Iterable[str]) -> list[Prediction]: ...

    def predict(self, texts: str | Iterable[str]) -> Prediction | list[Prediction]:
        """Return the prediction for a text, or a list with the prediction for each of several texts, in their order.

        Several texts are any iterable of strings: a list, a generator, an array, a Series of pandas or polars. Raises
        `TypeError` if one of them is not a string, and `ValueError` if the model has no answer to one, as some have to
        a text without words.
        """
        if isinstance(texts, str):
            return self._predict((texts,))[0]
        rest = _texts(texts)
        predictions: list[Prediction] = []
        while piece := list(islice(rest, _TEXTS)):
            predictions += self._predict(piece)
        return predictions

    def explain(
        self, text: str, label: str | None = None, *, filters: int = FILTERS, sentences: bool = False
    ) -> Explanation:
        """Return what every word of a text adds to the decision, and the `filters` that moved it most.

        `label` is the label to explain; by default, the predicted one. With `sentences`, also return the predictions of
        the sentences and what each adds. Raises `ValueError` if the model does not have the label, and
        `SentimentError` if the model has no exact explanations.
        """
        if not isinstance(text, str):
            raise TypeError(f"text: a string is needed, not {_kind(text)}")
        prediction, explanation, parts = self.classifier.explain(text, label, filters, sentences=sentences)
        document = asdict(explanation)
        document["words"] = list(map(Word, document["words"]))
        document["filters"] = list(map(Filter, document["filters"]))
        if (contrast := document.pop("contrast")) is not None:
            document["contrast"] = Contrast(contrast)
        record = Explanation(prediction=self._record(prediction), **document)
        if sentences:
            body = sentences_body(self.classifier.manifest, text, explanation.label, parts, self._record)
            record.update(body, sentences=list(map(Sentence, body["sentences"])))
        return record

    def score(
        self,
        frame: Any,
        text_column: str = "text",
        *,
        explain: int = 0,
        on_bad_rows: Literal["error", "null"] = "error",
    ) -> Any:
        """Return a table with more columns: the predictions for the texts in one of its columns.

        `BatchScorer` describes the kinds of tables, the added columns, the arguments and the errors.
        """
        return _Scorer(self, text_column, explain=explain, on_bad_rows=on_bad_rows)(frame)

    def _predict(self, texts: Sequence[str]) -> list[Prediction]:
        predictions = self.classifier.predict(texts)
        if self.classifier.manifest.needs_words:
            for text, prediction in zip(texts, predictions, strict=True):
                if not prediction.is_answer:
                    raise ValueError(f"{text[:_SHOWN]!r} has no answer: {NO_ANSWER}")
        return [self._record(each) for each in predictions]

    def _record(self, prediction: ServedPrediction) -> Prediction:
        """Return a prediction with the numbers of JSON: floats with as many digits as a float32 has."""
        body = prediction_body(self.classifier.manifest, prediction)
        return Prediction(orjson.loads(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)))


class _Scorer(BatchScorer):
    """Scores with a loaded model."""

    def __init__(self, model: Model, text_column: str, **options: Any) -> None:
        super().__init__(model.session.artifact, text_column, **options)
        self._model = model

    def classifier(self) -> Classifier:
        return self._model.classifier


def _texts(values: Iterable[str]) -> Iterator[str]:
    """Yield texts. Raises `TypeError` at the first value that is not one."""
    if type(values).__name__ == "LazyFrame":  # asking for its columns would read its files
        raise TypeError("texts: a LazyFrame has no texts yet; pass one column of what its .collect() returns")
    if getattr(values, "shape", None) == ():
        raise TypeError("texts: an array without a dimension is no sequence of texts; pass its .item()")
    if hasattr(values, "columns"):
        raise TypeError("texts: predict takes the texts of one column; score takes a whole frame")
    if isinstance(values, bytes | bytearray | Mapping) or not hasattr(values, "__iter__"):
        raise TypeError(f"texts: a string, or several strings are needed, not {_kind(values)}")
    if hasattr(values, "to_pylist"):  # Arrow yields its own scalars
        values = values.to_pylist()
    for number, text in enumerate(values):
        if not isinstance(text, str):
            raise TypeError(f"texts[{number}]: a string is needed, not {_kind(text)}")
        yield text


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__
