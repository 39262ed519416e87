"""Runs in parts score every row exactly once, list bad rows, resume, and can use several processes."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import json
import lzma
import multiprocessing
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import fsspec
import pyarrow
import pytest
from pyarrow import parquet

from sentiment_conv1d.model.errors import writing
from sentiment_conv1d.model.tables import DataError
from sentiment_conv1d.scoring.local import LocalEngine
from sentiment_conv1d.scoring.part import PROGRESS, Job, Result, read_ahead, score_part
from sentiment_conv1d.scoring.plan import PART_BYTES, Part, plan
from sentiment_conv1d.scoring.run import ERRORS, MANIFEST, RUN, Output, Summary, score_sources
from sentiment_conv1d.scoring.session import Session
from sentiment_conv1d.scoring.storage import STANDARD, find_sources
from sentiment_conv1d.service.__main__ import main
from sentiment_conv1d.service.errors import exit_status
from tests.processes import MODEL_REPOSITORY, PATIENCE, PROJECT, environment, run
from tests.scoring.one_file import in_process
from tests.service import artifacts
from tests.service.reviews import reviews

ARTIFACT = MODEL_REPOSITORY / "imdb-cnn" / "1"
TEXTS = reviews(60, seed=3)


def score(*sources: Path | str, out: Path | str, extension: str = ".parquet", **settings: Any) -> Summary:
    """Score into a folder, in parts of 7 rows."""
    names = ("text_column", "columns", "explain", "max_characters", "schema")
    job = Job(Session(str(ARTIFACT)), "", extension, **{key: settings.pop(key) for key in names if key in settings})
    engine = settings.pop("engine", in_process)
    output = Output(str(out), single=settings.pop("single", False), extension=extension)
    return score_sources(
        find_sources(list(map(str, sources))), output, job, engine, part_rows=7, progress=False, **settings
    )


def write(path: Path, texts: Sequence[Any]) -> Path:
    """Write texts and their numbers to a file in the format of its extension."""
    rows = [{"id": number, "text": text} for number, text in enumerate(texts)]
    if path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=25)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".txt":
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    else:
        quoted = ('"' + text.replace('"', '""') + '"' for text in texts)
        path.write_text("id,text\r\n" + "".join(f"{n},{text}\r\n" for n, text in enumerate(quoted)), encoding="utf-8")
    return path


def ids(folder: Path) -> list[int]:
    """Return the ids of all rows in a folder of Parquet parts. Like pandas, Spark and Ray, it ignores hidden files."""
    found: list[int] = parquet.read_table(folder)["id"].to_pylist()
    return found


def predict(*arguments: object, input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m service predict`."""
    command = [sys.executable, "-m", "service", "predict", *map(str, arguments)]
    return subprocess.run(
        command, cwd=PROJECT, env=environment(), input=input, capture_output=True, timeout=PATIENCE, check=False
    )


@pytest.mark.parametrize("extension", [".parquet", ".csv", ".jsonl", ".txt"])
def test_parts(tmp_path: Path, extension: str) -> None:
    """For any input format, the parts contain each row once, in order, with the prediction for its text."""
    texts = [*TEXTS[:30], "a\u2028b", 'two\nlines "quoted"' if extension != ".txt" else "one line", "\ufefffilm"]
    source = write(tmp_path / f"in{extension}", texts)
    into = ".jsonl" if extension == ".txt" else extension
    assert score(source, out=tmp_path / "out", extension=into).rows == len(texts)
    expected = Session(str(ARTIFACT)).classifier().predict(texts)
    parts = sorted((tmp_path / "out").glob("part-*"))
    assert len(parts) == 5
    rows = read(parts)
    assert [row["text"] for row in rows] == texts
    for row, prediction in zip(rows, expected, strict=True):
        assert row["predicted_label"] == prediction.label
        assert float(row["score"]) == pytest.approx(float(prediction.score), abs=1e-6)


def read(parts: Sequence[Path]) -> list[dict[str, Any]]:
    """Read the rows of parts."""
    import csv

    rows: list[dict[str, Any]] = []
    for part in parts:
        if part.suffix == ".parquet":
            rows += parquet.read_table(part).to_pylist()
        elif part.suffix == ".csv":
            with part.open(encoding="utf-8", newline="") as file:
                rows += list(csv.DictReader(file))
        else:
            rows += [json.loads(line) for line in part.read_bytes().decode().split("\n")[:-1]]
    return rows


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_delimiters(delimiter: str, tmp_path: Path) -> None:
    """Parts are divided and read with the header's delimiter, even if quoted texts contain newlines and delimiters."""
    texts = [f"a joy,\n{delimiter} for {number} hours" for number in range(20)]
    path = tmp_path / "reviews.csv"
    path.write_text(f"id{delimiter}text\n" + "".join(f'{n}{delimiter}"{text}"\n' for n, text in enumerate(texts)))
    out = tmp_path / "out"
    assert score(path, out=out, extension=".jsonl") == Summary(20, 0, None)
    rows = [json.loads(line) for part in sorted(out.glob("part-*")) for line in part.read_text().splitlines()]
    assert [(row["id"], row["text"]) for row in rows] == [(str(n), text) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("header", "message"),
    [('"id,text\n', r"line 1: not valid CSV \(a quote is never closed\)"), ("id,id\n", "two columns are named 'id'")],
)
def test_invalid_header(header: str, message: str, tmp_path: Path) -> None:
    """An invalid header is an error, even if no row follows it."""
    path = tmp_path / "reviews.csv"
    path.write_text(header)
    with pytest.raises(DataError, match=message):
        score(path, out=tmp_path / "out")


@pytest.mark.parametrize("form", ["array", "lines", "utf-16"])
def test_json_arrays(form: str, tmp_path: Path) -> None:
    """A JSON array is divided into parts, its rows count from 1, and an element that is not an object is a bad row."""
    rows: list[Any] = [{"id": number, "text": text} for number, text in enumerate(TEXTS[:20])]
    rows[8] = {"id": 8, "text": None}
    rows[16] = 5
    path = tmp_path / "in.json"
    if form == "lines":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps(rows), encoding="utf-16" if form == "utf-16" else "utf-8")
    out = tmp_path / "out"
    assert score(path, out=out, extension=".jsonl") == (18, 2, ERRORS)
    parts = sorted(out.glob("part-*"))
    assert len(parts) == 3
    found = read(parts)
    assert [(row["id"], row["text"]) for row in found] == [
        (row["id"], row["text"]) for row in rows[:8] + rows[9:16] + rows[17:]
    ]
    unit = "line" if form == "lines" else "row"
    assert [json.loads(line) for line in (out / ERRORS).read_text().splitlines()] == [
        {"source": str(path), "unit": unit, "number": 9, "reason": "the column 'text' is null, not a string"},
        {"source": str(path), "unit": unit, "number": 17, "reason": "not a JSON object"},
    ]


def test_damaged_json_array(tmp_path: Path) -> None:
    """The error for a damaged JSON array names the line."""
    path = tmp_path / "in.json"
    path.write_text('[{"text": "a"},\n{"text": }]')
    with pytest.raises(DataError, match=r"in\.json: not valid JSON in UTF-8 \(.* in line 2\)"):
        score(path, out=tmp_path / "out")


COMPRESSORS: dict[str, Any] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("suffix", COMPRESSORS)
@pytest.mark.parametrize("extension", [".csv", ".jsonl", ".txt"])
def test_compressed_files(suffix: str, extension: str, tmp_path: Path) -> None:
    """A compressed file is read in parts, and errors have the line numbers of its content."""
    plain = write(tmp_path / f"in{extension}", [*TEXTS[:20], " "])
    path = tmp_path / f"in{extension}{suffix}"
    path.write_bytes(COMPRESSORS[suffix](plain.read_bytes()))
    for source, out in ((plain, tmp_path / "plain"), (path, tmp_path / "out")):
        assert score(source, out=out, extension=".jsonl") == (20, 1, ERRORS)
    for part in (tmp_path / "plain").glob("part-*"):
        assert (tmp_path / "out" / part.name).read_bytes() == part.read_bytes()
    [bad] = (json.loads(line) for line in (tmp_path / "out" / ERRORS).read_text().splitlines())
    assert (bad["source"], bad["number"]) == (str(path), 22 if extension == ".csv" else 21)


def test_truncated_compressed_file(tmp_path: Path) -> None:
    """The rows before the damage are a finished part, and the error names the line."""
    path = tmp_path / "in.txt.gz"
    content = gzip.compress("".join(f"{text}\n" for text in TEXTS * 20).encode())
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"in\.txt\.gz: cannot be read after line \d+"):
        score(path, out=tmp_path / "out", extension=".jsonl")
    parts = sorted((tmp_path / "out").glob("part-*"))
    assert [row["text"] for row in read(parts)] == (TEXTS * 20)[: sum(len(read([part])) for part in parts)]
    assert len(parts) > 10


def test_delimiter_and_encoding(tmp_path: Path) -> None:
    """Options set the delimiter and the encoding. A row with an invalid byte is a bad row; the others are scored."""
    path = tmp_path / "in.csv"
    path.write_bytes("id^text\n1^très drôle\n2^d".encode("cp1252") + b"\x81" + "ll\n3^schön\n".encode("cp1252"))
    out = tmp_path / "out.jsonl"
    result = predict(path, "--delimiter", "^", "--encoding", "cp1252", "--out", out)
    assert result.returncode == 0, result.stderr
    assert [(row["id"], row["text"]) for row in read([out])] == [("1", "très drôle"), ("3", "schön")]
    assert json.loads((tmp_path / "out.errors.jsonl").read_text()) == {
        "source": str(path),
        "unit": "line",
        "number": 3,
        "reason": "not cp1252 (byte 0x81 at 4)",
    }


def test_manifest(tmp_path: Path) -> None:
    """The manifest has the counts, the model with its digest, the inputs and the parts. No other files remain."""
    source = write(tmp_path / "in.parquet", [*TEXTS[:10], None])
    summary = score(source, out=tmp_path / "out")
    document = json.loads((tmp_path / "out" / MANIFEST).read_text())
    manifest = Session(str(ARTIFACT)).classifier().manifest
    assert document["model"] == {"name": "imdb-cnn", "version": 1, "manifest_sha256": manifest.manifest_sha256}
    assert (document["rows"], document["bad_rows"], document["errors"]) == (10, 1, ERRORS)
    assert summary == (10, 1, ERRORS)
    assert document["sources"] == [{"place": str(source), "bytes": source.stat().st_size}]
    assert [part["rows"] for part in document["parts"]] == [7, 3]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {MANIFEST, ERRORS, "part-00000.parquet", "part-00001.parquet"}


@pytest.mark.parametrize(
    ("name", "content", "bad"),
    [
        ("in.csv", b'text\na\n\n  \nb\n""\n' + b"x" * 30 + b"\n", {4: "no text", 6: "no text", 7: "30 characters"}),
        ("in.csv", b"text,id\na,1\nb\nc,3\n\xff,4\ne,5\n", {3: "1 field, while the header has 2", 5: "not UTF-8"}),
        (
            "in.jsonl",
            b'{"text":"a"}\n{"text":null}\n{"text":1}\n{}\nnonsense\n[1]\n{"text":"b"}\n',
            {2: "is null", 3: "of type int", 4: "there is no column", 5: "not valid JSON", 6: "not a JSON object"},
        ),
        ("in.txt", b"a\n\nb\xff\nc", {2: "no text", 3: "not UTF-8 (byte 0xff at 2)"}),
    ],
)
def test_bad_rows(tmp_path: Path, name: str, content: bytes, bad: dict[int, str]) -> None:
    """Bad rows are listed with place and reason, and others are scored. `skip` lists none, and `error` ends the run."""
    source = tmp_path / name
    source.write_bytes(content)
    summary = score(source, out=tmp_path / "out", extension=".jsonl", max_characters=20)
    listed = [json.loads(line) for line in (tmp_path / "out" / ERRORS).read_text().splitlines()]
    assert [row["number"] for row in listed] == list(bad) == sorted(bad)
    assert {row["source"] for row in listed} == {str(source)} and {row["unit"] for row in listed} == {"line"}
    assert all(reason in row["reason"] for row, reason in zip(listed, bad.values(), strict=True))
    texts = [row["text"] for row in read(sorted((tmp_path / "out").glob("part-*")))]
    assert (texts[0], len(texts), summary.bad_rows) == ("a", summary.rows, len(bad))
    skipped = score(source, out=tmp_path / "skip", extension=".jsonl", max_characters=20, on_bad_rows="skip")
    assert skipped == (summary.rows, summary.bad_rows, None)
    assert not (tmp_path / "skip" / ERRORS).exists()
    with pytest.raises(DataError) as caught:
        score(source, out=tmp_path / "error", extension=".jsonl", max_characters=20, on_bad_rows="error")
    assert str(caught.value).startswith(f"{source}: line ")


def test_bad_rows_of_parquet(tmp_path: Path) -> None:
    """Nulls, blank strings and strings that are not UTF-8 are bad rows of a Parquet file."""
    offsets = pyarrow.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 1, 2, 3, 4)))
    valid = pyarrow.py_buffer(bytes([0b1011]))
    array = pyarrow.StringArray.from_buffers(4, offsets, pyarrow.py_buffer(b"a\xff? "), valid)
    parquet.write_table(pyarrow.table({"text": array, "id": [1, 2, 3, 4]}), tmp_path / "in.parquet")
    assert score(tmp_path / "in.parquet", out=tmp_path / "out") == (1, 3, ERRORS)
    listed = [json.loads(line) for line in (tmp_path / "out" / ERRORS).read_text().splitlines()]
    reasons = ["is not UTF-8", "is null, not a string", "has no text"]
    assert [row["number"] for row in listed] == [2, 3, 4]
    assert [row["reason"].removeprefix("the column 'text' ") for row in listed] == reasons
    assert ids(tmp_path / "out") == [1]


@pytest.mark.parametrize("kind", [pyarrow.string_view(), pyarrow.large_string()])
def test_bad_rows_among_strings_of_other_types(tmp_path: Path, kind: Any) -> None:
    """Bad rows are left out whatever type of Arrow the strings have."""
    array = pyarrow.array([None, "a", "b", " ", "c", None], kind)
    parquet.write_table(pyarrow.table({"text": array, "id": [1, 2, 3, 4, 5, 6]}), tmp_path / "in.parquet")
    assert score(tmp_path / "in.parquet", out=tmp_path / "out") == (3, 3, ERRORS)
    assert ids(tmp_path / "out") == [2, 3, 5]


@pytest.mark.parametrize("extension", [".parquet", ".csv", ".jsonl"])
def test_columns_and_explanations(tmp_path: Path, extension: str) -> None:
    """`columns` selects the copied columns, and `explain` adds the strongest words with their shares."""
    source = write(tmp_path / "in.jsonl", TEXTS[:3])
    score(source, out=tmp_path / "out", extension=extension, columns=("id",), explain=2)
    rows = read(sorted((tmp_path / "out").glob("part-*")))
    assert [int(row["id"]) for row in rows] == [0, 1, 2] and "text" not in rows[0]
    words = rows[0]["top_words"]
    first, second = json.loads(words) if extension == ".csv" else words
    assert first["text"].lower() in TEXTS[0].lower() and abs(first["share"]) >= abs(second["share"])


def test_resume(tmp_path: Path) -> None:
    """A failed run resumes after its finished parts, which are not scored again."""
    source = write(tmp_path / "in.parquet", TEXTS)
    scored: list[int] = []

    def failing(job: Job, parts: Iterator[Part]) -> Iterator[Result]:
        for part in parts:
            if part.number == 4:
                raise KeyboardInterrupt
            scored.append(part.number)
            yield score_part(job, part)

    with pytest.raises(KeyboardInterrupt):
        score(source, out=tmp_path / "out", engine=failing)
    assert ids(tmp_path / "out") == list(range(28))

    def counting(job: Job, parts: Iterator[Part]) -> Iterator[Result]:
        for part in parts:
            scored.append(part.number)
            yield score_part(job, part)

    assert score(source, out=tmp_path / "out", engine=counting).rows == len(TEXTS)
    assert scored == list(range(9))
    assert ids(tmp_path / "out") == list(range(len(TEXTS)))


def test_parts_of_another_run(tmp_path: Path) -> None:
    """A folder with parts of another input or model is refused, or emptied with `overwrite`."""
    source = write(tmp_path / "in.parquet", TEXTS[:20])
    score(source, out=tmp_path / "out")
    for changed in ("in.parquet", "other.parquet"):
        with pytest.raises(DataError, match="ask to overwrite"):
            score(write(tmp_path / changed, TEXTS[:10]), out=tmp_path / "out")
    assert score(tmp_path / "other.parquet", out=tmp_path / "out", overwrite=True).rows == 10
    assert ids(tmp_path / "out") == list(range(10))


@pytest.mark.parametrize("single", [True, False])
def test_two_runs(tmp_path: Path, single: bool) -> None:
    """A second run into the same output is refused while the first one writes to it."""
    source, out = write(tmp_path / "in.txt", TEXTS[:20]), tmp_path / "out.jsonl"

    def with_another(job: Job, parts: Iterator[Part]) -> Iterator[Result]:
        for part in parts:
            with pytest.raises(DataError, match="another run writes to it"):
                score(source, out=out, extension=".jsonl", single=single, overwrite=True)
            yield score_part(job, part)

    assert score(source, out=out, extension=".jsonl", single=single, engine=with_another).rows == 20
    assert score(source, out=out, extension=".jsonl", single=single, overwrite=True).rows == 20


@pytest.mark.parametrize("extension", [".parquet", ".csv", ".jsonl"])
def test_single_output(tmp_path: Path, extension: str) -> None:
    """A single output file equals that of a run in one part, and its manifest and errors are beside it."""
    source = write(tmp_path / f"in{extension}", [*TEXTS[:20], " "])
    out = tmp_path / f"out{extension}"
    assert score(source, out=out, extension=extension, single=True) == (20, 1, str(tmp_path / "out.errors.jsonl"))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {source.name, out.name, "out.manifest.json", "out.errors.jsonl"}
    assert [int(row["id"]) for row in read([out])] == list(range(20))


@pytest.mark.parametrize("extension", [".parquet", ".csv"])
def test_other_columns(tmp_path: Path, extension: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Files with other columns cannot be joined into one table, unless they have no rows to join."""
    first, other = write(tmp_path / f"a{extension}", TEXTS[:8]), tmp_path / f"b{extension}"
    out = tmp_path / f"out{extension}"
    for texts in (["good"], [" "]):
        if extension == ".csv":
            other.write_text(f"text,stars\n{texts[0]},5\n")
        else:
            parquet.write_table(pyarrow.table({"text": texts, "stars": [5]}), other)
        if texts == ["good"]:
            with pytest.raises(DataError, match=f"b{extension}: other columns than in the rows before"):
                score(first, other, out=out, extension=extension, single=True)
            assert not out.exists()
        for sources in ((first, other), (other, first)) if texts == [" "] else ():
            score(*sources, out=out, extension=extension, single=True, overwrite=True)
            assert [int(row["id"]) for row in read([out])] == list(range(8))
    assert not capfd.readouterr().err


def test_resumed_with_other_handling_of_bad_rows(tmp_path: Path) -> None:
    """A run that must not have bad rows ends at one that an earlier attempt left out."""
    source = write(tmp_path / "in.jsonl", [" ", *TEXTS[:20]])

    def failing(job: Job, parts: Iterator[Part]) -> Iterator[Result]:
        yield score_part(job, next(parts))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(source, out=tmp_path / "out", extension=".jsonl", engine=failing)
    with pytest.raises(DataError, match=r"in.jsonl: line 1: the column 'text' has no text"):
        score(source, out=tmp_path / "out", extension=".jsonl", on_bad_rows="error")
    assert score(source, out=tmp_path / "out", extension=".jsonl").rows == 20


def test_errors_of_a_replaced_output(tmp_path: Path) -> None:
    """The error file of an output that is replaced does not remain beside the new one."""
    out, errors = tmp_path / "out.csv", tmp_path / "out.errors.jsonl"
    for texts, bad in (([*TEXTS[:3], " "], True), (TEXTS[:3], False)):
        score(write(tmp_path / "in.csv", texts), out=out, extension=".csv", single=True, overwrite=True)
        assert errors.exists() is bad


@pytest.mark.parametrize("single", [True, False])
def test_input_that_changes(tmp_path: Path, single: bool) -> None:
    """A run ends with an error if a file changes between the reading of its parts."""
    source = write(tmp_path / "in.txt", TEXTS)

    def truncating(job: Job, parts: Iterator[Part]) -> Iterator[Result]:
        for part in list(parts):
            source.write_text("good\n")
            yield score_part(job, part)

    with pytest.raises(DataError, match=r"in.txt: changed while it was scored"):
        score(source, out=tmp_path / "out.jsonl", extension=".jsonl", engine=truncating, single=single)
    assert not single or not (tmp_path / "out.jsonl").exists()


def test_folder_of_the_input(tmp_path: Path) -> None:
    """The parts are never written beside the inputs, which can have the names of parts."""
    source = write(tmp_path / "part-00000.parquet", TEXTS[:3])
    (tmp_path / "links").mkdir()
    (link := tmp_path / "links" / "in.parquet").symlink_to(source)
    for given, out in ((source, tmp_path), (link, tmp_path), (link, tmp_path / "links")):
        with pytest.raises(DataError, match="would replace the input"):
            score(given, out=out, overwrite=True)
    with pytest.raises(DataError, match="would replace the input"):
        score(f"file://{source}", out=tmp_path, overwrite=True)
    with fsspec.open("memory://same-folder/in.txt", "w") as file:
        file.write("good\n")
    with pytest.raises(DataError, match="would replace the input"):
        score("memory://same-folder/in.txt", out="memory://same-folder/", overwrite=True)
    assert ids(source) == [0, 1, 2]


def test_several_sources(tmp_path: Path) -> None:
    """Folders and patterns are read in the order of file names, and each part has rows of one file."""
    for number in range(3):
        write(tmp_path / f"in-{number}.jsonl", TEXTS[10 * number : 10 * number + 10])
    (tmp_path / "_hidden.jsonl").write_text("{}")
    for place in (tmp_path, tmp_path / "in-*.jsonl"):
        assert [Path(source.place).name for source in find_sources([str(place)])] == [f"in-{n}.jsonl" for n in range(3)]
    score(tmp_path / "in-*.jsonl", out=tmp_path / "out", extension=".jsonl")
    assert [row["text"] for row in read(sorted((tmp_path / "out").glob("part-*")))] == TEXTS[:30]
    for missing in ("nothing-*.csv", "nothing.csv", "s3x://bucket/in.csv"):
        with pytest.raises(DataError, match=r"nothing|s3x"):
            find_sources([missing])


@pytest.mark.parametrize("extension", [".parquet", ".csv"])
def test_other_file_systems(tmp_path: Path, extension: str) -> None:
    """Inputs and outputs can be fsspec URLs, and such a run can be resumed."""
    store = fsspec.filesystem("memory")
    store.pipe(f"/reviews/in{extension}", write(tmp_path / f"in{extension}", TEXTS[:20]).read_bytes())
    place, out = f"memory://reviews/*{extension}", f"memory://scored{extension}"

    def failing(job: Job, parts: Iterator[Part]) -> Iterator[Result]:
        yield score_part(job, next(parts))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(place, out=out, extension=extension, engine=failing)
    assert score(place, out=out, extension=extension).rows == 20
    names = {name.rsplit("/", 1)[-1] for name in store.find(f"/scored{extension}")}
    assert names == {MANIFEST, *(f"part-0000{number}{extension}" for number in range(3))}
    store.rm("/reviews", recursive=True)
    store.rm(f"/scored{extension}", recursive=True)


def test_remote_folders_and_compressed_files(tmp_path: Path) -> None:
    """Folders and compressed files in a store are read like local ones."""
    store = fsspec.filesystem("memory")
    plain = write(tmp_path / "in.csv", TEXTS[:3])
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        archive.write(plain, "in.csv")
    zipped = (tmp_path / "e.zip").read_bytes()
    files = {f"in.csv{suffix}": compress(plain.read_bytes()) for suffix, compress in COMPRESSORS.items()}
    files |= {"in.csv.zip": zipped, "e.zip": zipped, "manifest.json": b"{}", "README.md": b"# Reviews", "_x.csv": b""}
    for name, content in files.items():
        store.pipe(f"/compressed/{name}", content)
        (tmp_path / "compressed").mkdir(exist_ok=True)
        (tmp_path / "compressed" / name).write_bytes(content)
    names = [Path(source.place).name for source in find_sources(["memory://compressed"])]
    assert names == [Path(source.place).name for source in find_sources([str(tmp_path / "compressed")])]
    assert names == ["in.csv.bz2", "in.csv.gz", "in.csv.xz", "in.csv.zip"]
    summary = score("memory://compressed", "memory://compressed/e.zip", out=tmp_path / "out", extension=".jsonl")
    assert summary.rows == 15
    assert [row["text"] for row in read(sorted((tmp_path / "out").glob("part-*")))] == TEXTS[:3] * 5
    store.pipe("/compressed/f.zip", b"damaged")
    with pytest.raises(DataError, match=r"memory://.*f\.zip: not a zip archive"):
        find_sources(["memory://compressed/f.zip"])
    store.rm("/compressed", recursive=True)


def test_ranges_of_parquet_rows(tmp_path: Path) -> None:
    """Parts of a Parquet file need not match its row groups, and can be read in any order."""
    source = write(tmp_path / "in.parquet", TEXTS)
    job = Job(Session(str(ARTIFACT)), str(tmp_path), ".parquet")
    parts = list(plan(find_sources([str(source)]), 7))
    for part in reversed(parts):
        score_part(job, part)
    for part in parts[::2]:
        score_part(job, part)
    assert read(sorted(tmp_path.glob("part-*")))[-1]["id"] == len(TEXTS) - 1
    assert [row["text"] for row in read(sorted(tmp_path.glob("part-*")))] == TEXTS


@pytest.mark.parametrize("extension", [".parquet", ".csv"])
def test_number_of_parts(tmp_path: Path, extension: str) -> None:
    """A file of 40,000 rows has about 16 parts, so that many processes can share it, and a small file has one."""
    for texts, least, most in ((["a" * 500] * 40_000, 16, 20), (["a"] * 1000, 1, 1)):
        source = write(tmp_path / f"in{extension}", texts)
        parts = [part for part in plan(find_sources([str(source)])) if part.start < part.stop]
        assert least <= len(parts) <= most
        assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]


def test_standard_input_has_large_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of standard input is not known in advance, so its parts have as many rows as a part can have."""
    content = cast(io.RawIOBase, io.BytesIO((b"a" * 500 + b"\n") * 10_000))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(content)))
    parts = [part for part in plan(find_sources(["-"])) if part.start < part.stop]
    assert [len((part.content or b"").splitlines()) for part in parts] == [8192, 10_000 - 8192]


@pytest.mark.parametrize("most_bytes", [PART_BYTES, 100])
@pytest.mark.parametrize("columns", [None, ("id",)])
def test_two_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_bytes: int, columns: tuple[str, ...] | None
) -> None:
    """Two processes write the same files as one, even if they share row groups or parts are too large to send."""
    monkeypatch.setattr("sentiment_conv1d.scoring.part.PART_BYTES", most_bytes)
    source = write(tmp_path / "in.parquet", [*TEXTS, None])
    score(source, out=tmp_path / "one", columns=columns)
    with LocalEngine(Session(str(ARTIFACT)), 2) as engine:
        score(source, out=tmp_path / "two", columns=columns, engine=engine)
    for path in (tmp_path / "one").iterdir():
        if path.name != MANIFEST:
            assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_parts_of_shared_row_groups(tmp_path: Path) -> None:
    """A part is sent with its rows if its row group, of 25 rows here, contains rows of other parts."""
    source = write(tmp_path / "in.parquet", TEXTS)
    for rows, carried in ((7, True), (25, False), (50, False), (60, False), (55, True)):
        folder = tmp_path / str(rows)
        folder.mkdir()
        job = Job(Session(str(ARTIFACT)), str(folder), ".parquet")
        parts = list(read_ahead(job, plan(find_sources([str(source)]), rows)))
        assert {part.content is not None for part in parts} == {carried}
        for part in parts:
            score_part(job, part)
        assert [row["text"] for row in read(sorted(folder.glob("part-*")))] == TEXTS


def test_damaged_part(tmp_path: Path) -> None:
    """With several processes, a damaged page is an error that names the row, and the parts before it are finished."""
    source = write(tmp_path / "in.parquet", TEXTS)
    column = parquet.read_metadata(source).row_group(1).column(1)
    content = bytearray(source.read_bytes())
    content[column.data_page_offset : column.data_page_offset + 20] = bytes([0xFF] * 20)
    source.write_bytes(content)
    damage = pytest.raises(DataError, match=r"in\.parquet: damaged from row 26 on")
    with LocalEngine(Session(str(ARTIFACT)), 2) as engine, damage:
        score(source, out=tmp_path / "out", engine=engine)
    assert len(list((tmp_path / "out").glob(f"{PROGRESS}*"))) == 3


def _be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _find_full_disk() -> None:
    with writing("part", DataError):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("fail", [_be_killed, _find_full_disk])
def test_failures_of_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[[], None]) -> None:
    """The exit status says that a run can succeed later if another process fails for a reason that can pass."""
    here = os.getpid()

    def score_there(job: Job, part: Part) -> Result:
        if os.getpid() != here:
            fail()
        return score_part(job, part)

    monkeypatch.setattr("sentiment_conv1d.scoring.local.score_part", score_there)
    monkeypatch.setattr("sentiment_conv1d.scoring.local._context", lambda _: multiprocessing.get_context("fork"))
    source = write(tmp_path / "in.jsonl", TEXTS)
    with LocalEngine(Session(str(ARTIFACT)), 2) as engine, pytest.raises(DataError) as raised:
        score(source, out=tmp_path / "out", engine=engine)
    assert exit_status(raised.value) == os.EX_TEMPFAIL


#: `predict`, which is killed when it has counted four parts.
KILLED = """
import os, signal, sys
from sentiment_conv1d.scoring import run
from sentiment_conv1d.service.__main__ import main

parts = iter(range(4))

class Bar(run._Bar):
    def add(self, result):
        if next(parts, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

run._Bar = Bar
sys.exit(main())
"""


@pytest.mark.parametrize("single", [False, True])
def test_killed_and_resumed(tmp_path: Path, single: bool) -> None:
    """After SIGKILL during a run, the same command completes it, with each row exactly once."""
    source = write(tmp_path / "in.parquet", TEXTS * 20)
    out = tmp_path / ("out.parquet" if single else "out")
    parts = tmp_path / ".out.parquet.parts" if single else out
    arguments = ["predict", str(source), "--out", str(out), "--workers", "2", "--part-rows", "20"]
    assert run("-c", KILLED, *arguments).returncode == -signal.SIGKILL
    finished = {path.name for path in parts.glob(f"{PROGRESS}*")}
    assert 3 < len(finished) < 60 and (parts / RUN).exists()
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("part-*") if progress_of(path) in finished}
    result = run("-m", "service", *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"1,200 reviews scored into {out}\n"
    assert parquet.read_table(out)["id"].to_pylist() == list(range(1200))
    if not single:
        assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept
    assert not list(tmp_path.rglob(".scoring-*"))


def progress_of(part: Path) -> str:
    """Return the name of a part's progress file."""
    return f"{PROGRESS}{part.stem.removeprefix('part-')}.json"


def test_command(tmp_path: Path) -> None:
    """`predict FILE` writes its output beside the file, prints the number of rows, and lists bad rows."""
    source = write(tmp_path / "reviews.csv", [*TEXTS[:3], ""])
    result = predict(source)
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode() == f"3 reviews scored into {tmp_path / 'reviews.predictions.csv'}\n"
    assert result.stderr.decode().endswith(
        f"1 row cannot be scored; {tmp_path / 'reviews.predictions.errors.jsonl'} says why\n"
    )
    again = predict(source)
    assert again.returncode == 2 and b"exists already" in again.stderr
    assert predict(source, "--overwrite", "--on-bad-rows", "error").returncode == 2
    assert len(read([tmp_path / "reviews.predictions.csv"])) == 3


def test_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container without a writable folder, the error of standard output names the variable that helps."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(DataError, match="TMPDIR names a folder for temporary files"):
        score(write(tmp_path / "in.txt", TEXTS), out=STANDARD, single=True)


def test_standard_input(tmp_path: Path) -> None:
    """`-` reads standard input and writes JSON lines to standard output."""
    lines = "".join(f"{text}\n" for text in TEXTS[:20]).encode()
    result = predict("-", "--part-rows", "8", "--workers", "1", input=b"\xef\xbb\xbf" + lines)
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == TEXTS[:20]
    result = predict("-", "--format", "csv", "--out", tmp_path / "out.csv", input=b"id,text\n1,good\n2,\n")
    assert result.stdout.decode() == f"1 review scored into {tmp_path / 'out.csv'}\n"
    assert [row["id"] for row in read([tmp_path / "out.csv"])] == ["1"]


def test_bad_first_rows(tmp_path: Path) -> None:
    """Bad rows at the beginning of JSON lines do not decide the columns of a table."""
    source = tmp_path / "in.jsonl"
    source.write_text('no JSON\n{"failure": 1}\n{"id": 7, "text": "good"}\n')
    for extension in (".csv", ".parquet"):
        result = predict(source, "--out", tmp_path / f"out{extension}", "--workers", "1", "--overwrite")
        assert result.returncode == 0, result.stderr
        [row] = read([tmp_path / f"out{extension}"])
        assert (int(row["id"]), row["text"]) == (7, "good")
        assert len((tmp_path / "out.errors.jsonl").read_text().splitlines()) == 2


def test_model_without_explanations(tmp_path: Path) -> None:
    """`--explain` with a model that has no exact explanations is an error before anything is written."""
    artifacts.publish_table(tmp_path / "models")
    source = write(tmp_path / "in.txt", TEXTS[:3])
    result = predict(source, "--model-repository", tmp_path / "models", "--explain")
    assert result.returncode == 2
    assert result.stderr.startswith(b"error: --explain: there is no exact explanation for model 'tickets'")
    assert {path.name for path in tmp_path.iterdir()} == {"models", "in.txt"}


def test_name_that_is_not_utf8(tmp_path: Path) -> None:
    """A file whose name is not UTF-8 is scored, and its bad rows are listed."""
    source = tmp_path / os.fsdecode(b"\xff.csv")
    source.write_text("id,text\n1,good\n2,\n")
    result = predict(source, "--workers", "1")
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith(b"\\udcff.predictions.csv\n")
    [bad] = (tmp_path / os.fsdecode(b"\xff.predictions.errors.jsonl")).read_text().splitlines()
    assert json.loads(bad)["source"] == str(source)


def test_closed_standard_streams(tmp_path: Path) -> None:
    """A closed standard input or output is an error without a traceback, and no temporary files remain."""
    source = write(tmp_path / "in.txt", TEXTS)
    (temporary := tmp_path / "temporary").mkdir()
    command = f"{shlex.quote(sys.executable)} -m service predict --workers 1 --part-rows 7"
    for end, message in (
        ("- <&-", "standard input is closed"),
        (f"{source} --out - >&-", "standard output is closed"),
        (f"{source} --encoding undefined --out -", "there is no encoding 'undefined'"),
    ):
        result = subprocess.run(
            ["sh", "-c", f"{command} {end}"],
            cwd=PROJECT,
            env=environment() | {"TMPDIR": str(temporary)},
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert re.search(rf"error: {message}\n$", result.stderr.decode()), result.stderr
        assert not list(temporary.iterdir())


def test_output_that_nobody_reads(tmp_path: Path) -> None:
    """A standard output that has been closed at its other end is an error without a traceback."""
    source = write(tmp_path / "in.txt", TEXTS)
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "service", "predict", "--workers", "1", "--part-rows", "7", str(source)]
    result = subprocess.run(
        [*command, "--out", "-"],
        cwd=PROJECT,
        env=environment() | {"TMPDIR": str(tmp_path)},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    os.close(writing)
    assert result.stderr.endswith("error: -: cannot be written (Broken pipe)\n")
    assert list(tmp_path.iterdir()) == [source]


def test_inputs_and_outputs_that_are_not_files(tmp_path: Path) -> None:
    """A pipe as input and an output that is neither a file with a known extension nor a folder are refused."""
    os.mkfifo(tmp_path / "in.csv")
    with pytest.raises(DataError, match=r"in.csv: is not a file"):
        find_sources([str(tmp_path / "in.csv")])
    source = write(tmp_path / "in.txt", TEXTS[:3])
    result = predict(source, "--out", "/dev/null")
    assert (result.returncode, result.stderr) == (2, b"error: /dev/null: is not a folder\n")
    assert predict(source, "--part-rows", "0").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-", "a.txt"], "standard input cannot be combined with files"),
        (["a.txt", "b.txt"], "give the folder of the predictions with --out"),
        (["a.txt", "--out", "out.xml"], "out.xml: only these extensions can be written"),
    ],
)
def test_places_that_do_not_fit(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Inputs that cannot be scored together, and an output that cannot be written, are refused before any work."""
    for name in ("a.txt", "b.txt"):
        write(tmp_path / name, TEXTS[:1])
    monkeypatch.chdir(tmp_path)
    assert main(["predict", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("buffering", [-1, 0], ids=["last write", "any write"])
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffering: int) -> None:
    """If the disk becomes full, the error names the file, finished parts remain, and the run can be resumed."""
    source = write(tmp_path / "in.jsonl", TEXTS)
    opened, files = Path.open, 0

    def open_some(path: Path, mode: str = "r", **settings: Any) -> Any:
        nonlocal files
        files += mode == "xb"
        return open("/dev/full", "wb", buffering) if files > 6 else opened(path, mode, **settings)  # noqa: PTH123

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_some)
        with pytest.raises(DataError, match=r"out.*: cannot be written \(No space left on device\)"):
            score(source, out=tmp_path / "out", extension=".jsonl")
    finished = len(list((tmp_path / "out").glob(f"{PROGRESS}*")))
    assert finished >= 1
    assert score(source, out=tmp_path / "out", extension=".jsonl").rows == len(TEXTS)


def test_without_ray() -> None:
    """Without Ray, `--engine ray` says what to install."""
    program = """
import sys
sys.modules["ray"] = None
from sentiment_conv1d.service.__main__ import main
sys.exit(main(["predict", "README.md", "--engine", "ray"]))
"""
    environment_of_run = os.environ | {"PYTHONPATH": str(PROJECT)}
    result = subprocess.run(
        [sys.executable, "-c", program.replace("README.md", "-")],
        cwd=PROJECT,
        env=environment_of_run,
        input="good",
        text=True,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 2
    assert "install the `ray` extra" in result.stderr
