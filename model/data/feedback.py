"""Feedback that a service has logged: how often each version was right, and labelled texts to learn from.

A feedback log says which label was right for a text of a request. The text itself is in the request log, if the request
is in its sample and it contains texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sentiment_conv1d.model.commands.counting import counted
from sentiment_conv1d.model.data.rows import Row
from sentiment_conv1d.model.data.sources import Part
from sentiment_conv1d.model.tables import DataError
from sentiment_conv1d.model.tables.logs import Version, log_lines, version_of


@dataclass(frozen=True)
class TextKey:
    """What identifies a text in both logs. Callers can choose equal request ids, so the time belongs to it."""

    request_id: str
    time: str
    version: Version
    index: int


class Given(NamedTuple):
    """The last feedback on a text."""

    time: str
    predicted: str
    label: str


class FeedbackLog(NamedTuple):
    """The feedback of one or several files by text, and how many lines are no feedback."""

    given: dict[TextKey, Given]
    unreadable: int

    def by_version(self) -> Iterator[tuple[Version, int, int]]:
        """Yield each version, the number of texts with feedback, and for how many of them it was right."""
        texts = Counter(key.version for key in self.given)
        right = Counter(key.version for key, given in self.given.items() if given.predicted == given.label)
        return ((version, texts[version], right[version]) for version in sorted(texts))


def read_feedback(paths: Sequence[Path]) -> FeedbackLog:
    """Read files of JSON lines, and the files `feedback-*` in folders. Raises `DataError`, also if there is none.

    Of several feedbacks on a text, the last one counts. A line that is no feedback is skipped and counted.
    """
    given: dict[TextKey, Given] = {}
    unreadable = 0
    for line in log_lines(paths, "feedback"):
        try:
            record = orjson.loads(line)
            key = _key(record, record["predicted_at"], record["index"])
            new = Given(*(str(record[name]) for name in Given._fields))
        except (ValueError, TypeError, KeyError):
            unreadable += 1
        else:
            given[key] = max(new, given.get(key, new), key=lambda each: each.time)
    if not given:
        raise DataError(f"{', '.join(map(str, paths))}: no feedback in {counted(unreadable, 'line')}")
    return FeedbackLog(given, unreadable)


def labelled(feedback: FeedbackLog, request_logs: Sequence[Path]) -> Part:
    """Return the texts with feedback, labelled with the right label. Raises `DataError` if no text is in the log."""
    texts = {key: text for line in log_lines(request_logs, "requests") for key, text in _texts(line, feedback.given)}
    if not texts:
        raise DataError(
            "the request log contains no text with feedback: log requests with --request-log-texts on, and all of them "
            "with --request-log-sample 1"
        )
    rows = [
        Row("feedback", "text", number, texts[key], given.label)
        for number, (key, given) in enumerate(feedback.given.items(), 1)
        if key in texts
    ]
    return Part("the feedback", rows)


def _texts(line: bytes, wanted: Mapping[TextKey, Given]) -> Iterator[tuple[TextKey, str]]:
    """Yield the wanted texts in a line of a request log."""
    try:
        record = orjson.loads(line)
        for index, prediction in enumerate(record["predictions"]):
            key, text = _key(record, record["time"], index), prediction.get("text")
            if key in wanted and isinstance(text, str) and text.strip():
                yield key, text
    except (ValueError, TypeError, KeyError, AttributeError):
        return  # an incomplete line of a process that was killed


def _key(record: Mapping[str, Any], time: Any, index: Any) -> TextKey:
    return TextKey(str(record["request_id"]), str(time), version_of(record), int(index))
