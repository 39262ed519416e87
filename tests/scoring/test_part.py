"""Parts are read, scored and written one by one, with the columns and the bad rows that the job states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sentiment_conv1d.model.tables import DataError
from sentiment_conv1d.model.tables.parquet import ParquetTable
from sentiment_conv1d.model.tables.table import CHUNK_ROWS
from sentiment_conv1d.scoring.part import Job, Result, read_ahead, score_part
from sentiment_conv1d.scoring.plan import Part, plan
from sentiment_conv1d.scoring.session import Session
from sentiment_conv1d.scoring.storage import find_sources, folder_at, open_parquet
from tests.scoring.test_scoring import ADDED, FakeClassifier, read, write

ROWS = [{"id": str(number), "text": f"review {number}"} for number in range(20)]


def job_of(folder: Path, extension: str, **settings: Any) -> Job:
    """Return a job of the fake classifier."""
    return Job(cast(Session, SimpleNamespace(classifier=FakeClassifier)), str(folder), extension, **settings)


def parts_of(*sources: Path, rows: int = 7) -> list[Part]:
    return list(plan(find_sources(list(map(str, sources))), rows))


def score(job: Job, parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Score parts and return all rows of their files."""
    results = [score_part(job, part) for part in parts]
    rows = [read(Path(job.folder) / result.file) for result in results]
    assert [result.rows for result in results] == list(map(len, rows))
    return [row for some in rows for row in some]


@pytest.mark.parametrize("into", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("extension", [".csv", ".jsonl", ".parquet"])
def test_columns(tmp_path: Path, extension: str, into: str) -> None:
    """The rows have all columns of the input, or those of the job, and then the added ones."""
    parts = parts_of(write(tmp_path / f"in{extension}", ROWS))
    for columns, expected in ((None, ["id", "text"]), (("id",), ["id"])):
        rows = score(job_of(tmp_path, into, columns=columns), parts)
        assert {tuple(row) for row in rows} == {(*expected, *ADDED)}
        assert [row["id"] for row in rows] == [row["id"] for row in ROWS]


def test_columns_of_one_file(tmp_path: Path) -> None:
    """The text column and the other ones must exist, except for the name of the column in a text file."""
    [text], [table] = (parts_of(write(tmp_path / name, ROWS[:3])) for name in ("in.txt", "in.csv"))
    assert len(score(job_of(tmp_path, ".jsonl", text_column="review"), [text])) == 3
    for settings, missing in (({"text_column": "review"}, "review"), ({"columns": ("id", "stars")}, "stars")):
        with pytest.raises(DataError, match=f"there is no column '{missing}'"):
            score_part(job_of(tmp_path, ".jsonl", **settings), table)


@pytest.mark.parametrize("extension", [".csv", ".jsonl"])
def test_columns_that_scoring_adds(tmp_path: Path, extension: str) -> None:
    """A column with the name of an added one is an error, also if only a later row has it."""
    rows = ROWS[:1] if extension == ".jsonl" else []
    [part] = parts_of(write(tmp_path / f"in{extension}", [*rows, {"text": "a", "score": "5"}]))
    with pytest.raises(DataError, match="the column 'score' has the name of one that scoring adds"):
        score_part(job_of(tmp_path, ".jsonl"), part)


def test_columns_of_a_table(tmp_path: Path) -> None:
    """The schema of the job decides the columns of JSON lines in a table."""
    [part] = parts_of(write(tmp_path / "in.jsonl", ROWS[:3]))
    assert list(score(job_of(tmp_path, ".csv", schema=["text", "id"]), [part])[0]) == ["text", "id", *ADDED]


def test_bad_rows(tmp_path: Path) -> None:
    """Bad rows of a part are counted and listed, in order, and a chunk of bad rows does not end it."""
    rows = [{"text": " "}] * CHUNK_ROWS + [{"text": "a" * 1_000_000}, {"text": "a" * 1_000_001}]
    source = write(tmp_path / "in.jsonl", rows)
    source.write_text("nonsense\n" + source.read_text())
    [part, *_] = parts_of(source, rows=len(rows) + 1)
    result = score_part(job_of(tmp_path, ".jsonl"), part)
    folder = folder_at(str(tmp_path))
    assert Result.read(folder, 0) == result
    assert (result.rows, result.bad_rows) == (1, CHUNK_ROWS + 2)
    bad = result.read_bad_rows(folder)
    assert [row.number for row in bad] == [*range(1, CHUNK_ROWS + 2), CHUNK_ROWS + 3]
    good = score_part(job_of(tmp_path, ".jsonl"), parts_of(write(tmp_path / "good.jsonl", ROWS[:3]))[0])
    assert good.read_bad_rows(folder) == []


def test_stop_at_bad_rows(tmp_path: Path) -> None:
    """A job that stops at bad rows names the first one, whether it cannot be scored or cannot be read."""
    job = job_of(tmp_path, ".jsonl", stop_at_bad_rows=True)
    [good] = parts_of(write(tmp_path / "good.jsonl", ROWS[:3]))
    assert len(score(job, [good])) == 3
    for content in ('{"text":"a"}\n{"text":" "}\n{"text":" "}\n', '{"text":"a"}\n{"text":\n{"text":\n'):
        (tmp_path / "in.jsonl").write_text(content)
        with pytest.raises(DataError, match="line 2: "):
            score_part(job, parts_of(tmp_path / "in.jsonl")[0])


def test_file_that_disappears(tmp_path: Path) -> None:
    """A file that cannot be read any more is an error with the reason of the system."""
    source = write(tmp_path / "in.txt", ROWS)
    [part, *_] = parts_of(source)
    source.unlink()
    with pytest.raises(DataError, match=r"in\.txt: cannot be read \(No such file or directory\)"):
        score_part(job_of(tmp_path, ".jsonl"), part)


def test_read_ahead(tmp_path: Path) -> None:
    """Only parts that share a row group of a Parquet file are read ahead, and the parts of all files follow."""
    sources = [write(tmp_path / name, ROWS) for name in ("a.csv", "b.parquet", "c.jsonl")]
    job = job_of(tmp_path, ".jsonl")
    for rows, carried in ((7, 3), (20, 0)):
        planned = parts_of(*sources, rows=rows)
        ahead = list(read_ahead(job, iter(planned)))
        assert [part._replace(content=None) for part in ahead] == planned
        assert [part.source.extension for part in ahead if part.content is not None] == [".parquet"] * carried
        assert [row["text"] for row in score(job, ahead)] == [row["text"] for row in ROWS] * 3


def test_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process opens a Parquet file once for its schema and once for its rows, whatever its number of parts."""
    opened: list[str] = []

    def note(place: str) -> ParquetTable:
        opened.append(place)
        return open_parquet(place)

    monkeypatch.setattr("sentiment_conv1d.scoring.part.open_parquet", note)
    parts = parts_of(write(tmp_path / "in.parquet", ROWS))
    score(job_of(tmp_path, ".jsonl", columns=("id",)), parts)
    assert len(parts) == 3 and opened == [str(tmp_path / "in.parquet")] * 2
