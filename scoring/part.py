"""Scores one part of a run: writes its rows to one file, and its counts and bad rows to a progress file."""

from __future__ import annotations

import atexit
import json
from collections.abc import Generator, Iterator, Mapping
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from sentiment_conv1d.model.errors import reading
from sentiment_conv1d.model.tables import Chunk, DataError, Fault, Table
from sentiment_conv1d.model.tables.records import open_records
from sentiment_conv1d.model.tables.text import LineChunk
from sentiment_conv1d.scoring.columns import check_free, prediction_columns, score_texts
from sentiment_conv1d.scoring.plan import PART_BYTES, Part
from sentiment_conv1d.scoring.rows import keep_columns, select
from sentiment_conv1d.scoring.session import Session
from sentiment_conv1d.scoring.storage import Folder, Source, folder_at, open_parquet, open_place
from sentiment_conv1d.scoring.writers import CsvWriter, JsonlWriter, Writer

if TYPE_CHECKING:
    from sentiment_conv1d.model.tables.parquet import ParquetTable
    from sentiment_conv1d.scoring.arrow import RowReader

#: The prefix of progress files. An unfinished run has one per finished part.
PROGRESS = "_progress."


class Job(NamedTuple):
    """The settings that all parts of a run share. It is sent to other processes and machines."""

    session: Session
    folder: str  # where the parts are written
    extension: str  # of the parts: .jsonl, .csv or .parquet
    text_column: str = "text"
    columns: tuple[str, ...] | None = None  # of the input that are copied to the output; None: all
    schema: Any = None  # column names or Arrow schema of JSONL rows, if the format of the parts needs them
    explain: int = 0  # number of the strongest words of each text
    max_characters: int = 1_000_000
    stop_at_bad_rows: bool = False


class Result(NamedTuple):
    """A part that has been written."""

    number: int
    file: str
    source: str
    size: int  # of the part, see `Part.size`
    rows: int  # in the file
    bad_rows: int

    @classmethod
    def read(cls, folder: Folder, number: int) -> Result:
        """Read the progress file of a part."""
        return cls(**json.loads(folder.read(progress_file(number)))["result"])

    def read_bad_rows(self, folder: Folder) -> list[Fault]:
        """Return the rows of the part that could not be scored."""
        if not self.bad_rows:
            return []
        return [Fault(*row) for row in json.loads(folder.read(progress_file(self.number)))["bad"]]


def progress_file(number: int) -> str:
    """Return the name of a part's progress file."""
    return f"{PROGRESS}{number:05}.json"


def score_part(job: Job, part: Part) -> Result:
    """Read, score and write a part. Its progress file appears after its file is complete.

    Raises `DataError` if the part cannot be read or written, and at a bad row if the job stops at bad rows.
    """
    folder = folder_at(job.folder)
    name = f"part-{part.number:05}{job.extension}"
    faults: list[Fault] = []
    with folder.writing(name) as file:
        rows, bad = _write(job, part, _read(job, part, faults), file)
    bad = sorted([*bad, *faults], key=lambda row: row.number)
    result = Result(part.number, name, part.source.place, part.size, rows, len(bad))
    folder.write(progress_file(part.number), json.dumps({"result": result._asdict(), "bad": bad}).encode())
    return result


def read_ahead(job: Job, parts: Iterator[Part]) -> Generator[Part]:
    """Yield parts, with their rows if they share a row group of a Parquet file.

    A process that reads such a part decodes the rows before it, so one process reads for all. Raises `DataError` if a
    part cannot be read.
    """
    for source, some in groupby(parts, attrgetter("source")):
        if source.extension != ".parquet":
            yield from some
            continue
        from sentiment_conv1d.scoring.arrow import RowReader, pack

        with open_parquet(source.place) as table:
            rows = RowReader(table, _columns(job))
            for part in some:
                if all(table.group_of(row)[1] == row for row in (part.start, part.stop)):
                    yield part
                else:
                    yield part._replace(content=pack(rows.read(part.start, part.stop), PART_BYTES))


def _write(job: Job, part: Part, chunks: Iterator[Chunk], file: BinaryIO) -> tuple[int, list[Fault]]:
    """Score chunks into a file. Returns the number of its rows, and the rows that cannot be scored."""
    classifier = job.session.classifier()
    added = prediction_columns(classifier.labels, bool(job.explain))
    writer = _open_writer(job, part, file, added)
    rows = 0
    bad: list[Fault] = []
    try:
        for chunk in chunks:
            good, texts, wrong = select(chunk, text_column(job, part.source), job.max_characters)
            if wrong and job.stop_at_bad_rows:
                raise DataError(str(wrong[0]))
            bad += wrong
            if not texts:
                continue
            if job.columns is not None and (isinstance(good, LineChunk) or job.extension != ".parquet"):
                good = keep_columns(good, job.columns)
            if part.source.extension in (".jsonl", ".json"):
                for row in good.rows:
                    check_free(good.place(row.number), row.values, added)
            writer.write(good, score_texts(classifier, texts, job.explain))
            rows += len(texts)
        writer.finish()
    except BaseException:
        writer.abort()
        raise
    return rows, bad


def _open_writer(job: Job, part: Part, file: BinaryIO, added: Mapping[str, Any]) -> Writer:
    table = _table(part)
    table.require(text_column(job, part.source), "--text-column")
    for column in job.columns or ():
        table.require(column)
    columns = table.columns if job.columns is None or table.columns is None else job.columns
    check_free(table.place, columns or (), added)
    if job.extension == ".parquet":
        from sentiment_conv1d.scoring.parquet import ParquetWriter, schema_of

        return ParquetWriter(file, schema_of(table, job.columns) or job.schema, added)
    if job.extension == ".csv":
        return CsvWriter(file, job.schema or columns, list(added))
    return JsonlWriter(file, columns, list(added))


def text_column(job: Job, source: Source) -> str:
    """Return the column that is scored. A `.txt` file has only one."""
    return "text" if source.extension == ".txt" else job.text_column


def _table(part: Part) -> Table:
    """Return the part as an open table, or the whole of a Parquet file."""
    if part.source.extension == ".parquet":
        return _parquet(part.source, None)[0]
    return open_records(
        part.source.place, part.source.extension, part.header, part.content or b"", part.first, part.form
    )


def _read(job: Job, part: Part, faults: list[Fault]) -> Iterator[Chunk]:
    """Yield the rows of a part. Rows that cannot be read go to `faults`, unless the job stops at bad rows."""
    source = part.source
    if source.extension == ".parquet":
        if part.content is None:
            yield from _parquet(source, _columns(job))[1].read(part.start, part.stop)
            return
        from sentiment_conv1d.scoring.arrow import unpack

        yield from unpack(source.place, part.start, part.content)
        return
    collected = None if job.stop_at_bad_rows else faults
    content = _content(part)
    table = open_records(source.place, source.extension, part.header, content, part.first, part.form, collected)
    yield from table.chunks()


def _columns(job: Job) -> tuple[str, ...] | None:
    """Return the columns of a Parquet file that the job needs, or None for all."""
    return None if job.columns is None else tuple(dict.fromkeys((*job.columns, job.text_column)))


def _content(part: Part) -> bytes:
    if part.content is not None:
        return part.content
    with reading(part.source.place, DataError), open_place(part.source.place) as file:
        file.seek(part.start)
        return file.read(part.stop - part.start)


@lru_cache(maxsize=2)
def _parquet(source: Source, columns: tuple[str, ...] | None) -> tuple[ParquetTable, RowReader]:
    """Return an open Parquet file, and a reader of its rows that continues after the previous part."""
    from sentiment_conv1d.scoring.arrow import RowReader

    table = open_parquet(source.place)
    return table, RowReader(table, columns)


# A reader that is suspended in the middle of a file must be closed while pyarrow can still be used.
atexit.register(_parquet.cache_clear)
