"""Reads request logs."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sentiment_conv1d.artifact.errors import reading
from sentiment_conv1d.tables import DataError


class Version(NamedTuple):
    """One version of a model."""

    model: str
    number: int


@dataclass
class LoggedTexts:
    """The predictions of one version, a column for each field, and the times of the first and the last record.

    `unknown_tokens` has no values of texts whose unknown tokens were not counted.
    """

    labels: list[str] = field(default_factory=list)  # of all texts, which can have several each, or none
    multilabel: bool = False
    scores: array[float] = field(default_factory=lambda: array("d"))
    tokens: array[int] = field(default_factory=lambda: array("q"))
    unknown_tokens: array[int] = field(default_factory=lambda: array("q"))
    times: tuple[str, str] = ("", "")

    def extend(self, other: LoggedTexts) -> None:
        """Add the texts of another log or version."""
        self.labels += other.labels
        self.multilabel |= other.multilabel
        self.scores += other.scores
        self.tokens += other.tokens
        self.unknown_tokens += other.unknown_tokens
        times = [time for time in (*self.times, *other.times) if time]
        self.times = (min(times), max(times))


class Log(NamedTuple):
    """The records of one or several files by version, and how many lines are not records."""

    texts: dict[Version, LoggedTexts]
    unreadable: int


def read_log(paths: Iterable[Path]) -> Log:
    """Read files of JSON lines, and the files `requests-*` in folders. Raises `DataError`.

    A line that is not a record, such as an incomplete line of a process that was killed, is skipped and counted.
    """
    log: dict[Version, LoggedTexts] = {}
    unreadable = 0
    for line in _lines(paths):
        try:
            version, texts = _record(orjson.loads(line))
        except (ValueError, TypeError, KeyError, OverflowError):
            unreadable += 1
        else:
            log.setdefault(version, LoggedTexts()).extend(texts)
    return Log(log, unreadable)


def _lines(paths: Iterable[Path]) -> Iterator[bytes]:
    for path in paths:
        files = sorted(path.glob("requests-*.jsonl*")) if path.is_dir() else [path]
        if not files:
            raise DataError(f"{path}: there is no file requests-*.jsonl in this folder")
        for file in files:
            with reading(file, DataError), file.open("rb") as lines:
                yield from lines


def _record(record: Mapping[str, Any]) -> tuple[Version, LoggedTexts]:
    texts = LoggedTexts(times=(str(record["time"]),) * 2)
    for prediction in record["predictions"]:
        unknown: int | None = prediction["unknown_tokens"]
        if not (0 <= prediction["score"] <= 1 and 0 <= (unknown or 0) <= prediction["tokens"]):
            raise ValueError
        if isinstance(several := prediction.get("labels"), list):
            texts.labels += map(str, several)
            texts.multilabel = True
        else:
            texts.labels.append(str(prediction["label"]))
        texts.scores.append(prediction["score"])
        texts.tokens.append(prediction["tokens"])
        if unknown is not None:
            texts.unknown_tokens.append(unknown)
    return Version(str(record["model"]), int(record["version"])), texts
