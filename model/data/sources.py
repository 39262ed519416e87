"""Sources of labelled texts: files, folders and archives, and the splits in them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sentiment_conv1d.artifact.artifact import is_folder
from sentiment_conv1d.model.data import review_files
from sentiment_conv1d.model.data.rows import Columns, Row, read_rows
from sentiment_conv1d.tables import READABLE, DataError, Fault, Format, extension
from sentiment_conv1d.tables.table import class_names

_UNSUPPORTED = "this kind of file is not supported"
SUPPORTED = (
    "a .csv, .tsv, .jsonl or .parquet file, also compressed with gzip (.gz); a folder with train.parquet and perhaps "
    "test.parquet, or a dataset of Hugging Face (train-00000-of-00001.parquet); "
    "the Large Movie Review Dataset as aclImdb_v1.tar.gz or its unpacked folder aclImdb"
)
_UNLABELLED = -1

#: The name of the split with texts without a label, as in the Large Movie Review Dataset.
UNLABELLED_SPLIT = review_files.UNLABELLED

#: Parquet files of one split of a dataset: `train.parquet`, or as Hugging Face names them.
_PARQUET_SPLIT = re.compile(rf"(train|test|validation|{UNLABELLED_SPLIT})(-\d{{5}}-of-\d{{5}})?\.parquet")

#: The file in which Hugging Face's `datasets` and Hub describe a dataset.
_DATASET_INFO = "dataset_info.json"


@dataclass(frozen=True)
class Split:
    """The training, test or unlabelled rows of a source, and a name for messages."""

    name: str
    rows: list[Row]
    folder: Path  # absolute; `name` is in it

    def with_folders(self, depth: int) -> str:
        """Return the name after so many of the folders that it is in."""
        return "/".join((*self.folder.parts[max(0, len(self.folder.parts) - depth) :], self.name))


#: A function that reads the split "train", "test" or `UNLABELLED_SPLIT` of a source; None if the source lacks it.
Source = Callable[[str], Split | None]


@dataclass(frozen=True)
class Reader:
    """A reader of sources. It adds rows that cannot be used to `faults`."""

    columns: Columns
    form: Format
    faults: list[Fault]
    progress: bool
    unlabelled: bool = False  # whether texts without a label are wanted

    def open(self, path: Path) -> Source:
        """Return a function that reads the splits of a source. Raises `DataError`, which names the path."""
        if self.columns.text in self.columns.labels:
            raise DataError(f"texts and labels cannot both be read from column {self.columns.text!r}")
        if is_folder(path):
            return self._open_folder(path)
        if not path.is_file():
            raise DataError(f"{path}: there is no such file or folder; supported are {SUPPORTED}")
        if path.name.lower().endswith(".tar.gz"):
            self._require_no_segments(path)
            return partial(self._archive, path, review_files.read_archive(path, self.progress, self.unlabelled))
        kind = extension(path)
        if kind in READABLE and kind != ".txt":
            return partial(self._table, path)
        reason = "a .txt file has no columns (rename a table of Excel to .tsv)" if kind == ".txt" else _UNSUPPORTED
        raise DataError(f"{path}: {reason}; supported are {SUPPORTED}")

    def _open_folder(self, path: Path) -> Source:
        splits = _parquet_splits(path)
        if splits:
            return partial(self._parquet_folder, path, splits)
        root = review_files.find_root(path)
        if root is None:
            raise DataError(f"{path}: this folder contains no supported files; supported are {SUPPORTED}")
        self._require_no_segments(path)
        return partial(self._review_folder, root)

    def _require_no_segments(self, path: Path) -> None:
        if self.columns.segment is not None:
            raise DataError(f"{path}: every text is a file, so there is no column {self.columns.segment!r}")

    def _table(self, path: Path, split: str) -> Split | None:
        if split != "train":
            return None
        return Split(path.name, read_rows(path, self.columns, self.faults, self.form), path.resolve().parent)

    def _parquet_folder(self, folder: Path, splits: dict[str, list[Path]], split: str) -> Split | None:
        names = _described_labels(folder, self.columns.label)
        files = splits.get(split, [])
        labelled = split != UNLABELLED_SPLIT
        rows: list[Row] = []
        for file in files:
            rows += read_rows(
                file,
                self.columns,
                self.faults,
                # Many datasets on the Hub do not publish the labels of their test split.
                wanted=lambda label: (label != _UNLABELLED) is labelled,
                label_names=names,
            )
        if not files:
            return None
        if len(files) == 1:
            return Split(files[0].name, rows, files[0].resolve().parent)
        return Split(f"{folder.name}/{split}", rows, folder.resolve().parent)

    def _review_folder(self, root: Path, split: str) -> Split | None:
        rows = review_files.read_folder(root, split, self.progress)
        return Split(f"{review_files.FOLDER}/{split}", rows, root.resolve().parent) if rows else None

    def _archive(self, path: Path, splits: dict[str, list[Row]], split: str) -> Split | None:
        name = f"{path.name}, {split}"
        return Split(name, splits[split], path.resolve().parent) if split in splits else None


def _parquet_splits(folder: Path) -> dict[str, list[Path]]:
    """Return the Parquet files of "train", "test" and `UNLABELLED_SPLIT` in a folder or its folder `data`, in order.

    In a dataset without a test split, the split `validation` takes its place.
    """
    for place in (folder, folder / "data"):
        splits: dict[str, list[Path]] = {}
        for file in sorted(place.iterdir()) if place.is_dir() else ():
            if match := _PARQUET_SPLIT.fullmatch(file.name):
                splits.setdefault(match[1], []).append(file)
        validation = splits.pop("validation", [])
        if validation and "test" not in splits:
            splits["test"] = validation
        if splits.keys() - {UNLABELLED_SPLIT}:
            return splits
    return {}


def _described_labels(folder: Path, column: str) -> tuple[str, ...] | None:
    """Return the names of a column's `ClassLabel` in the folder's `dataset_info.json`; None if there are none."""
    file = folder / _DATASET_INFO
    if not file.is_file():
        return None
    try:
        return class_names(json.loads(file.read_text(encoding="utf-8"))["features"], column)
    except (ValueError, LookupError, TypeError):
        return None
