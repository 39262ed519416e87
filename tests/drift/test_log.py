"""Request logs are read for the command `drift`."""

import json
from pathlib import Path
from typing import Any

import pytest

from sentiment_conv1d.artifact.text_statistics import TextStatistics
from sentiment_conv1d.drift.comparison import compare
from sentiment_conv1d.drift.log import Version, read_log
from sentiment_conv1d.tables import DataError


def record(time: str, *tokens: int, label: str = "yes", **fields: Any) -> str:
    """Build a line of a log."""
    predictions = [{"label": label, "score": 0.75, "tokens": each, "unknown_tokens": 1} for each in tokens]
    return json.dumps({"time": time, "model": "tiny", "version": 1, "predictions": predictions} | fields) + "\n"


def test_files_and_folders(tmp_path: Path) -> None:
    """The current and the rotated files of a folder are read. Other files are read only by name."""
    (tmp_path / "requests-0.jsonl").write_text(record("2026-01-03", 5))
    (tmp_path / "requests-0.jsonl.1").write_text(record("2026-01-01", 6, 7))
    (tmp_path / "requests-1.jsonl").write_text(record("2026-01-02", 8, version=2))
    (tmp_path / "other.jsonl").write_text(record("2026-01-04", 9))
    log = read_log([tmp_path])
    assert sorted(log.texts) == [Version("tiny", 1), Version("tiny", 2)]
    texts = log.texts[Version("tiny", 1)]
    assert (texts.times, sorted(texts.tokens)) == (("2026-01-01", "2026-01-03"), [5, 6, 7])
    assert (texts.labels, list(texts.scores), list(texts.unknown_tokens)) == (["yes"] * 3, [0.75] * 3, [1] * 3)
    assert len(read_log([tmp_path, tmp_path / "other.jsonl"]).texts[Version("tiny", 1)].labels) == 4


def test_tokens_that_are_not_counted(tmp_path: Path) -> None:
    """Texts of a tokenizer that does not count unknown words are read, and have no statistic of them."""
    (tmp_path / "log").write_text(record("2026-01-01", 5, 6).replace('"unknown_tokens": 1', '"unknown_tokens": null'))
    texts = read_log([tmp_path / "log"]).texts[Version("tiny", 1)]
    assert (list(texts.tokens), list(texts.unknown_tokens)) == ([5, 6], [])
    statistics = TextStatistics.of(
        "log", labels=texts.labels, scores=texts.scores, tokens=texts.tokens, unknown_tokens=texts.unknown_tokens
    )
    assert statistics.unknown_words is None and "unknown_words" not in statistics.model_dump()
    assert [each.name for each in compare(statistics, statistics)] == ["score", "label", "tokens"]


@pytest.mark.parametrize(
    "line",
    [
        *('{"time": "2026', "[]", "5", '{"time": "x"}', "\n", "\xff"),
        *(record("2026", 2**70), record("2026", 0), record("2026", version="one")),
        record("2026", 5).replace("0.75", "1e308"),
    ],
)
def test_invalid_lines(tmp_path: Path, line: str) -> None:
    """A line that is incomplete, or is not a record, is skipped and counted."""
    (tmp_path / "log").write_text(record("2026-01-01", 5) + line.rstrip("\n") + "\n" + record("2026-01-02", 6))
    log = read_log([tmp_path / "log"])
    assert log.unreadable == 1
    assert list(log.texts[Version("tiny", 1)].tokens) == [5, 6]


def test_missing_logs(tmp_path: Path) -> None:
    """A file that does not exist and a folder without logs are errors that name them."""
    with pytest.raises(DataError, match=r"missing: cannot be read \(No such file or directory\)"):
        read_log([tmp_path / "missing"])
    with pytest.raises(DataError, match="there is no file requests-"):
        read_log([tmp_path])


@pytest.mark.parametrize(
    ("score", "unknown", "valid"),
    [
        (0, 0, True),
        (1, 5, True),
        (1, 6, False),
        (0, -1, False),
        (-0.5, 0, False),
        (1.5, 0, False),
        (0.5, None, True),
    ],
)
def test_bounds(tmp_path: Path, score: float, unknown: int | None, valid: bool) -> None:
    """Scores are from 0 to 1, and no more tokens are unknown than there are. Other lines are counted one by one."""
    prediction = {"label": "yes", "score": score, "tokens": 5, "unknown_tokens": unknown}
    (tmp_path / "log").write_text(record("2026-01-01", predictions=[prediction]) * 2)
    log = read_log([tmp_path / "log"])
    assert log.unreadable == (0 if valid else 2) and bool(log.texts) == valid


def test_no_tokens(tmp_path: Path) -> None:
    """A text without tokens whose unknown words were not counted is a text."""
    prediction = {"label": "yes", "score": 0.5, "tokens": 0, "unknown_tokens": None}
    (tmp_path / "log").write_text(record("2026-01-01", predictions=[prediction]))
    assert read_log([tmp_path / "log"]).unreadable == 0


@pytest.mark.parametrize("labels", [[], ["calm"], ["calm", "joy"]])
def test_several_labels(tmp_path: Path, labels: list[str]) -> None:
    """All labels of a text count, and a log of such texts is marked."""
    prediction = {"labels": labels, "score": 0.5, "tokens": 5, "unknown_tokens": 1}
    (tmp_path / "several").write_text(record("2026-01-01", predictions=[prediction]))
    (tmp_path / "one").write_text(record("2026-01-01", 5))
    several, one = (read_log([tmp_path / name]).texts[Version("tiny", 1)] for name in ("several", "one"))
    assert (several.labels, several.multilabel) == (labels, True)
    assert (one.labels, one.multilabel) == (["yes"], False)
