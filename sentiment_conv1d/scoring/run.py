"""Scores a file: reads its rows, scores them in a pool of processes, and writes them in order."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import BinaryIO, Literal, NamedTuple, Self, cast

from tqdm import tqdm

from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.scoring.columns import check_free, prediction_columns
from sentiment_conv1d.scoring.files import STANDARD, Output, Source, check_free_path, replacing
from sentiment_conv1d.scoring.pool import Pool
from sentiment_conv1d.scoring.rows import Selection, keep_columns, select
from sentiment_conv1d.scoring.writers import CsvWriter, JsonlWriter, Writer
from sentiment_conv1d.tables import Chunk, DataError, Fault, Format, Table
from sentiment_conv1d.tables.text import INVALID_CSV, LineChunk

#: What happens to a row that cannot be scored: it ends the run, is left out, or is left out and listed in the error
#: file.
BadRows = Literal["error", "skip", "report"]


class Job(NamedTuple):
    """How files are scored."""

    text_column: str = "text"
    columns: tuple[str, ...] | None = None  # of the input that are copied to the output; None: all
    explain: int = 0  # number of the strongest words of each text
    max_characters: int = 1_000_000
    on_bad_rows: BadRows = "report"
    form: Format = Format()  # the delimiter and the encoding of text files, if they are stated

    def text_column_of(self, source: Source) -> str:
        """Return the column that is scored. A `.txt` file has only one."""
        return "text" if source.extension == ".txt" else self.text_column


class Summary(NamedTuple):
    """The result of a run."""

    rows: int  # scored
    bad_rows: int
    errors: str | None  # the location of the list of bad rows, or None
    hint: str = ""  # what can make bad rows readable
    warning: str = ""  # why the scores are probably of no use


def score_file(
    source: Source, output: Output, pool: Pool, job: Job, *, overwrite: bool = False, progress: bool = True
) -> Summary:
    """Score a file. The output keeps the order of its rows.

    A file as output is written under another name, and appears when it is complete, after its manifest and its list of
    bad rows. Memory does not grow with the file. Raises `DataError`, and then writes no output.
    """
    began = perf_counter()
    output.check(source, overwrite)
    rows, numbers = 0, True
    with output.opened() as file:
        with (
            BadRowsFile(output, job.on_bad_rows) as bad,
            source.open(job.form, None if job.on_bad_rows == "error" else []) as table,
            tqdm(total=table.total, unit=table.unit, unit_scale=True, disable=None if progress else True) as bar,
        ):
            added = prediction_columns(pool.session.classifier(), bool(job.explain))
            writer = _open_writer(source, output, table, job, file, added)
            try:
                selections = _selections(source, table, job, bad, pool.session.classifier())
                for selection, columns in pool.score(selections, job.explain):
                    writer.write(_kept(selection, job, output, added), columns)
                    rows += len(selection.texts)
                    numbers = numbers and all(map(_is_number, selection.texts))
                    bar.update(selection.chunk.progress)
                writer.finish()
            except BaseException:
                writer.abort()
                raise
            bar.total = bar.n
        source.check_unchanged()
        warning = _numbers_only(table, job.text_column_of(source)) if rows and numbers else ""
        summary = Summary(rows, bad.count, bad.location, table.hint, warning)
        if output.location != STANDARD:
            check_free_path(Path(output.location), overwrite)  # another program can have written it
            _write_manifest(source, output, pool, job, summary, perf_counter() - began)
            if summary.errors is None:
                output.errors.unlink(missing_ok=True)  # of the output that is replaced
    return summary


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers_only(table: Table, column: str) -> str:
    return f"{table.location}: the column {column!r} has only numbers; --text-column names the column of the texts"


class BadRowsFile:
    """The list of the rows that cannot be scored, one JSON object a line. A file exists only if there are any."""

    def __init__(self, output: Output, policy: BadRows) -> None:
        self.count = 0
        self.location: str | None = None  # None if no rows are listed
        self._output = output
        self._policy = policy
        self._stack = ExitStack()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.__exit__(*exception)  # type: ignore[arg-type]

    def add(self, faults: Sequence[Fault]) -> None:
        """Add rows. Raises `DataError` if they end the run."""
        for fault in faults:
            # After a quote that is never closed, the rest of the file is one record.
            if self._policy == "error" or fault.reason == INVALID_CSV:
                raise DataError(str(fault))
        self.count += len(faults)
        if faults and self._policy == "report":
            file = self._file = self._file or self._open()
            for fault in faults:
                # A file name can have bytes that are not UTF-8. Python reads them as lone surrogates.
                file.write(json.dumps(fault.record, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")

    def _open(self) -> BinaryIO:
        if self._output.location == STANDARD:
            self.location = "standard error"
            return cast(BinaryIO, sys.stderr.buffer)
        self.location = str(self._output.errors)
        return self._stack.enter_context(replacing(self._output.errors))


def _open_writer(
    source: Source, output: Output, table: Table, job: Job, file: BinaryIO, added: dict[str, object]
) -> Writer:
    table.require(job.text_column_of(source), "--text-column")
    for column in job.columns or ():
        table.require(column)
    columns = table.columns if job.columns is None or table.columns is None else job.columns
    check_free(table.location, columns or (), added)
    if output.extension == ".parquet":
        from sentiment_conv1d.scoring.parquet import ParquetWriter, schema_of

        return ParquetWriter(file, schema_of(table, job.columns), added)
    if output.extension == ".csv":
        return CsvWriter(file, columns, list(added))
    return JsonlWriter(file, list(added))


def _selections(
    source: Source, table: Table, job: Job, bad: BadRowsFile, classifier: Classifier
) -> Iterator[Selection]:
    """Yield the rows that can be scored, and list the others in the order of the file."""
    text_column = job.text_column_of(source)
    needed = None if job.columns is None else tuple(dict.fromkeys((*job.columns, text_column)))
    unreadable = [] if table.faults is None else table.faults
    for chunk in table.chunks(needed):
        selection = select(chunk, text_column, job.max_characters, classifier.answers)
        bad.add(sorted([*unreadable, *selection.bad], key=lambda fault: fault.number))
        unreadable.clear()
        if selection.texts:
            yield selection
    bad.add(unreadable)


def _kept(selection: Selection, job: Job, output: Output, added: Collection[str]) -> Chunk:
    """Return the rows with the columns that are copied. Raises `DataError` if an added column is among them."""
    chunk = selection.chunk
    # The Parquet writer picks the columns of Arrow batches itself.
    if job.columns is not None and (isinstance(chunk, LineChunk) or output.extension != ".parquet"):
        chunk = keep_columns(chunk, job.columns)
    if isinstance(chunk, LineChunk) and chunk.rows[0].json is not None:
        for row in chunk.rows:
            check_free(chunk.location(row.number), row.values, added)
    return chunk


def _write_manifest(source: Source, output: Output, pool: Pool, job: Job, summary: Summary, seconds: float) -> None:
    model = pool.session.classifier().manifest
    document = {
        "format_version": 1,
        "model": {"name": model.name, "version": model.version, "manifest_sha256": model.manifest_sha256},
        "rows": summary.rows,
        "bad_rows": summary.bad_rows,
        "on_bad_rows": job.on_bad_rows,
        "errors": summary.errors,
        "text_column": job.text_column,
        "columns": job.columns,
        "sources": [{"place": source.location, "bytes": source.size}],
        "seconds": round(seconds, 3),
    }
    # A file name can have bytes that are not UTF-8. Python reads them as lone surrogates, which JSON has to escape.
    content = json.dumps(document, indent=2, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
    with replacing(output.manifest) as file:
        file.write(content)
