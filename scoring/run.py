"""A run: scores files into a folder of parts, or into one file. An engine maps `score_part` over the parts.

If a run is killed, the same command continues it after its finished parts. Its folder contains:

    part-00000.parquet …        the parts; removed at the end of a run into one file
    _progress.00000.json …      the counts and bad rows of each finished part; removed at the end
    _run.json                   the inputs and settings; removed at the end
    _manifest.json              written last: counts, model, inputs and parts
    _errors.jsonl               the rows that could not be scored, if there are any

Readers of folders, such as pandas, Spark and Ray, skip the files whose names begin with an underscore.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import mkdtemp
from time import perf_counter
from typing import Any, BinaryIO, Literal, NamedTuple, Self, cast

from tqdm import tqdm

from sentiment_conv1d.model.errors import writing
from sentiment_conv1d.model.tables import DataError, Format
from sentiment_conv1d.model.tables.files import is_compressed
from sentiment_conv1d.scoring.part import PROGRESS, Job, Result
from sentiment_conv1d.scoring.plan import PART_ROWS, Part, plan
from sentiment_conv1d.scoring.storage import (
    STANDARD,
    Folder,
    LocalFolder,
    RemoteFolder,
    Source,
    check_free_path,
    check_unchanged,
    contains,
    folder_at,
    replacing,
    standard_output,
)
from sentiment_conv1d.scoring.writers import TEXT_CONCATENATIONS, Concatenation

#: What happens to a row that cannot be scored: it ends the run, is left out, or is left out and listed in the error
#: file.
BadRows = Literal["error", "skip", "report"]

#: Maps `score_part` over parts. The results may come in any order.
Engine = Callable[[Job, Iterator[Part]], Iterator[Result]]

MANIFEST, ERRORS, RUN = "_manifest.json", "_errors.jsonl", "_run.json"


class Output(NamedTuple):
    """The output of a run: a folder of parts, one file, or standard output."""

    place: str  # a path, a URL or `STANDARD`
    single: bool  # whether it is one file
    extension: str  # of the file or the parts

    def parts(self) -> str:
        """Return the folder of the parts: a new temporary one if the run cannot be continued. Raises `DataError`."""
        if not self.single:
            return self.place
        if self.place == STANDARD:
            try:
                return mkdtemp(prefix="scoring-")
            except OSError as error:
                raise DataError(f"{error.strerror}; TMPDIR names a folder for temporary files") from error
        path = Path(self.place)
        return str(path.with_name(f".{path.name}.parts"))

    def beside(self, ending: str) -> Path:
        """Return the path of a file beside the output, for example `reviews.predictions.manifest.json`."""
        path = Path(self.place)
        return path.with_name(f"{path.stem}.{ending}")


class Summary(NamedTuple):
    """The result of a run, over all its attempts."""

    rows: int  # scored
    bad_rows: int
    errors: str | None  # the error file, or None


def score_sources(
    sources: Sequence[Source],
    output: Output,
    job: Job,
    engine: Engine,
    *,
    on_bad_rows: BadRows = "report",
    form: Format = Format(),  # noqa: B008
    part_rows: int = PART_ROWS,
    overwrite: bool = False,
    progress: bool = True,
) -> Summary:
    """Score files. The output keeps the order of the rows.

    `form` is the delimiter and the encoding of text files, if they are stated. The fields `folder` and
    `stop_at_bad_rows` of the job are set here. Finished parts remain after any error, and the next run with the same
    arguments continues after them. Raises `DataError`.
    """
    began = perf_counter()
    _check_output(sources, output, overwrite)
    with _folder_of(output) as folder:
        job = job._replace(folder=folder.place, stop_at_bad_rows=on_bad_rows == "error")
        results = _begin(
            folder,
            _identity(sources, job, form, part_rows),
            fresh=overwrite,
            single=output.single,
            stop_at_bad_rows=job.stop_at_bad_rows,
        )
        with ExitStack() as stack:
            bar = stack.enter_context(_Bar(sources, progress))
            assembly = stack.enter_context(_assembling(output, folder, overwrite)) if output.single else None
            parts = (part for part in plan(sources, part_rows, form) if part.number not in results)
            for result in chain(list(results.values()), engine(job, parts)):
                results[result.number] = result
                bar.add(result)
                if assembly is not None:
                    assembly.add(result)
            check_unchanged(sources)
        ordered = [results[number] for number in sorted(results)]
        seconds = perf_counter() - began
        return _finish(output, folder, job, ordered, sources, on_bad_rows, seconds, overwrite=overwrite)


@contextmanager
def _folder_of(output: Output) -> Iterator[LocalFolder | RemoteFolder]:
    """Yield the folder of the parts. A run into standard output cannot be continued, so its folder is removed."""
    folder = folder_at(output.parts())
    try:
        yield folder
    finally:
        folder.release()
        if output.place == STANDARD:
            shutil.rmtree(folder.place, ignore_errors=True)


class _Bar:
    """The progress bar: rows, rows per second, and the remaining time, estimated from the bytes of the files.

    The size of standard input is not known, nor that of a compressed file after decompression.
    """

    def __init__(self, sources: Sequence[Source], shown: bool) -> None:
        self._bar = tqdm(unit=" rows", unit_scale=True, disable=not shown)
        known = not any(is_compressed(Path(source.place)) for source in sources)
        self._size = sum(source.size for source in sources) if known else 0
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None:
            self._bar.total = self._bar.n
        self._bar.close()

    def add(self, result: Result) -> None:
        """Count a part."""
        self._done += result.size
        rows = self._bar.n + result.rows + result.bad_rows
        if self._size and self._done:
            self._bar.total = max(round(rows * self._size / self._done), rows)
        self._bar.update(rows - self._bar.n)


class _Assembly:
    """Joins the parts into one file, in order."""

    def __init__(self, folder: Folder, file: BinaryIO, extension: str) -> None:
        self._folder = folder
        self._file = file
        self._ready: dict[int, Result] = {}
        self._next = 0
        if extension == ".parquet":
            from sentiment_conv1d.scoring.parquet import ParquetConcatenation

            self._rows: Concatenation = ParquetConcatenation(file)
        else:
            self._rows = TEXT_CONCATENATIONS[extension](file)

    def add(self, result: Result) -> None:
        """Append a part, as soon as all parts before it have been appended. Raises `DataError` for other columns."""
        self._ready[result.number] = result
        while (ready := self._ready.pop(self._next, None)) is not None:
            self._next += 1
            with self._folder.open(ready.file) as part:
                try:
                    self._rows.add(part, ready.rows)
                except DataError as error:
                    raise DataError(f"{ready.source}: {error}") from error

    def finish(self) -> None:
        """Complete the file."""
        self._rows.finish()
        self._file.flush()

    def abort(self) -> None:
        """Release the file. Never raises."""
        self._rows.abort()


@contextmanager
def _assembling(output: Output, folder: Folder, overwrite: bool) -> Iterator[_Assembly]:
    with ExitStack() as stack:
        path = Path(output.place)
        if output.place == STANDARD:
            file = standard_output()
        else:
            check = partial(check_free_path, path, overwrite)
            file = stack.enter_context(replacing(path, check, Path(folder.place)))
        stack.enter_context(writing(path, DataError))
        assembly = _Assembly(folder, file, output.extension)
        try:
            yield assembly
            assembly.finish()
        except BaseException:
            assembly.abort()
            raise


def _check_output(sources: Sequence[Source], output: Output, overwrite: bool) -> None:
    """Raise `DataError` if the output or a file beside it would replace an input, or what may not be replaced."""
    if output.place == STANDARD:
        return
    for source in sources:
        if contains(output.place, source.place):
            raise DataError(f"{output.place}: the output would replace the input")
    if output.single:
        for path in (Path(output.place), output.beside("manifest.json"), output.beside("errors.jsonl")):
            check_free_path(path, overwrite)


def _identity(sources: Sequence[Source], job: Job, form: Format, part_rows: int) -> dict[str, Any]:
    """Return what must be the same to continue a run, as JSON values."""
    return {
        "sources": [list(source) for source in sources],
        "model": job.session.classifier().manifest.manifest_sha256,
        "part_rows": part_rows,
        "format": list(form),
        **{name: getattr(job, name) for name in ("extension", "text_column", "explain", "max_characters")},
        "columns": None if job.columns is None else list(job.columns),
    }


def _begin(
    folder: LocalFolder | RemoteFolder,
    identity: dict[str, Any],
    *,
    fresh: bool,
    single: bool,
    stop_at_bad_rows: bool,
) -> dict[int, Result]:
    """Return the finished parts of an earlier attempt. With `stop_at_bad_rows`, those with bad rows do not count.

    Raises `DataError` if the folder contains anything else.
    """
    names = set(folder.names())
    if names and not (RUN in names or fresh or single):
        raise DataError(f"{folder.place}: contains files; give another output or ask to overwrite it")
    folder.create()
    if not fresh and RUN in names and json.loads(folder.read(RUN)) == identity:
        numbers = [int(name.split(".")[1]) for name in names if name.startswith(PROGRESS)]
        finished = {number: Result.read(folder, number) for number in numbers}
        return {number: result for number, result in finished.items() if not (result.bad_rows and stop_at_bad_rows)}
    if names and not (fresh or single):
        raise DataError(f"{folder.place}: contains parts of another run; give another output or ask to overwrite it")
    for name in names:
        if name.startswith(("part-", PROGRESS)) or name in (RUN, MANIFEST, ERRORS):
            folder.remove(name)
    folder.write(RUN, json.dumps(identity).encode())
    return {}


def _finish(
    output: Output,
    folder: Folder,
    job: Job,
    results: Sequence[Result],
    sources: Sequence[Source],
    on_bad_rows: BadRows,
    seconds: float,
    *,
    overwrite: bool,
) -> Summary:
    """Write the error file and the manifest, and remove the files that only an unfinished run needs."""
    summary = Summary(sum(each.rows for each in results), sum(each.bad_rows for each in results), None)
    if summary.bad_rows and on_bad_rows == "report":
        summary = summary._replace(errors=_write_errors(output, folder, results))
    manifest = job.session.classifier().manifest
    document = {
        "format_version": 1,
        "model": {"name": manifest.name, "version": manifest.version, "manifest_sha256": manifest.manifest_sha256},
        "rows": summary.rows,
        "bad_rows": summary.bad_rows,
        "on_bad_rows": on_bad_rows,
        "errors": summary.errors,
        "text_column": job.text_column,
        "columns": job.columns,
        "sources": [{"place": source.place, "bytes": source.size} for source in sources],
        "parts": [{key: getattr(each, key) for key in ("file", "source", "rows", "bad_rows")} for each in results],
        "seconds": round(seconds, 3),  # of the last attempt
    }
    if output.place == STANDARD:
        return summary
    if output.single:
        del document["parts"]
    # A file name can have bytes that are not UTF-8. Python reads them as lone surrogates, which JSON has to escape.
    content = json.dumps(document, indent=2, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
    if output.single:
        with replacing(output.beside("manifest.json")) as file:
            file.write(content)
        if overwrite and summary.errors is None:
            output.beside("errors.jsonl").unlink(missing_ok=True)  # of the output that was replaced
        folder.remove_all()
        return summary
    folder.write(MANIFEST, content)
    for name in folder.names():
        if name.startswith(PROGRESS) or name == RUN:
            folder.remove(name)
    return summary


def _write_errors(output: Output, folder: Folder, results: Sequence[Result]) -> str:
    """Write the rows that could not be scored, and return the place of the error file."""
    with ExitStack() as stack:
        if output.place == STANDARD:
            place, file = "standard error", cast(BinaryIO, sys.stderr.buffer)
        elif output.single:
            path = output.beside("errors.jsonl")
            place, file = str(path), stack.enter_context(replacing(path))
        else:
            place, file = ERRORS, stack.enter_context(folder.writing(ERRORS))
        for result in results:
            for row in result.read_bad_rows(folder):
                file.write(json.dumps(row.record, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")
    return place
