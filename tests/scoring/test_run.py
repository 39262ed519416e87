"""Files are scored as a stream: every row once, in order, by one process or several, and completely or not at all."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pytest
from pyarrow import parquet

from sentiment_conv1d.artifact.errors import exit_status, writing
from sentiment_conv1d.scoring import command, pool
from sentiment_conv1d.scoring.columns import Column, score_texts
from sentiment_conv1d.scoring.files import Output, Source, find_sources
from sentiment_conv1d.scoring.pool import Pool
from sentiment_conv1d.scoring.run import Job, Summary, score_file
from sentiment_conv1d.scoring.session import Session
from sentiment_conv1d.service.__main__ import main
from sentiment_conv1d.tables import DataError
from tests.processes import MODEL_REPOSITORY, PATIENCE, PROJECT, environment, eventually
from tests.service import artifacts
from tests.service.reviews import reviews

ARTIFACT = MODEL_REPOSITORY / "imdb-cnn" / "1"
TEXTS = reviews(60, seed=3)


def score(source: Path, out: Path, *, workers: int = 1, overwrite: bool = False, **settings: Any) -> Summary:
    """Score a file with the classic model."""
    with Pool(Session(str(ARTIFACT)), workers) as scorers:
        return score_file(
            Source.at(source), Output(str(out)), scorers, Job(**settings), overwrite=overwrite, progress=False
        )


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read and score seven rows at a time."""
    for module in ("text", "parquet"):
        monkeypatch.setattr(f"sentiment_conv1d.tables.{module}.CHUNK_ROWS", 7)


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


def predict(*arguments: object, input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m service predict` as a program."""
    command = [sys.executable, "-m", "service", "predict", *map(str, arguments)]
    return subprocess.run(
        command, cwd=PROJECT, env=environment(), input=input, capture_output=True, timeout=PATIENCE, check=False
    )


def read(path: Path) -> list[dict[str, Any]]:
    """Read the rows of an output."""
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]]


def listed(path: Path) -> list[dict[str, Any]]:
    """Read a list of bad rows."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("extension", [".parquet", ".csv", ".jsonl", ".txt"])
def test_rows_and_processes(tmp_path: Path, small_chunks: None, extension: str) -> None:
    """Every row is there once, in order, with the prediction for its text, and two processes write the same bytes."""
    texts = [*TEXTS[:30], "a\u2028b", 'two\nlines "quoted"' if extension != ".txt" else "one line", " ", "\ufefffilm"]
    source = write(tmp_path / f"in{extension}", texts)
    into = ".jsonl" if extension == ".txt" else extension
    for name, workers in (("one", 1), ("two", 2)):
        assert score(source, tmp_path / f"{name}{into}", workers=workers).rows == len(texts) - 1
    rows = read(tmp_path / f"one{into}")
    del texts[-2]
    assert [row["text"] for row in rows] == texts
    for row, prediction in zip(rows, Session(str(ARTIFACT)).classifier().predict(texts), strict=True):
        assert row["predicted_label"] == prediction.label
        assert float(row["score"]) == pytest.approx(float(prediction.score), abs=1e-6)
    for ending in (into, ".errors.jsonl"):
        assert (tmp_path / f"one{ending}").read_bytes() == (tmp_path / f"two{ending}").read_bytes()


class Batch(NamedTuple):
    """A batch, as the pool takes it."""

    texts: list[str]


def test_batches_in_flight() -> None:
    """The pool reads few batches ahead of the one whose scores are taken, and returns all of them in order."""
    read_so_far = 0

    def batches() -> Iterator[Batch]:
        nonlocal read_so_far
        for text in TEXTS:
            read_so_far += 1
            yield Batch([text])

    with Pool(Session(str(ARTIFACT)), 2) as scorers:
        for taken, (batch, columns) in enumerate(scorers.score(batches())):
            assert read_so_far <= taken + 4
            assert (batch.texts, len(columns[0])) == ([TEXTS[taken]], 1)
    assert taken == len(TEXTS) - 1


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_delimiters(delimiter: str, tmp_path: Path) -> None:
    """The header shows the delimiter, and quoted texts can contain newlines and delimiters."""
    texts = [f"a joy,\n{delimiter} for {number} hours" for number in range(20)]
    path = tmp_path / "reviews.csv"
    path.write_text(f"id{delimiter}text\n" + "".join(f'{n}{delimiter}"{text}"\n' for n, text in enumerate(texts)))
    assert score(path, tmp_path / "out.jsonl") == Summary(20, 0, None)
    assert [(row["id"], row["text"]) for row in read(tmp_path / "out.jsonl")] == [
        (str(n), text) for n, text in enumerate(texts)
    ]


@pytest.mark.parametrize("extension", [".csv", ".jsonl", ".txt"])
def test_compressed_files(extension: str, tmp_path: Path) -> None:
    """A compressed file is scored like the file in it, and bad rows have the line numbers of its content."""
    plain = write(tmp_path / f"in{extension}", [*TEXTS[:20], " "])
    path = tmp_path / f"in{extension}.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    for source, name in ((plain, "plain"), (path, "packed")):
        assert score(source, tmp_path / f"{name}.jsonl")[:3] == (20, 1, str(tmp_path / f"{name}.errors.jsonl"))
    assert (tmp_path / "plain.jsonl").read_bytes() == (tmp_path / "packed.jsonl").read_bytes()
    [bad] = listed(tmp_path / "packed.errors.jsonl")
    assert (bad["source"], bad["number"]) == (str(path), 22 if extension == ".csv" else 21)


def test_truncated_compressed_file(tmp_path: Path, small_chunks: None) -> None:
    """A file that ends too early has no output, and the error names the line."""
    path = tmp_path / "in.txt.gz"
    content = gzip.compress("".join(f"{text}\n" for text in TEXTS * 20).encode())
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"in\.txt\.gz: cannot be read after line \d+"):
        score(path, tmp_path / "out.jsonl")
    assert list(tmp_path.iterdir()) == [path]


def test_delimiter_and_encoding(tmp_path: Path) -> None:
    """Options set the delimiter and the encoding. A row with an invalid byte is a bad row; the others are scored."""
    path = tmp_path / "in.csv"
    path.write_bytes("id^text\n1^très drôle\n2^d".encode("cp1252") + b"\x81" + "ll\n3^schön\n".encode("cp1252"))
    out = tmp_path / "out.jsonl"
    assert main(["predict", str(path), "--delimiter", "^", "--encoding", "cp1252", "--out", str(out)]) == 3
    assert [(row["id"], row["text"]) for row in read(out)] == [("1", "très drôle"), ("3", "schön")]
    bad = {"source": str(path), "unit": "line", "number": 3, "reason": "not cp1252 (byte 0x81 at 4)"}
    assert listed(tmp_path / "out.errors.jsonl") == [bad]


def test_manifest(tmp_path: Path) -> None:
    """The manifest has the counts, the model with its digest, and the input. No other files remain."""
    source = write(tmp_path / "in.parquet", [*TEXTS[:10], None])
    errors = str(tmp_path / "out.errors.jsonl")
    assert score(source, tmp_path / "out.parquet")[:3] == (10, 1, errors)
    document = json.loads((tmp_path / "out.manifest.json").read_text())
    manifest = Session(str(ARTIFACT)).classifier().manifest
    assert document["model"] == {"name": "imdb-cnn", "version": 1, "manifest_sha256": manifest.manifest_sha256}
    assert (document["rows"], document["bad_rows"], document["errors"]) == (10, 1, errors)
    assert document["sources"] == [{"place": str(source), "bytes": source.stat().st_size}]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"in.parquet", "out.parquet", "out.manifest.json", "out.errors.jsonl"}


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
    out, errors = tmp_path / "out.jsonl", tmp_path / "out.errors.jsonl"
    summary = score(source, out, max_characters=20)
    found = listed(errors)
    assert [row["number"] for row in found] == list(bad) == sorted(bad)
    assert {row["source"] for row in found} == {str(source)} and {row["unit"] for row in found} == {"line"}
    assert all(reason in row["reason"] for row, reason in zip(found, bad.values(), strict=True))
    texts = [row["text"] for row in read(out)]
    assert (texts[0], len(texts), summary[:3]) == ("a", summary.rows, (summary.rows, len(bad), str(errors)))
    skipped = score(source, out, max_characters=20, on_bad_rows="skip", overwrite=True)
    assert skipped[:3] == (summary.rows, summary.bad_rows, None)
    assert not errors.exists()
    with pytest.raises(DataError) as caught:
        score(source, tmp_path / "error.jsonl", max_characters=20, on_bad_rows="error")
    assert str(caught.value).startswith(f"{source}: line ")


@pytest.mark.parametrize("on_bad_rows", ["skip", "report"])
def test_invalid_csv(tmp_path: Path, on_bad_rows: str) -> None:
    """A quote that is never closed hides the rest of the file, so it ends the run whatever happens to bad rows."""
    source = tmp_path / "in.csv"
    source.write_text('text,id\na,1\n,2\n"b,3\nc,4\n')
    with pytest.raises(DataError, match=r"in\.csv: line 4: not valid CSV \(a quote is never closed\)"):
        score(source, tmp_path / "out.csv", on_bad_rows=on_bad_rows)
    assert list(tmp_path.iterdir()) == [source]


def test_bad_rows_of_parquet(tmp_path: Path) -> None:
    """Nulls, blank strings and strings that are not UTF-8 are bad rows of a Parquet file."""
    offsets = pyarrow.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 1, 2, 3, 4)))
    valid = pyarrow.py_buffer(bytes([0b1011]))
    array = pyarrow.StringArray.from_buffers(4, offsets, pyarrow.py_buffer(b"a\xff? "), valid)
    parquet.write_table(pyarrow.table({"text": array, "id": [1, 2, 3, 4]}), tmp_path / "in.parquet")
    assert score(tmp_path / "in.parquet", tmp_path / "out.parquet").rows == 1
    found = listed(tmp_path / "out.errors.jsonl")
    reasons = ["is not UTF-8", "is null, not a string", "has no text"]
    assert [row["number"] for row in found] == [2, 3, 4]
    assert [row["reason"].removeprefix("the column 'text' ") for row in found] == reasons
    assert [row["id"] for row in read(tmp_path / "out.parquet")] == [1]


@pytest.mark.parametrize("kind", [pyarrow.string_view(), pyarrow.large_string()])
def test_bad_rows_among_strings_of_other_types(tmp_path: Path, kind: Any) -> None:
    """Bad rows are left out whatever type of Arrow the strings have."""
    array = pyarrow.array([None, "a", "b", " ", "c", None], kind)
    parquet.write_table(pyarrow.table({"text": array, "id": [1, 2, 3, 4, 5, 6]}), tmp_path / "in.parquet")
    assert score(tmp_path / "in.parquet", tmp_path / "out.parquet")[:2] == (3, 3)
    assert [row["id"] for row in read(tmp_path / "out.parquet")] == [2, 3, 5]


@pytest.mark.parametrize("into", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("extension", [".parquet", ".csv", ".jsonl"])
def test_columns_and_explanations(tmp_path: Path, extension: str, into: str) -> None:
    """`columns` selects the copied columns, and `explain` adds the strongest words with their shares."""
    source, out = write(tmp_path / f"in{extension}", TEXTS[:3]), tmp_path / f"out{into}"
    score(source, out, columns=("id",), explain=2)
    rows = read(out)
    assert [int(row["id"]) for row in rows] == [0, 1, 2] and "text" not in rows[0]
    words = rows[0]["top_words"]
    first, second = json.loads(words) if into == ".csv" else words
    assert first["text"].lower() in TEXTS[0].lower() and abs(first["share"]) >= abs(second["share"])


def test_columns_that_do_not_exist(tmp_path: Path) -> None:
    """The text column and the other ones must exist, except for the name of the column in a text file."""
    text, table = (write(tmp_path / name, TEXTS[:3]) for name in ("in.txt", "in.csv"))
    assert score(text, tmp_path / "out.jsonl", text_column="review").rows == 3
    for settings, missing in (({"text_column": "review"}, "review"), ({"columns": ("id", "stars")}, "stars")):
        with pytest.raises(DataError, match=f"there is no column '{missing}'"):
            score(table, tmp_path / "scored.csv", **settings)


def test_errors_of_a_replaced_output(tmp_path: Path) -> None:
    """The list of bad rows of an output that is replaced does not remain beside the new one."""
    out, errors = tmp_path / "out.csv", tmp_path / "out.errors.jsonl"
    for texts, bad in (([*TEXTS[:3], " "], True), (TEXTS[:3], False)):
        score(write(tmp_path / "in.csv", texts), out, overwrite=True)
        assert errors.exists() is bad


def test_input_that_changes(tmp_path: Path) -> None:
    """A file that changes while it is scored gets no output."""
    source = Source.at(write(tmp_path / "in.txt", TEXTS))
    (tmp_path / "in.txt").write_text("good\n")
    with pytest.raises(DataError, match=r"in.txt: changed while it was scored"):
        score_file(source, Output(str(tmp_path / "out.jsonl")), Pool(Session(str(ARTIFACT)), 1), Job(), progress=False)
    assert list(tmp_path.iterdir()) == [tmp_path / "in.txt"]


def test_places(tmp_path: Path) -> None:
    """Folders and patterns are read in the order of file names, without hidden and other files."""
    for number in range(3):
        write(tmp_path / f"in-{number}.jsonl", TEXTS[10 * number : 10 * number + 10])
    (tmp_path / "_hidden.jsonl").write_text("{}")
    for name in ("README.md", "manifest.json", "models.zip"):
        (tmp_path / name).touch()
    for place in (tmp_path, tmp_path / "in-*.jsonl"):
        assert [Path(source.location).name for source in find_sources([str(place)])] == [
            f"in-{n}.jsonl" for n in range(3)
        ]
    for missing in ("nothing-*.csv", "nothing.csv"):
        with pytest.raises(DataError, match="nothing"):
            find_sources([missing])
    (tmp_path / "in-3.jsonl.zip").touch()
    with pytest.raises(DataError, match=r"in-3\.jsonl\.zip: files compressed as \.zip cannot be read"):
        find_sources([str(tmp_path)])


def test_several_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each file gets an output in its format, beside it or in a folder."""
    write(tmp_path / "a.csv", TEXTS[:3])
    write(tmp_path / "b.txt", [*TEXTS[3:5], " "])
    (tmp_path / "out").mkdir()
    for arguments, folder in (([], tmp_path), (["--out", f"{tmp_path}/out"], tmp_path / "out")):
        assert main(["predict", str(tmp_path / "a.csv"), str(tmp_path / "b.txt"), *arguments, "--workers", "1"]) == 3
        first, second = folder / "a.predictions.csv", folder / "b.predictions.jsonl"
        shown = capsys.readouterr()
        assert shown.out == (
            f"3 texts scored into {first}, described in a.predictions.manifest.json\n"
            f"2 texts scored into {second}, described in b.predictions.manifest.json\n"
        )
        assert f"1 row cannot be scored; {folder / 'b.predictions.errors.jsonl'} says why\n" in shown.err
        assert [row["text"] for path in (first, second) for row in read(path)] == TEXTS[:5]


def test_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--resume` scores the files without an output and those that changed since, and takes no output as an input."""
    for name in ("a", "b", "c"):
        write(tmp_path / f"{name}.csv", TEXTS[:3])
    assert main(["predict", str(tmp_path / "a.csv"), "--workers", "1"]) == 0
    assert main(["predict", str(tmp_path / "b.csv"), "--workers", "1"]) == 0
    write(tmp_path / "a.csv", TEXTS[:2])
    os.utime(tmp_path / "a.csv", ns=(changed := (tmp_path / "a.predictions.csv").stat().st_mtime_ns, changed))
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "*.csv"), "--workers", "1", "--resume"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "".join(
        f"{count} texts scored into {tmp_path / name}.predictions.csv, described in {name}.predictions.manifest.json\n"
        for name, count in (("a", 2), ("c", 3))
    )
    assert shown.err.startswith("1 file skipped: the output is newer\n")
    assert main(["predict", str(tmp_path), "--resume"]) == 0
    assert capsys.readouterr() == ("", "3 files skipped: the output is newer\n")


def test_outputs_of_the_same_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files whose outputs would share a name are refused before any is scored."""
    for name in ("a.txt", "a.jsonl"):
        write(tmp_path / name, TEXTS[:1])
    assert main(["predict", str(tmp_path)]) == 2
    assert "a.jsonl and " in (message := capsys.readouterr().err) and "would both write" in message
    assert len(list(tmp_path.iterdir())) == 2


def _be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _find_full_disk() -> None:
    with writing("memory", DataError):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("fail", [_be_killed, _find_full_disk])
def test_failures_of_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_chunks: None, fail: Callable[[], None]
) -> None:
    """If another process fails or is killed, the run ends without an output."""
    here = os.getpid()

    def score_there(classifier: Any, texts: Sequence[str], explain: int) -> list[Column]:
        if os.getpid() != here and TEXTS[30] in texts:
            fail()
        return score_texts(classifier, texts, explain)

    monkeypatch.setattr(pool, "score_texts", score_there)
    monkeypatch.setattr(pool, "_context", lambda _: pool._Forking())
    source = write(tmp_path / "in.jsonl", TEXTS)
    with pytest.raises(DataError) as raised:
        score(source, tmp_path / "out.jsonl", workers=2)
    assert fail is _find_full_disk or exit_status(raised.value) == os.EX_TEMPFAIL
    assert list(tmp_path.iterdir()) == [source]


#: `predict` with small chunks, which stops after the third: it writes a line and waits.
_STOPPED = """
import sys, threading
from sentiment_conv1d.tables import text
from sentiment_conv1d.scoring import command as scoring, run
from sentiment_conv1d.service.__main__ main as command

text.CHUNK_ROWS = 7
chunks = iter(range(3))

class Writer(run.JsonlWriter):
    def write(self, chunk, added):
        super().write(chunk, added)
        if next(chunks, None) is None:
            print("waiting", flush=True)
            threading.Event().wait()

run.JsonlWriter = Writer
scoring.processors = lambda: 2
sys.exit(command())
""".replace("__main__ main", "__main__ import main")


#: `predict` whose processes never finish a batch, and say so.
_BUSY = """
import sys, threading
from sentiment_conv1d.scoring import command as scoring, pool
from sentiment_conv1d.service.__main__ import main as command

def score_texts(*arguments):
    print("waiting", flush=True)
    threading.Event().wait()

pool.score_texts = score_texts
scoring.processors = lambda: 2
sys.exit(command())
"""


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["process", "group"])
@pytest.mark.parametrize(
    ("program", "number"),
    [(_STOPPED, signal.SIGINT), (_STOPPED, signal.SIGTERM), (_STOPPED, signal.SIGKILL), (_BUSY, signal.SIGTERM)],
    ids=["SIGINT", "SIGTERM", "SIGKILL", "SIGTERM-busy"],
)
def test_interrupted(
    tmp_path: Path, program: str, number: signal.Signals, send: Callable[[int, signal.Signals], None]
) -> None:
    """Whatever ends a run, there is no output, and no process remains. Only SIGKILL leaves a hidden file."""
    source = write(tmp_path / "in.jsonl", TEXTS)
    process = subprocess.Popen(
        [sys.executable, "-c", program, "predict", str(source), "--workers", "2"],
        cwd=PROJECT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "waiting\n"
        others = children(process.pid)
        send(process.pid, number)
        assert process.wait(PATIENCE) == (130 if number == signal.SIGINT else -number)
    assert len(others) == 2
    eventually(lambda: not any(Path(f"/proc/{other}").exists() for other in others))
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["in.jsonl"]
    assert len(list(tmp_path.iterdir())) == (2 if number == signal.SIGKILL else 1)


def children(process: int) -> list[int]:
    """Return the process ids of the children of a process."""
    return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


def test_useful_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """There are at most as many processes as processors, and predict says so."""
    source = write(tmp_path / "in.jsonl", TEXTS[:3])
    counts = []

    def recorded(session: Session, workers: int) -> Pool:
        counts.append(workers)
        return Pool(session, 1)

    monkeypatch.setattr(command, "Pool", recorded)
    monkeypatch.setattr(command, "processors", lambda: 3)
    for workers in ("1000", "4", "3", "2", "0"):
        assert main(["predict", str(source), "--overwrite", "--workers", workers]) == 0
    assert counts == [3, 3, 3, 2, 3]
    why = "more processes than processors take memory, and not less time"
    assert capsys.readouterr().err.splitlines() == [
        f"warning: --workers {wanted} is reduced to 3: {why}" for wanted in (1000, 4)
    ]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`predict FILE` writes its output beside the file, prints the number of rows, and lists bad rows."""
    source = write(tmp_path / "reviews.csv", [*TEXTS[:3], ""])
    assert main(["predict", str(source)]) == 3
    shown = capsys.readouterr()
    assert shown.out.startswith(f"3 texts scored into {tmp_path / 'reviews.predictions.csv'}, described in reviews.")
    assert shown.err.endswith(f"1 row cannot be scored; {tmp_path / 'reviews.predictions.errors.jsonl'} says why\n")
    assert main(["predict", str(source)]) == 2
    assert "exists already: choose another --out, or add --overwrite" in capsys.readouterr().err
    assert main(["predict", str(source), "--overwrite", "--on-bad-rows", "error"]) == 2
    assert len(read(tmp_path / "reviews.predictions.csv")) == 3


@pytest.mark.parametrize(
    ("rows", "policy", "status"),
    [
        (b"text\ngood\n", "report", 0),
        (b"text\n", "report", 0),
        (b"text\ngood\n\xe9t\xe9\n", "report", 3),
        (b"text\ngood\n\xe9t\xe9\n", "skip", 0),
        (b"text\n\xe9t\xe9\n", "report", 1),
        (b"text\n\xe9t\xe9\n", "skip", 1),
        (b"text\n\xe9t\xe9\n", "error", 2),
    ],
)
def test_status(tmp_path: Path, rows: bytes, policy: str, status: int) -> None:
    """The status says whether all rows of a file are bad, or some of them that were not to be skipped."""
    (tmp_path / "a.csv").write_bytes(rows)
    write(tmp_path / "b.csv", TEXTS[:3])
    assert main(["predict", str(tmp_path / "*.csv"), "--on-bad-rows", policy, "--workers", "1"]) == status


@pytest.mark.parametrize(
    ("content", "encoding", "hint"),
    [
        ("text\nun été\nschön\n".encode("cp1252"), (), True),
        ("text\nun été\n".encode("cp1252") + b"\x81\n", (), False),
        ("text\nun été\n".encode("cp1252") + b"\xe9\x00\n", (), False),
        ("text\nun été\n".encode("cp1252"), ("--encoding", "ascii"), False),
        ("text\nun été\n".encode(), (), False),
    ],
)
def test_hint_of_the_encoding(
    tmp_path: Path, content: bytes, encoding: Sequence[str], hint: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hint names cp1252 if all lines that are not UTF-8 are text in it, and the encoding was not given."""
    (tmp_path / "in.csv").write_bytes(content)
    main(["predict", str(tmp_path / "in.csv"), *encoding, "--workers", "1"])
    shown = capsys.readouterr().err
    assert shown.endswith("hint: if the file is in the encoding of Windows, add --encoding cp1252\n") is hint


def test_hint_of_the_encoding_of_a_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A header that is not UTF-8 gets the hint too."""
    (tmp_path / "in.csv").write_bytes("text,größe\ngood,1\n".encode("cp1252"))
    assert main(["predict", str(tmp_path / "in.csv"), "--workers", "1"]) == 2
    assert capsys.readouterr().err.endswith(
        "(byte 0xf6 at 8); if the file is in the encoding of Windows, add --encoding cp1252\n"
    )


def test_model(tmp_path: Path) -> None:
    """`--model` names the model, as `--default-model` does."""
    source = write(tmp_path / "in.csv", TEXTS[:3])
    for number, name in enumerate(("--model", "--default-model")):
        out = tmp_path / f"{number}.csv"
        assert main(["predict", str(source), name, "accurate", "--out", str(out), "--workers", "1"]) == 0
        assert json.loads((tmp_path / f"{number}.manifest.json").read_text())["model"]["name"] == "accurate"


def test_standard_input(tmp_path: Path) -> None:
    """`-` reads standard input and writes JSON lines to standard output."""
    lines = "".join(f"{text}\n" for text in TEXTS[:20]).encode()
    result = predict("-", "--workers", "1", input=b"\xef\xbb\xbf" + lines)
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == TEXTS[:20]
    result = predict("-", "--format", "csv", "--out", tmp_path / "out.csv", input=b"id,text\n1,good\n2,\n")
    assert result.returncode == 3
    assert result.stdout.decode() == f"1 text scored into {tmp_path / 'out.csv'}, described in out.manifest.json\n"
    assert [row["id"] for row in read(tmp_path / "out.csv")] == ["1"]


@pytest.mark.parametrize("extension", [".csv", ".parquet"])
def test_bad_first_rows(tmp_path: Path, extension: str) -> None:
    """Bad rows at the beginning of JSON lines do not decide the columns of a table."""
    source = tmp_path / "in.jsonl"
    source.write_text('no JSON\n{"failure": 1}\n{"id": 7, "text": "good"}\n')
    assert score(source, tmp_path / f"out{extension}")[:2] == (1, 2)
    [row] = read(tmp_path / f"out{extension}")
    assert (int(row["id"]), row["text"]) == (7, "good")
    assert len(listed(tmp_path / "out.errors.jsonl")) == 2


def test_model_without_explanations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--explain` with a model that has no exact explanations is an error before anything is written."""
    artifacts.publish_table(tmp_path / "models")
    source = write(tmp_path / "in.txt", TEXTS[:3])
    assert main(["predict", str(source), "--model-repository", str(tmp_path / "models"), "--explain"]) == 2
    assert capsys.readouterr().err.startswith("error: --explain: there is no exact explanation for model 'tickets'")
    assert {path.name for path in tmp_path.iterdir()} == {"models", "in.txt"}


def test_name_that_is_not_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file whose name is not UTF-8 is scored, and its bad rows are listed."""
    source = tmp_path / os.fsdecode(b"\xff.csv")
    source.write_text("id,text\n1,good\n2,\n")
    assert main(["predict", str(source), "--workers", "1"]) == 3
    assert capsys.readouterr().out.endswith("\\udcff.predictions.manifest.json\n")
    [bad] = listed(tmp_path / os.fsdecode(b"\xff.predictions.errors.jsonl"))
    assert bad["source"] == str(source)


def test_closed_standard_streams(tmp_path: Path) -> None:
    """A closed standard input or output is an error without a traceback, and no temporary files remain."""
    source = write(tmp_path / "in.txt", TEXTS)
    (temporary := tmp_path / "temporary").mkdir()
    command = f"{shlex.quote(sys.executable)} -m service predict --workers 1"
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


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.parquet"])
def test_column_of_numbers(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A column of texts that are all numbers is scored with one warning, which one other text prevents."""
    for rows, warned in ((["3", "4.5", "-1e3"] * 1000, True), (["3"] * 3000 + ["three"], False)):
        source = write(tmp_path / name, rows)
        assert main(["predict", str(source), "--workers", "1", "--overwrite"]) == 0
        warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
        assert len(warnings) == warned
        assert all("the column 'text' has only numbers; --text-column names" in line for line in warnings)


def test_inputs_that_are_not_files(tmp_path: Path) -> None:
    """A pipe as input is refused."""
    os.mkfifo(tmp_path / "in.csv")
    with pytest.raises(DataError, match=r"in.csv: is not a file"):
        find_sources([str(tmp_path / "in.csv")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-", "a.txt"], "standard input cannot be combined with files"),
        (["a.txt", "b.txt", "--out", "all.jsonl"], "all.jsonl: the predictions of several files need a folder"),
        (["a.txt", "--out", "out.xml"], "out.xml: only these extensions can be written"),
        (["a.txt", "--out", "/dev/null"], "/dev/null: only these extensions can be written"),
        (["a.txt", "--out", "no/"], "no/: there is no such folder"),
        (["a.txt", "--out", "s3://bucket/a.csv"], "s3://bucket/a.csv: predict reads and writes local files"),
        (["s3://bucket/a.csv"], "s3://bucket/a.csv: predict reads and writes local files"),
        (["a.xlsx"], "a.xlsx: only these extensions can be read: .txt"),
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
    for name in ("a.txt", "b.txt", "a.xlsx"):
        (tmp_path / name).write_text("good\n")
    monkeypatch.chdir(tmp_path)
    assert main(["predict", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert len(list(tmp_path.iterdir())) == 3
