"""The flags of commands that read labelled texts."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

from sentiment_conv1d.commands.imports import import_tensorflow
from sentiment_conv1d.commands.parser import local
from sentiment_conv1d.model.data.faults import OnBadRows, summary
from sentiment_conv1d.model.data.labels import SimilarLabels
from sentiment_conv1d.model.data.loading import Reading
from sentiment_conv1d.model.data.rows import Columns
from sentiment_conv1d.tables import Fault
from sentiment_conv1d.tables.format import add_format_flags, read_format

#: The values of `--data`, for its help.
SOURCES = (
    "files (.csv, .tsv, .jsonl, .parquet; also with .gz), a folder with train.parquet and test.parquet, a "
    "dataset folder of Hugging Face, an aclImdb folder or its tar.gz, or the word imdb for the official download"
)


def add_sources(command: argparse.ArgumentParser, name: str, meaning: str, **settings: Any) -> None:
    """Add an argument that takes one source or several."""
    command.add_argument(name, type=local, nargs="+", metavar="SOURCE", help=meaning, **settings)


def add_reading_flags(command: argparse.ArgumentParser) -> None:
    """Add the flags that control how sources are read."""
    command.add_argument(
        "--text-column", metavar="COLUMN", default="text", help="column of the texts in a file (default: text)"
    )
    command.add_argument(
        "--label-column", metavar="COLUMN", default="label", help="column of the labels in a file (default: label)"
    )
    command.add_argument(
        "--several-labels",
        action="store_true",
        help="a text can have several labels, or none: the column of the labels contains a|b or a JSON list",
    )
    command.add_argument(
        "--label-columns",
        type=_columns,
        default=(),
        metavar="A,B",
        help="a text can have several labels: each of these columns is a label, and contains 0 or 1",
    )
    add_format_flags(command)
    command.add_argument(
        "--on-bad-rows",
        choices=get_args(OnBadRows),
        default="error",
        help="what to do with rows that cannot be used: stop, leave them out and count them, or also list every one "
        "(default: error)",
    )
    command.add_argument(
        "--similar-labels",
        choices=get_args(SimilarLabels),
        default="error",
        help="what to do with labels that differ only in case or white space: stop, merge them into one label, or "
        "keep them as different labels (default: error)",
    )
    command.add_argument(
        "--label-map",
        type=_label_map,
        default=(),
        metavar="LABEL=NAME,...",
        help="names for labels in the data, for example 0=negative,1=positive",
    )


def _columns(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if len(names) < 2 or not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of two columns or more, such as toxic,insult")
    return names


def _label_map(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [pair.split("=", maxsplit=1) for pair in text.split(",")]
    if not all(len(pair) == 2 and pair[0].strip() and pair[1].strip() for pair in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 0=negative,1=positive")
    return tuple((label.strip(), name.strip()) for label, name in pairs)


def reading_of(options: argparse.Namespace, segment_column: str | None = None) -> Reading:
    """Return how the flags say that sources are read, with the values of `segment_column`."""
    several = options.several_labels or bool(options.label_columns)
    columns = Columns(options.text_column, options.label_column, segment_column, several, options.label_columns)
    return Reading(read_format(options), options.on_bad_rows, options.similar_labels, options.label_map, columns)


def print_left_out(faults: Iterable[Fault], *, every: bool = False) -> None:
    """Print which rows were left out and why: a line for each file and reason, or for every row."""
    for line in map(str, faults) if every else summary(faults):
        print(f"warning: left out: {line}")


def locate(sources: Sequence[str]) -> list[Path]:
    """Return the sources as paths. `imdb` is downloaded, unless a file has that name."""
    return [_locate(source) for source in sources]


def _locate(source: str) -> Path:
    if source == "imdb" and not Path(source).exists():
        import_tensorflow()
        from sentiment_conv1d.model.data.download import fetch

        return fetch()
    return Path(source)
