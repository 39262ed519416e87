"""One file scored into another, all of it or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from tqdm import tqdm

from sentiment_conv1d.model.tables import READABLE, Chunk, DataError, Table, open_table
from sentiment_conv1d.scoring.columns import check_free, prediction_columns, prediction_values
from sentiment_conv1d.scoring.storage import replacing, writing_to
from sentiment_conv1d.scoring.writers import TEXT_WRITERS, Writer
from sentiment_conv1d.service.inference.prediction import Prediction

#: The extensions of files that can be written.
WRITABLE = (*TEXT_WRITERS, ".parquet")


class Scorer(Protocol):
    """What scoring needs of a classifier."""

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the probabilities of a prediction."""

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """One prediction a text, in their order."""


def score_file(
    source: Path,
    out: Path,
    classifier: Scorer,
    *,
    text_column: str = "text",
    overwrite: bool = False,
    progress: bool = True,
) -> int:
    """Score every row of `source` into `out`, both in the format of their extension; returns how many rows.

    An output row has the columns of the input row, then `predicted_label`, `score`, `probability_<label>` for each
    label, `tokens`, `unknown_tokens` and `truncated`; the floats are float32. A `.txt` file has the one column `text`
    whatever `text_column` is. Memory does not grow with the file. `out` appears only when it is complete: after any
    error, Ctrl-C included, there is no new file. Raises `DataError`, which names file and row or column.
    """
    _check_paths(source, out, overwrite)
    column = "text" if source.suffix.lower() == ".txt" else text_column
    with open_table(source) as table, replacing(out, partial(check_free_path, out, overwrite)) as file:
        table.require(column)
        writer = _open_writer(out.suffix.lower(), file, table, classifier.labels)
        try:
            rows = _score(table, column, writer, classifier, out, progress)
            with writing_to(out):
                writer.finish()
        except BaseException:
            writer.abort()
            raise
    return rows


def default_output(source: Path) -> Path:
    """Where the predictions for a file go if nobody says: beside it, in its format; JSONL for a `.txt` or `.tsv`.

    Raises `DataError` if the extension is not supported.
    """
    _check_extension(source, READABLE, "read")
    extension = source.suffix if source.suffix.lower() in WRITABLE else ".jsonl"
    return source.with_name(f"{source.stem}.predictions{extension}")


def _open_writer(extension: str, file: BinaryIO, table: Table, labels: Sequence[str]) -> Writer:
    """A writer into `file` for rows of `table`. Raises `DataError` if what the format needs is not installed."""
    if extension == ".parquet":
        from sentiment_conv1d.scoring.parquet import ParquetWriter, schema_of

        return ParquetWriter(file, schema_of(table), prediction_columns(labels))
    return TEXT_WRITERS[extension](file, table.columns, list(prediction_columns(labels)))


def _score(table: Table, column: str, writer: Writer, classifier: Scorer, out: Path, progress: bool) -> int:
    rows = 0
    added = prediction_columns(classifier.labels)
    check_free(table.place, table.columns or (), added)
    with tqdm(total=table.total, unit=table.unit, unit_scale=True, disable=not progress) as bar:
        for chunk in table.chunks():
            if table.columns is None:
                for row in chunk.rows:
                    check_free(chunk.place(row.number), row.values, added)
            predictions = classifier.predict(_texts(chunk, column))
            with writing_to(out):
                writer.write(chunk, list(map(prediction_values, predictions)))
            rows += len(chunk)
            bar.update(chunk.progress)
    return rows


def _texts(chunk: Chunk, column: str) -> list[str]:
    texts = []
    for number, text in zip(chunk.numbers, chunk.strings(column), strict=True):
        if text is None:
            raise DataError(f"{chunk.place(number)}: the column {column!r} is null, not a string")
        texts.append(text)
    return texts


def _check_paths(source: Path, out: Path, overwrite: bool) -> None:
    _check_extension(source, READABLE, "read")
    _check_extension(out, WRITABLE, "written")
    if not source.exists():
        raise DataError(f"{source}: there is no such file")
    if out.exists() and out.samefile(source):
        raise DataError(f"{out}: the output would replace the input")
    check_free_path(out, overwrite)


def _check_extension(path: Path, supported: Sequence[str], done: str) -> None:
    if path.suffix.lower() not in supported:
        raise DataError(f"{path}: only these extensions can be {done}: {', '.join(supported)}")


def check_free_path(out: Path, overwrite: bool) -> None:
    if out.is_dir():
        raise DataError(f"{out}: is a folder")
    if out.exists() and not overwrite:
        raise DataError(f"{out}: exists already; give another output or ask to overwrite it")
