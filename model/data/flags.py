"""The flags of commands that read labelled texts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from sentiment_conv1d.model.data.faults import OnBadRows
from sentiment_conv1d.model.data.loading import Reading, SimilarLabels
from sentiment_conv1d.model.tables import Format

#: The values of `--data`, for its help.
SOURCES = (
    "files (.csv, .tsv, .json, .jsonl, .parquet; also compressed), a folder with train.parquet and test.parquet, a "
    "dataset folder of Hugging Face, an aclImdb folder or its tar.gz, or the word imdb for the official download"
)


def add_reading_flags(command: argparse.ArgumentParser) -> None:
    """Add the flags that control how sources are read."""
    command.add_argument("--text-column", default="text", help="column of the texts in a file (default: text)")
    command.add_argument("--label-column", default="label", help="column of the labels in a file (default: label)")
    command.add_argument(
        "--delimiter", type=_delimiter, help="delimiter of a CSV file (default: detected from its header)"
    )
    command.add_argument(
        "--encoding", help="encoding of text files, for example cp1252 (default: from a byte order mark, or UTF-8)"
    )
    command.add_argument(
        "--on-bad-rows",
        choices=get_args(OnBadRows),
        default="error",
        help="what to do with rows that cannot be used: stop, leave them out, or leave them out and list every one "
        "(default: error)",
    )
    command.add_argument(
        "--similar-labels",
        choices=get_args(SimilarLabels),
        default="error",
        help="what to do with labels that differ only in case or white space: stop, merge them into one label, or "
        "keep them as different labels (default: error)",
    )


def reading_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the flags as keyword arguments of `load` and `load_examples`."""
    return {
        "text_column": options.text_column,
        "label_column": options.label_column,
        "reading": Reading(Format(options.delimiter, options.encoding), options.on_bad_rows, options.similar_labels),
    }


def locate(sources: Sequence[str]) -> list[Path]:
    """Return the sources as paths. `imdb` is downloaded, unless a file has that name."""
    return [_locate(source) for source in sources]


def _locate(source: str) -> Path:
    if source == "imdb" and not Path(source).exists():
        from sentiment_conv1d.model.data.download import fetch

        return fetch()
    return Path(source)


def _delimiter(text: str) -> str:
    delimiter = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise argparse.ArgumentTypeError(f"{text!r} is neither a single character nor the word tab")
    return delimiter
