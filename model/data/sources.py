"""From a path to labelled texts, whatever lies there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sentiment_conv1d.model.data import review_files
from sentiment_conv1d.model.data.examples import Dataset, Examples
from sentiment_conv1d.model.data.rows import Columns, Row, read_rows
from sentiment_conv1d.model.tables import DataError

SUPPORTED = (
    "a .csv, .tsv, .jsonl or .parquet file; a folder with train.parquet and perhaps test.parquet; "
    "the Large Movie Review Dataset as aclImdb_v1.tar.gz or its unpacked folder aclImdb"
)
#: What the integers 0 and 1 stand for in a folder of Parquet files, and in `load_examples`.
SENTIMENTS = ("negative", "positive")
_UNLABELLED = -1
_UNLABELLED_PART = "unsup"

#: The tables that can have a column of labels.
_TABLES = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class _Part:
    """The training or the test rows of a source, and what to call them."""

    name: str
    rows: list[Row]

    def describe(self) -> str:
        return f"{len(self.rows):,} reviews of {self.name}"


#: Reads one part, "train", "test" or "unsup", the unlabelled one; None if the source has no such part.
_Reader = Callable[[str], _Part | None]


def load(
    path: Path,
    *,
    text_column: str = "text",
    label_column: str = "label",
    unlabelled: bool = False,
    progress: bool = True,
) -> Dataset:
    """Read everything there is to learn from at `path`; texts without a label only if `unlabelled`.

    Label names are the distinct labels as strings, sorted. In a folder of Parquet files, rows with the integer label -1
    are unlabelled and left out, and the integer labels 0 and 1 are named negative and positive.
    Raises `DataError`, which names the file, and the row or column at fault.
    """
    columns = Columns(text_column, label_column)
    with _unreadable_is_an_error(path):
        read = _open(path, columns, progress)
        train = read("train")
        if train is None:
            raise DataError(f"{path}: there is no training part, only a test part")
        names = _label_names(train.rows, named_integers=path.is_dir())
        if len(names) < 2:
            raise DataError(f"{path}: only one label, {names[0]!r}, in column {label_column!r}: nothing to tell apart")
        test = read("test")
        rest = read(_UNLABELLED_PART) if unlabelled else None
    return Dataset(
        label_names=names,
        train=_examples(train.rows, names),
        test=_examples(test.rows, names) if test else None,
        source=train.describe(),
        test_source=test.describe() if test else None,
        unlabelled=tuple(row.text for row in rest.rows) if rest else (),
    )


def load_examples(
    path: Path, label_names: Sequence[str], *, text_column: str = "text", label_column: str = "label"
) -> Examples:
    """Read what a trained model is evaluated on: a file, or the test part of a folder or archive (else its train part).

    Where the label names are negative and positive, the integer labels 0 and 1 stand for them.
    Raises `DataError`, which names the file, and the row or column at fault; a label outside `label_names` is a fault.
    """
    with _unreadable_is_an_error(path):
        read = _open(path, Columns(text_column, label_column), progress=False)
        part = read("test") or read("train")
    assert part is not None  # a path with neither part has not been opened
    return _examples(part.rows, tuple(label_names))


@contextmanager
def _unreadable_is_an_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from error


def _open(path: Path, columns: Columns, progress: bool) -> _Reader:
    if columns.text == columns.label:
        raise DataError(f"texts and labels cannot both be read from column {columns.text!r}")
    if path.is_dir():
        return _open_folder(path, columns, progress)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file or folder; what can be read: {SUPPORTED}")
    if path.name.lower().endswith(".tar.gz"):
        return _archive(path, progress)
    if path.suffix.lower() in _TABLES:
        return _table(path, columns)
    raise DataError(f"{path}: this kind of file is not supported; what can be read: {SUPPORTED}")


def _open_folder(path: Path, columns: Columns, progress: bool) -> _Reader:
    if any((path / f"{part}.parquet").is_file() for part in ("train", "test")):
        return _parquet_folder(path, columns)
    root = review_files.find_root(path)
    if root is None:
        raise DataError(f"{path}: nothing in this folder is supported; what can be read: {SUPPORTED}")
    return _review_folder(root, progress)


def _table(path: Path, columns: Columns) -> _Reader:
    def read(part: str) -> _Part | None:
        if part != "train":
            return None
        return _Part(path.name, read_rows(path, columns))

    return read


def _parquet_folder(folder: Path, columns: Columns) -> _Reader:
    def read(part: str) -> _Part | None:
        file = folder / f"{part}.parquet"
        if not file.is_file():
            return None
        labelled = part != _UNLABELLED_PART
        return _Part(file.name, read_rows(file, columns, lambda label: (label != _UNLABELLED) is labelled))

    return read


def _review_folder(root: Path, progress: bool) -> _Reader:
    def read(part: str) -> _Part | None:
        rows = review_files.read_folder(root, part, progress)
        return _Part(f"{review_files.FOLDER}/{part}", rows) if rows else None

    return read


def _archive(path: Path, progress: bool) -> _Reader:
    parts = review_files.read_archive(path, progress)

    def read(part: str) -> _Part | None:
        return _Part(f"{path.name}, {part}", parts[part]) if part in parts else None

    return read


def _label_names(rows: list[Row], named_integers: bool) -> tuple[str, ...]:
    labels = {row.label for row in rows}
    are_integers = all(type(row.label) is int for row in rows)  # a bool is none here
    if named_integers and are_integers and labels == {0, 1}:
        return SENTIMENTS
    return tuple(sorted({str(row.label) for row in rows}))


def _examples(rows: list[Row], names: tuple[str, ...]) -> Examples:
    numbers = {name: number for number, name in enumerate(names)}
    labels = np.empty(len(rows), np.int64)
    for index, row in enumerate(rows):
        name = _name(row.label, names)
        if name not in numbers:
            raise DataError(f"{row.place}: label {name!r} is none of the labels {', '.join(map(repr, names))}")
        labels[index] = numbers[name]
    return Examples([row.text for row in rows], labels)


def _name(label: str | int, names: tuple[str, ...]) -> str:
    if names == SENTIMENTS and type(label) is int and label in (0, 1):
        return SENTIMENTS[label]
    return str(label)
