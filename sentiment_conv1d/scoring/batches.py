"""`BatchScorer`: scores batches of texts in a program that reads and writes the data itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.options import ProviderChoice
from sentiment_conv1d.scoring.columns import (
    LABELS,
    OPTIONAL_BOOL,
    OPTIONAL_INT,
    check_free,
    prediction_columns,
    score_texts,
)
from sentiment_conv1d.scoring.rows import reason_of
from sentiment_conv1d.scoring.session import Session
from sentiment_conv1d.tables import DataError
from sentiment_conv1d.tables.table import require_distinct

#: The most texts that are scored at once. This bounds the memory for their ids.
_TEXTS = 1024


class BatchScorer:
    """Scores batches: `BatchScorer("model_repository/imdb-cnn/1")(batch)`.

    The result has one row for each row of the batch, in the same order:

        a list of strings              a list of dicts
        a pandas Series of strings     a pandas DataFrame
        a pandas DataFrame             the same with more columns
        a polars Series of strings     a polars DataFrame
        a polars DataFrame             the same with more columns
        an Arrow Table, RecordBatch    the same with more columns
        a dict of NumPy arrays         the same with more arrays

    The added columns are `predicted_label`, `score`, `probability_<label>` for each label (float32), `tokens`,
    `unknown_tokens` (int64, empty if the tokenizer finds parts of words), `truncated` and `confident`, which is empty
    for a label without a limit. A model that gives a text several labels adds `predicted_labels`, those at or above
    their thresholds. With `explain=N`, the column `top_words` has the N words that change the logit most, as objects
    with `text` and `share`.

    Pickling stores the path of the artifact and the settings. Each process opens the artifact at its first call, once
    for all scorers with the same settings, so the path must exist there. `threads` is the number of ONNX Runtime
    threads; 1 is fastest if a framework runs a process per core.

    A value is bad if it is not a string, is blank, or has more than `max_characters`, or if the model has no answer to
    it, as some models have none to a text without words. With `on_bad_rows="error"` it raises `DataError`; with
    `"null"` the added columns of its row are empty. An empty value is None, `<NA>` in pandas, and NaN in float arrays
    of NumPy. The other arrays of NumPy that can have one have the type `object`.
    """

    def __init__(
        self,
        artifact: str | Path,
        text_column: str = "text",
        *,
        explain: int = 0,
        on_bad_rows: Literal["error", "null"] = "error",
        max_characters: int = 1_000_000,
        provider: ProviderChoice = "cpu",
        threads: int = 1,
        device: int = 0,
    ) -> None:
        if on_bad_rows not in ("error", "null"):
            raise ValueError(f"on_bad_rows: 'error' or 'null' is needed, not {on_bad_rows!r}")
        self.session = Session(str(Path(artifact).absolute()), provider, threads, device)
        self.text_column = text_column
        self.explain = explain
        self.on_bad_rows = on_bad_rows
        self.max_characters = max_characters

    @property
    def columns(self) -> dict[str, Any]:
        """Return the names and types of the added columns, in order."""
        return prediction_columns(self.classifier(), bool(self.explain))

    def classifier(self) -> Classifier:
        """Return the classifier, which the first call in a process opens."""
        return self.session.classifier()

    def __call__(self, batch: Any) -> Any:
        """Score a batch.

        Raises `DataError` if the column of texts is missing, an added column exists already or two columns have the
        same name, `TypeError` if the batch has another type, and `ArtifactError` and `ProviderError` as
        `Session.classifier` does.
        """
        kind = type(batch).__module__.partition(".")[0]
        if kind == "pyarrow" and hasattr(batch, "column"):  # a reader or a data set has no rows yet
            return self._score_arrow(batch)
        if kind == "pandas":
            return self._score_pandas(batch)
        if kind == "polars" and hasattr(batch, "to_arrow"):  # nor has a LazyFrame
            return self._score_polars(batch)
        if isinstance(batch, dict):
            self._check(list(batch))
            added = self._score(np.atleast_1d(batch[self.text_column]).tolist())
            arrays = {name: np.fromiter(values, self._numpy_type(name), len(values)) for name, values in added.items()}
            return {**batch, **arrays}
        if isinstance(batch, list | tuple):
            added = self._score(batch)
            return [dict(zip(added, row, strict=True)) for row in zip(*added.values(), strict=True)]
        lazy = "; pass what its .collect() returns" if type(batch).__name__ == "LazyFrame" else ""
        raise TypeError(f"a batch cannot be of type {type(batch).__name__}{lazy}")

    def _score_arrow(self, batch: Any) -> Any:
        import pyarrow

        from sentiment_conv1d.scoring.parquet import decoded, fields_of

        self._check(batch.schema.names)
        column = batch.column(self.text_column)
        try:
            texts = column.to_pylist()
        except UnicodeDecodeError:
            texts = decoded(column)
        added = self._score(texts)
        arrays = list(batch.columns)
        schema = batch.schema
        for field in fields_of(self.columns):
            arrays.append(pyarrow.array(added[field.name], field.type))
            schema = schema.append(field)
        return type(batch).from_arrays(arrays, schema=schema)

    def _score_pandas(self, batch: Any) -> Any:
        import pandas

        single = isinstance(batch, pandas.Series)
        if not single:
            self._check(list(batch.columns))
        texts = batch if single else batch[self.text_column]
        added = self._score([None if missing else text for text, missing in zip(texts, texts.isna(), strict=True)])
        frame = pandas.DataFrame(
            {name: pandas.Series(values, batch.index, self._pandas_type(name)) for name, values in added.items()},
            batch.index,
        )
        return frame if single else batch.assign(**frame)

    def _score_polars(self, batch: Any) -> Any:
        import polars

        single = isinstance(batch, polars.Series)
        if not single:
            self._check(batch.columns)
        added = self._score((batch if single else batch[self.text_column]).to_list())
        word = polars.Struct({"text": polars.String, "share": polars.Float64})
        types = {
            str: polars.String,
            np.float32: polars.Float32,
            int: polars.Int64,
            bool: polars.Boolean,
            OPTIONAL_BOOL: polars.Boolean,
            OPTIONAL_INT: polars.Int64,
            LABELS: polars.List(polars.String),
        }
        schema = {name: types.get(kind, polars.List(word)) for name, kind in self.columns.items()}
        frame = polars.DataFrame(added, schema)
        return frame if single else batch.hstack(frame)

    def _numpy_type(self, name: str) -> Any:
        """Return the type of an added array. Arrays of integers and booleans cannot have missing values."""
        kind, may_be_missing = self._kind(name)
        if may_be_missing and kind is not np.float32:
            return object
        return {np.float32: np.float32, int: np.int64, bool: np.bool_}.get(kind, object)

    def _pandas_type(self, name: str) -> Any:
        """Return the type of an added column. Columns with missing values need pandas' own types."""
        kind, may_be_missing = self._kind(name)
        if may_be_missing:
            return {str: "string", np.float32: "Float32", int: "Int64", bool: "boolean"}.get(kind, object)
        return {str: "string", np.float32: "float32", int: "int64", bool: "bool"}.get(kind, object)

    def _kind(self, name: str) -> tuple[Any, bool]:
        """Return the type of an added column, and whether its values can be missing."""
        kind = self.columns[name]
        always = {OPTIONAL_BOOL: bool, OPTIONAL_INT: int}
        return (always[kind], True) if kind in always else (kind, self.on_bad_rows == "null")

    def _check(self, columns: Sequence[str]) -> None:
        if self.text_column not in columns:
            there_are = ", ".join(map(repr, columns)) or "none"
            raise DataError(f"the batch has no column {self.text_column!r}; columns: {there_are}")
        require_distinct("the batch", columns)
        check_free("the batch", columns, self.columns)

    def _score(self, texts: Sequence[Any]) -> dict[str, list[Any]]:
        """Return the added columns for texts."""
        classifier = self.classifier()
        reasons = [reason_of(text, self.text_column, self.max_characters, classifier.answers) for text in texts]
        if self.on_bad_rows == "error":
            for number, reason in enumerate(reasons):
                if reason is not None:
                    raise DataError(f"row {number} of the batch: {reason}")
        good = [text for text, reason in zip(texts, reasons, strict=True) if reason is None]
        scored = [
            score_texts(classifier, good[start : start + _TEXTS], self.explain) for start in range(0, len(good), _TEXTS)
        ]
        added: dict[str, list[Any]] = {}
        for place, name in enumerate(self.columns):
            values = chain.from_iterable(columns[place] for columns in scored)
            added[name] = [next(values) if reason is None else None for reason in reasons]
        return added
