"""Files are scored from and into every format, completely or not at all, with bounded memory."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import tracemalloc
import uuid
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from tqdm import tqdm

from sentiment_conv1d.artifact.tokenizer import WordTokenizer
from sentiment_conv1d.inference.prediction import Prediction, PredictionColumns
from sentiment_conv1d.scoring import run
from sentiment_conv1d.scoring.files import default_output, find_sources
from sentiment_conv1d.tables import DataError
from sentiment_conv1d.tables.table import CHUNK_BYTES, CHUNK_ROWS
from tests.processes import MODEL_REPOSITORY
from tests.scoring.one_file import score_file

ROOT = Path(__file__).parents[2]
ADDED = [
    "predicted_label",
    "score",
    "probability_negative",
    "probability_positive",
    "tokens",
    "unknown_tokens",
    "truncated",
    "confident",
]
INPUTS, OUTPUTS = [".txt", ".csv", ".tsv", ".json", ".jsonl", ".parquet"], [".jsonl", ".csv", ".parquet"]


class FakeClassifier:
    """A classifier whose predictions depend only on the text. It records batch sizes, and can fail at a text."""

    labels = ("negative", "positive")
    tokenizer = WordTokenizer([], 400)
    manifest = SimpleNamespace(name="fake", version=1, manifest_sha256="0" * 64, multilabel=False)

    def __init__(self, failure: BaseException | None = None, fails_at: str = "") -> None:
        self.failure = failure
        self.fails_at = fails_at
        self.calls: list[int] = []

    def answers(self, text: str) -> bool:
        return True

    def encode(self, texts: Sequence[str]) -> Sequence[str]:
        return texts

    def columns(self, texts: Sequence[str]) -> PredictionColumns:
        self.calls.append(len(texts))
        if self.failure is not None and self.fails_at in texts:
            raise self.failure
        labels, scores, probabilities, *counts = zip(*map(answer, texts), strict=True)
        by_label = np.array(probabilities, np.float32).T
        return PredictionColumns(list(labels), np.array(scores, np.float32), tuple(by_label), *map(list, counts))


def answer(text: str) -> Prediction:
    """Return the prediction of `FakeClassifier` for a text."""
    positive = np.float32(zlib.crc32(text.encode()) % 1000) / np.float32(1000)
    probabilities = (np.float32(1) - positive, positive)
    index = int(positive >= 0.5)
    tokens = len(text.split()) + 1
    return Prediction(
        ("negative", "positive")[index], probabilities[index], probabilities, tokens, 0, tokens > 400, tokens > 1
    )


def answered(text: str) -> dict[str, Any]:
    """Return the added columns of a row, as read from JSON or Parquet."""
    label, score, probabilities, *counts, _ = answer(text)
    return dict(zip(ADDED, (label, score, *probabilities, *counts), strict=True))


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows to an input file in the format of its extension. A `.txt` file contains only the texts."""
    if path.suffix == ".txt":
        path.write_bytes("".join(f"{row['text']}\n" for row in rows).encode())
    elif path.suffix in (".csv", ".tsv"):
        text = io.StringIO(newline="")
        delimiter = "," if path.suffix == ".csv" else "\t"
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\r\n", delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
        path.write_bytes(text.getvalue().encode())
    elif path.suffix in (".json", ".jsonl"):
        path.write_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    else:
        parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """Read the rows of an output file, with numbers in the added columns and float32 for floats."""
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    elif path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]]
    else:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        for row in rows:
            row.update({column: json.loads(row[column]) for column in ADDED[1:]})
    for row in rows:
        row.update({column: np.float32(row[column]) for column in ADDED[1:4]})
    return rows


def score(source: Path, out: Path, **settings: Any) -> list[dict[str, Any]]:
    """Score with the fake classifier and read the output."""
    count = score_file(source, out, FakeClassifier(), **settings)
    rows = read(out)
    assert count == len(rows)
    return rows


def refusal(source: Path, out: Path | None = None, **settings: Any) -> str:
    """Assert that scoring fails without an output. Returns the error message."""
    before = set(source.parent.iterdir())
    with pytest.raises(DataError) as caught:
        score_file(source, out or default_output(source), FakeClassifier(), **settings)
    assert set(source.parent.iterdir()) == before
    return str(caught.value)


@pytest.mark.parametrize("into", OUTPUTS)
@pytest.mark.parametrize("extension", INPUTS)
def test_formats(tmp_path: Path, extension: str, into: str) -> None:
    """For any two formats, an output row is the input row followed by its prediction, in the same order."""
    rows = [{"id": str(number), "text": f"review {number}, \"quoted\" 'é😀\u2028\x85'"} for number in range(700)]
    scored = score(write(tmp_path / f"in{extension}", rows), tmp_path / f"out{into}")
    if extension == ".txt":
        rows = [{"text": row["text"]} for row in rows]
    assert scored == [row | answered(row["text"]) for row in rows]
    assert list(scored[0]) == [*rows[0], *ADDED]


@given(
    rows=st.lists(st.fixed_dictionaries({"note": st.text(), "text": st.text()}), min_size=1, max_size=6),
    extension=st.sampled_from(INPUTS),
    into=st.sampled_from(OUTPUTS),
)
@settings(max_examples=200, deadline=None)
def test_any_text(rows: list[dict[str, str]], extension: str, into: str) -> None:
    """The output contains all characters of the cells unchanged, and a prediction for each text."""
    if extension == ".txt":
        # A text file cannot contain a newline in a line, a \r before its end, or a byte order mark as text.
        rows = [{"text": row["text"].replace("\n", " ").rstrip("\r")} for row in rows]
        rows[0]["text"] = rows[0]["text"].lstrip("\ufeff")
    with tempfile.TemporaryDirectory() as folder:
        source = write(Path(folder) / f"in{extension}", rows)
        scored = score(source, Path(folder) / f"out{into}", on_bad_rows="skip")
        assert scored == [row | answered(row["text"]) for row in rows if row["text"].strip()]


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b"", []),
        (b"\n", []),
        (b"a\n\nb\n", ["a", "b"]),
        (b"a\r\nb", ["a", "b"]),
        (b"a\r\r\nb\r", ["a\r", "b\r"]),
        ("a\u2028b\u2029c\x85d\ve\ff\x1cg\n".encode(), ["a\u2028b\u2029c\x85d\ve\ff\x1cg"]),
        (b"\xef\xbb\xbfa\nb\n", ["a", "b"]),
        (b"\xef\xbb\xbf", []),
        (b" a \n", [" a "]),
    ],
)
def test_lines_of_a_text_file(tmp_path: Path, content: bytes, texts: list[str]) -> None:
    """Only LF and CRLF end a line, the last line needs no end, and empty lines are ignored."""
    source = tmp_path / "in.txt"
    source.write_bytes(content)
    assert [row["text"] for row in score(source, tmp_path / "out.jsonl", on_bad_rows="skip")] == texts


def test_csv_input(tmp_path: Path) -> None:
    """CSV can have a byte order mark, quoted newlines, blank lines, a huge field and no newline at the end."""
    limit = csv.field_size_limit(1_000_000)  # so that this test can read the output
    huge = "long " * 100_000
    source = tmp_path / "in.csv"
    source.write_bytes(f'\ufefftext,id\r\n"two\nlines, ""quoted""",1\r\n\r\n{huge},2\r\n\n"c",3'.encode())
    rows = score(source, tmp_path / "out.csv")
    assert [(row["text"], row["id"]) for row in rows] == [('two\nlines, "quoted"', "1"), (huge, "2"), ("c", "3")]
    assert csv.field_size_limit(limit) == 1_000_000


def test_csv_output(tmp_path: Path) -> None:
    """In CSV output, lines end with LF, a lone CR is quoted, and floats and booleans have their shortest form."""
    source = write(
        tmp_path / "in.jsonl", [{"text": "a\rb", "flag": True, "none": None, "ratio": 0.1, "deep": {"a": [1]}}]
    )
    score_file(source, tmp_path / "out.csv", FakeClassifier())
    label, value, probabilities, *_ = answer("a\rb")
    assert (tmp_path / "out.csv").read_bytes().decode() == (
        "text,flag,none,ratio,deep," + ",".join(ADDED) + "\n"
        f'"a\rb",true,,0.1,"{{""a"":[1]}}",{label},{value!s},{probabilities[0]!s},{probabilities[1]!s},3,0,false,true\n'
    )
    assert len(str(value)) <= 10


def test_jsonl_output(tmp_path: Path) -> None:
    """JSONL output keeps the spelling of a row, even of big numbers, and writes float32 in its shortest form."""
    source = tmp_path / "in.jsonl"
    source.write_bytes(b'  { "n": 123456789012345678901234567890, "x": 1.10, "text": "\\u00e9" }  \r\n\n{"text":"a"}')
    assert score_file(source, tmp_path / "out.jsonl", FakeClassifier()) == 2
    first, second = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    value = answer("é").score
    assert first.startswith('{ "n": 123456789012345678901234567890, "x": 1.10, "text": "\\u00e9" ,"predicted_label":')
    assert f'"score":{value!s},' in first
    assert second.startswith('{"text":"a","predicted_label":')


def test_different_keys_in_jsonl(tmp_path: Path) -> None:
    """Rows with different keys are written to JSONL unchanged."""
    rows: list[dict[str, Any]] = [{"text": "a", "id": 1}, {"more": [1, {"b": None}], "text": "b"}]
    source = write(tmp_path / "in.jsonl", rows)
    assert score(source, tmp_path / "out.jsonl") == [row | answered(row["text"]) for row in rows]


@pytest.mark.parametrize("into", [".csv", ".parquet"])
def test_different_keys_in_a_table(tmp_path: Path, into: str) -> None:
    """For CSV and Parquet, a row with other keys than the first is an error. Their order does not matter."""
    source = write(tmp_path / "in.jsonl", [{"text": "a", "id": 1}, {"id": 2, "text": "b"}, {"text": "c", "it": 3}])
    message = refusal(source, tmp_path / f"out{into}")
    assert message.startswith(f"{source}: line 3: other columns than the first row (without 'id' and with 'it')")


@pytest.mark.parametrize("into", OUTPUTS)
def test_empty_files(tmp_path: Path, into: str) -> None:
    """A file without rows gives an output without rows, with the known columns."""
    for extension, known in {".txt": ["text"], ".csv": ["id", "text"], ".jsonl": [], ".parquet": ["text"]}.items():
        source, out = tmp_path / f"in{extension}", tmp_path / f"out{into}"
        if extension == ".parquet":
            parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), source)
        else:
            source.write_text("id,text\n" if extension == ".csv" else "")
        assert score(source, out, overwrite=True) == []
        if into == ".csv":
            assert out.read_text() == ",".join([*known, *ADDED]) + "\n"
        if into == ".parquet":
            assert parquet.read_schema(out).names == [*known, *ADDED]


def test_text_column(tmp_path: Path) -> None:
    """`text_column` names the column that is scored, and has no effect on text files."""
    source = write(tmp_path / "in.csv", [{"text": "not this", "review": "this"}])
    assert score(source, tmp_path / "out.csv", text_column="review")[0]["score"] == answered("this")["score"]
    assert score(write(tmp_path / "in.txt", [{"text": "a"}]), tmp_path / "lines.jsonl", text_column="review")


def rich_table() -> Any:
    """Return a table with a column of each of many Arrow types, which contains a value and a null."""
    moment = datetime.datetime(2024, 5, 1, 12, 30)
    columns = {
        "text": pyarrow.array(["a", "b"], pyarrow.large_string()),
        "nanoseconds": pyarrow.array([1704067200123456789, None], pyarrow.timestamp("ns")),
        "zoned": pyarrow.array([moment, None], pyarrow.timestamp("ms", "Europe/Berlin")),
        "day": pyarrow.array([moment.date(), None]),
        "clock": pyarrow.array([moment.time(), None], pyarrow.time64("us")),
        "duration": pyarrow.array([1500, None], pyarrow.duration("ms")),
        "price": pyarrow.array([decimal.Decimal("12345678901234567890.10"), None], pyarrow.decimal128(30, 2)),
        "raw": pyarrow.array([b"\x00\xff", None]),
        "single": pyarrow.array([0.1, None], pyarrow.float32()),
        "half": pyarrow.array([0.5, None], pyarrow.float16()),
        "nan": pyarrow.array([float("nan"), None]),
        "kind": pyarrow.array(["x", None]).dictionary_encode(),
        "small": pyarrow.array([7, None], pyarrow.uint8()),
        "flag": pyarrow.array([True, None]),
        "moments": pyarrow.array([[moment, None], None]),
        "pair": pyarrow.array([[b"a", b"b"], None], pyarrow.list_(pyarrow.binary(), 2)),
        "object": pyarrow.array([{"raw": b"z", "list": [{"n": 1}]}, None]),
        "map": pyarrow.array([[("k", moment.date())], None], pyarrow.map_(pyarrow.string(), pyarrow.date32())),
        "id": pyarrow.array([uuid.UUID(int=1).bytes, None], pyarrow.uuid()),
        "nothing": pyarrow.nulls(2),
    }
    table = pyarrow.table(columns)
    return table.replace_schema_metadata({"made by": "a test"})


def test_arrow_types_in_parquet(tmp_path: Path) -> None:
    """In Parquet output, input columns keep their types, values and metadata, and added columns have fixed types."""
    table = rich_table()
    parquet.write_table(table, tmp_path / "in.parquet")
    score_file(tmp_path / "in.parquet", tmp_path / "out.parquet", FakeClassifier())
    scored = parquet.read_table(tmp_path / "out.parquet")
    assert scored.select(table.schema.names).drop("nan").equals(table.drop("nan"))
    assert scored.schema.metadata[b"made by"] == b"a test"
    floats = [pyarrow.float32()] * 3
    assert [scored.schema.field(name).type for name in ADDED] == [
        pyarrow.string(),
        *floats,
        pyarrow.int64(),
        pyarrow.int64(),
        pyarrow.bool_(),
        pyarrow.bool_(),
    ]


def test_arrow_types_in_text_formats(tmp_path: Path) -> None:
    """In JSONL and CSV, times are ISO 8601, decimals are text, bytes are base64, and floats are short."""
    parquet.write_table(rich_table(), tmp_path / "in.parquet")
    first, second = score(tmp_path / "in.parquet", tmp_path / "out.jsonl")
    expected = {
        "text": "a",
        "nanoseconds": "2024-01-01T00:00:00.123456789",
        "zoned": "2024-05-01T12:30:00.000Z",
        "day": "2024-05-01",
        "clock": "12:30:00.000000",
        "duration": 1.5,
        "price": "12345678901234567890.10",
        "raw": "AP8=",
        "single": 0.1,
        "half": 0.5,
        "nan": None,
        "kind": "x",
        "small": 7,
        "flag": True,
        "moments": ["2024-05-01T12:30:00.000000", None],
        "pair": ["YQ==", "Yg=="],
        "object": {"raw": "eg==", "list": [{"n": 1}]},
        "map": [["k", "2024-05-01"]],
        "id": "00000000-0000-0000-0000-000000000001",
        "nothing": None,
    }
    assert first == expected | answered("a")
    assert second == dict.fromkeys(expected) | {"text": "b"} | answered("b")
    first, second = score(tmp_path / "in.parquet", tmp_path / "table.csv")
    compact = {name: json.dumps(value, separators=(",", ":")) for name, value in expected.items()}
    texts = {name: value for name, value in expected.items() if isinstance(value, str)}
    assert {name: first[name] for name in expected} == compact | texts | {"nan": "nan", "nothing": ""}
    assert {second[name] for name in expected if name != "text"} == {""}


@pytest.mark.parametrize(
    "kind", [pyarrow.string(), pyarrow.string_view(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())]
)
def test_arrow_string_types(tmp_path: Path, kind: Any) -> None:
    """The text column can have any of Arrow's string types, and each row group can have its own dictionary."""
    texts = [f"review {number}" for number in range(1000)]
    array = pyarrow.array(texts)
    table = pyarrow.table(
        {"text": array.dictionary_encode() if pyarrow.types.is_dictionary(kind) else array.cast(kind)}
    )
    parquet.write_table(table, tmp_path / "in.parquet", row_group_size=300)
    assert [row["text"] for row in score(tmp_path / "in.parquet", tmp_path / "out.parquet")] == texts
    assert parquet.read_schema(tmp_path / "out.parquet").field("text").type == kind


def test_json_types_in_parquet(tmp_path: Path) -> None:
    """The first rows of a JSONL file determine the Arrow types. Later integers and nulls are converted if they fit."""
    rows: list[dict[str, Any]] = [{"text": "a", "n": 1, "x": 0.5, "o": {"l": [1.5]}, "s": ["t"]}] * CHUNK_ROWS
    rows += [
        {"text": "b", "n": None, "x": 2, "o": {"l": [None, 3]}, "s": None},
        {"text": "c", "n": 1, "x": 1, "o": None, "s": []},
    ]
    scored = score(write(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet")
    assert [{key: row[key] for key in rows[0]} for row in scored] == rows


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (1, "x"),
        (1, 1.5),
        (1, True),
        ("x", 1),
        ({"a": 1}, {"b": 1}),
        ([1], ["x"]),
        (0.5, 2**60 + 1),
        (None, 1),
        (1, 2**63),
    ],
)
def test_changed_json_type(tmp_path: Path, first: Any, later: Any) -> None:
    """A later value of another type is an error that names the column and the rows. It is never converted."""
    rows = [{"text": "a", "v": first}] * CHUNK_ROWS + [{"text": "b", "v": later}]
    message = refusal(write(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet")
    assert f"in.jsonl: lines {CHUNK_ROWS + 1} to {CHUNK_ROWS + 1}: the column 'v'" in message


@pytest.mark.parametrize("values", [[1, "x"], [{}, {}], [2**63, 1]])
def test_json_without_a_parquet_type(tmp_path: Path, values: list[Any]) -> None:
    """Values that do not fit into one Parquet column are an error that names the rows."""
    source = write(tmp_path / "in.jsonl", [{"text": "a", "v": value} for value in values])
    assert "in.jsonl: lines 1 to 2: " in refusal(source, tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.xlsx", b"", "only these extensions can be read: .txt, .csv, .tsv, .jsonl, .json, .parquet"),
        ("in.txt", b"a\nb\xffc\n", "line 2: not UTF-8 (byte 0xff at 2)"),
        ("in.csv", b"text\na\n\xe9\n", "line 3: not UTF-8 (byte 0xe9 at 1)"),
        ("in.jsonl", b'{"text":"\xe9"}', "line 1: not UTF-8 (byte 0xe9 at 10)"),
        ("in.csv", b"", "there is no header row"),
        ("in.csv", b"\xef\xbb\xbf\n\n", "there is no header row"),
        ("in.csv", b"id,review\n1,a\n", "line 1: there is no column 'text'; columns: 'id', 'review'"),
        ("in.csv", b"text,id,text\n", "line 1: two columns are named 'text'"),
        ("in.csv", b"text,score\n", "line 1: the column 'score' has the name of one that scoring adds"),
        ("in.csv", b'text,id\n"a\nb",1\nc\n', "line 4: 1 field, while the header has 2"),
        ("in.csv", b"text,id\na,1\nb,2,3\n", "line 3: 3 fields, while the header has 2"),
        ("in.csv", b'text\n"a" b\n', "line 2: not valid CSV"),
        ("in.csv", b'text\na\n"b\nc\n', "line 3: not valid CSV (a quote is never closed)"),
        ("in.csv", b"text\na\rb\n", "line 2: not valid CSV (new-line character seen in unquoted field"),
        ("in.jsonl", b'{"text":"a"}\n{"text":}\n', "line 2: not valid JSON (unexpected character"),
        ("in.jsonl", b'{"text":"\\ud800"}\n', "line 1: not valid JSON ("),
        ("in.jsonl", b'{"text":"a","x":NaN}\n', "line 1: not valid JSON ("),
        ("in.jsonl", b'\n["text"]\n', "line 2: not a JSON object"),
        (
            "in.jsonl",
            b'{"id":1,"review":"a"}',
            "columns: 'id', 'review'; if it has another name, use --text-column review",
        ),
        ("in.jsonl", b"{}", "line 1: there is no column 'text'; columns: none"),
        ("in.jsonl", b'{"text":null}', "line 1: the column 'text' is null, not a string"),
        ("in.jsonl", b'{"text":1}', "line 1: the column 'text' is of type int, not a string"),
        ("in.jsonl", b'{"text":"a"}\n{"text":"a","tokens":1}', "line 2: the column 'tokens' has the name of one"),
        ("in.jsonl", b'{"text":"a","probability_negative":1}', "the column 'probability_negative' has the name of one"),
        ("in.parquet", b"PAR1 but no more", "not a Parquet file, or a damaged one"),
        ("in.parquet", b"", "not a Parquet file, or a damaged one"),
    ],
)
def test_bad_input(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """Input that cannot be scored is refused, and the message names the file and the faulty row or column."""
    source = tmp_path / name
    source.write_bytes(content)
    assert refusal(source, tmp_path / "out.jsonl").startswith(str(source))
    assert message in refusal(source, tmp_path / "out.jsonl")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"review": ["a"]}, "there is no column 'text'; columns: 'review'"),
        ({"text": ["a"], "truncated": [True]}, "the column 'truncated' has the name of one that scoring adds"),
        ({"text": [1]}, "the column 'text' is of type int64, not a string"),
        ({"text": [b"a"]}, "the column 'text' is of type binary, not a string"),
        ({"text": ["a"] * 300 + [None]}, "row 301: the column 'text' is null, not a string"),
        ({"text": ["a"], "when": pyarrow.array([2**62], pyarrow.timestamp("ms"))}, "rows 1 to 1: the column 'when'"),
    ],
)
def test_bad_parquet(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    """A Parquet file that cannot be scored is refused, and the message names the faulty row or column."""
    parquet.write_table(pyarrow.table(table), tmp_path / "in.parquet")
    assert f"in.parquet: {message}" in refusal(tmp_path / "in.parquet", tmp_path / "out.jsonl")


def test_repeated_parquet_column(tmp_path: Path) -> None:
    """Two columns with the same name are refused."""
    parquet.write_table(pyarrow.table([["a"], ["b"]], names=["text", "text"]), tmp_path / "in.parquet")
    assert "in.parquet: two columns are named 'text'" in refusal(tmp_path / "in.parquet")


def test_parquet_strings_that_are_not_utf8(tmp_path: Path) -> None:
    """Strings of a Parquet file are checked, and the error names the row of one that is not UTF-8."""
    offsets = pyarrow.py_buffer(np.array([0, 1, 2], np.int32))
    texts = pyarrow.StringArray.from_buffers(2, offsets, pyarrow.py_buffer(b"a\xff"))
    parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "in.parquet")
    assert "in.parquet: row 2: the column 'text' is not UTF-8" in refusal(tmp_path / "in.parquet")


def test_damaged_parquet_page(tmp_path: Path) -> None:
    """The checksum of a page reveals a change, and the error names the first row that cannot be read."""
    source = tmp_path / "in.parquet"
    table = pyarrow.table({"text": [f"review {number}" for number in range(1000)]})
    parquet.write_table(table, source, row_group_size=500, write_page_checksum=True, use_dictionary=False)
    content = bytearray(source.read_bytes())
    content[parquet.read_metadata(source).row_group(1).column(0).data_page_offset + 200] ^= 0xFF
    source.write_bytes(content)
    assert "in.parquet: damaged from row 501 on (" in refusal(source)


def test_deeply_nested_json(tmp_path: Path) -> None:
    """Values that are nested too deeply to be written as JSON are an error that names the row."""
    source = tmp_path / "in.jsonl"
    source.write_text('{"text":"a","deep":' + "[" * 500 + "]" * 500 + "}")
    assert "in.jsonl: line 1: cannot be written as JSON" in refusal(source, tmp_path / "out.csv")


def test_deeply_nested_parquet(tmp_path: Path) -> None:
    """Values that are nested too deeply to be read from Parquet are an error and are not written."""
    for depth in (48, 49):
        row = json.loads('{"text":"a","deep":' + "[" * depth + "1" + "]" * depth + "}")
        source, out = write(tmp_path / "in.jsonl", [row]), tmp_path / "out.parquet"
        if depth == 48:
            assert score(source, out) == [row | answered("a")]
        else:
            assert "lines 1 to 1: the column 'deep' is nested deeper" in refusal(source, out, overwrite=True)


def test_invalid_source(tmp_path: Path) -> None:
    """A missing file, or a folder without files, is refused by name."""
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder.parquet").mkdir()
    assert refusal(tmp_path / "in.csv").endswith("in.csv: there is no such file")
    for folder in ("folder.csv", "folder.parquet"):
        with pytest.raises(DataError, match=f"{folder}: there is no such file"):
            find_sources([str(tmp_path / folder)])


@pytest.mark.parametrize("name", ["out.jsonl", "out.manifest.json", "out.errors.jsonl"])
def test_existing_output(tmp_path: Path, name: str) -> None:
    """An existing output or file beside it is replaced only with `overwrite`, and refused before anything is read."""
    source = write(tmp_path / "in.txt", [{"text": "a"}])
    out, old = tmp_path / "out.jsonl", tmp_path / name
    old.write_text("old")
    scorer = FakeClassifier()
    with pytest.raises(DataError, match=f"{name}: exists already"):
        score_file(source, out, scorer)
    assert (old.read_text(), scorer.calls) == ("old", [])
    assert len(score(source, out, overwrite=True)) == 1


def test_output_of_another_program(tmp_path: Path) -> None:
    """A file that another program writes during the scoring is not replaced."""
    source, out = write(tmp_path / "in.txt", [{"text": "a"}]), tmp_path / "out.jsonl"

    class SlowClassifier(FakeClassifier):
        def columns(self, texts: Sequence[str]) -> PredictionColumns:
            out.write_text("other")
            return super().columns(texts)

    with pytest.raises(DataError, match="exists already"):
        score_file(source, out, SlowClassifier())
    assert (out.read_text(), set(tmp_path.iterdir())) == ("other", {source, out})


def test_output_that_is_the_input(tmp_path: Path) -> None:
    """The input is never replaced, even under another name."""
    source = write(tmp_path / "in.csv", [{"text": "a"}])
    (tmp_path / "link.csv").hardlink_to(source)
    for out in (source, tmp_path / "link.csv"):
        assert "would replace the input" in refusal(source, out, overwrite=True)


def test_invalid_output(tmp_path: Path) -> None:
    """An output that is a folder, or is in a missing folder or below a file, is refused by name."""
    source = write(tmp_path / "in.csv", [{"text": "a"}])
    (tmp_path / "folder.csv").mkdir()
    assert "folder.csv: is a folder" in refusal(source, tmp_path / "folder.csv", overwrite=True)
    assert "no/out.csv: cannot be written (" in refusal(source, tmp_path / "no" / "out.csv")
    assert "in.csv/out.csv: cannot be written (" in refusal(source, source / "out.csv")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("into", OUTPUTS)
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, into: str) -> None:
    """A full disk is an error that says so, for every output format."""
    source = write(tmp_path / "in.txt", [{"text": "a"}] * 1000)
    opened = Path.open

    def open_full(path: Path, mode: str = "r", **settings: Any) -> Any:
        return open("/dev/full", "wb") if mode == "xb" else opened(path, mode, **settings)  # noqa: PTH123

    monkeypatch.setattr(Path, "open", open_full)
    # Closing the file also raises, because buffered data cannot be written.
    assert "cannot be written (No space left on device)" in refusal(source, tmp_path / f"out{into}")


@pytest.mark.parametrize("failure", [RuntimeError("broken"), KeyboardInterrupt()])
@pytest.mark.parametrize("into", OUTPUTS)
@pytest.mark.parametrize("old", [None, "old"])
def test_no_partial_output(tmp_path: Path, failure: BaseException, into: str, old: str | None) -> None:
    """An error or Ctrl-C during the scoring leaves no output, and does not change an existing one."""
    source = write(tmp_path / "in.txt", [{"text": str(number)} for number in range(1000)])
    out = tmp_path / f"out{into}"
    if old is not None:
        out.write_text(old)
    with pytest.raises(type(failure)):
        score_file(source, out, FakeClassifier(failure, fails_at="900"), overwrite=True)
    assert set(tmp_path.iterdir()) == ({source} if old is None else {source, out})
    assert old is None or out.read_text() == old


def test_permissions(tmp_path: Path) -> None:
    """The output has the permissions of any new file, although it was written as a temporary file."""
    score(write(tmp_path / "in.txt", [{"text": "a"}]), tmp_path / "out.jsonl")
    (tmp_path / "any").touch()
    assert (tmp_path / "out.jsonl").stat().st_mode == (tmp_path / "any").stat().st_mode


@pytest.mark.parametrize("extension", INPUTS)
def test_sizes_of_batches(tmp_path: Path, extension: str) -> None:
    """The classifier never gets more rows at once than a chunk can have, and far fewer if texts are long."""
    for count, length, largest in ((3000, 1, CHUNK_ROWS), (20, CHUNK_BYTES // 5, 6)):
        scorer = FakeClassifier()
        rows = [{"text": chr(ord("a") + number) * length} for number in range(26)] * (count // 20)
        score_file(
            write(tmp_path / f"in{extension}", rows), tmp_path / "out.jsonl", scorer, overwrite=True, progress=False
        )
        assert sum(scorer.calls) == len(rows)
        assert max(scorer.calls) <= largest


def long_rows(count: int) -> list[dict[str, str]]:
    """Generate rows of 8 KiB that hardly compress."""
    generator = random.Random(0)
    return [{"text": generator.randbytes(4096).hex()} for _ in range(count)]


@pytest.mark.parametrize(("extension", "into"), [(".txt", ".csv"), (".csv", ".jsonl"), (".jsonl", ".csv")])
def test_memory_of_text_formats(tmp_path: Path, extension: str, into: str) -> None:
    """Scoring a file of more than 30 MiB takes the memory of a few chunks."""
    source = write(tmp_path / f"in{extension}", long_rows(4000))
    assert source.stat().st_size > 30 * 2**20
    tracemalloc.start()
    try:
        score_file(source, tmp_path / f"out{into}", FakeClassifier())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * CHUNK_BYTES


# tracemalloc does not see Arrow's memory, so a separate process reads its peak from the kernel.
PARQUET_MEMORY = """
import sys
from pathlib import Path
from tests.scoring.one_file import score_file
from tests.scoring.test_scoring import FakeClassifier

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

small, large, out = map(Path, sys.argv[1:])
score_file(small, out, FakeClassifier())
before = peak()
score_file(large, out, FakeClassifier(), overwrite=True)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a kernel that tells the peak of memory")
def test_memory_of_parquet(tmp_path: Path) -> None:
    """The memory for a Parquet file with one row group grows by much less than the size of the file."""
    rows = long_rows(20_000) * 2
    small, large = write(tmp_path / "small.parquet", rows[:4000]), write(tmp_path / "large.parquet", rows)
    assert parquet.read_metadata(large).num_row_groups == 1
    growth = int(run_python(PARQUET_MEMORY, small, large, tmp_path / "out.parquet"))
    assert growth < large.stat().st_size / 2


WITHOUT_PYARROW = """
import sys
from pathlib import Path
sys.modules["pyarrow"] = None
from sentiment_conv1d.tables import DataError
from sentiment_conv1d.scoring.session import Session
from tests.scoring.one_file import score_file

folder, classifier = Path(sys.argv[1]), Session(sys.argv[2]).classifier()
score_file(folder / "in.csv", folder / "lines.jsonl", classifier)
for source, out in (("in.parquet", "out.csv"), ("in.csv", "out.parquet")):
    try:
        score_file(folder / source, folder / out, classifier)
    except DataError as error:
        print(error)
print(sorted({"tensorflow", "keras", "pandas"} & set(sys.modules)), sorted(path.name for path in folder.iterdir()))
"""


def test_without_pyarrow(tmp_path: Path) -> None:
    """Without pyarrow, the other formats work, and the error for Parquet says what to install."""
    for name in ("in.csv", "in.parquet"):
        write(tmp_path / name, [{"text": "a"}])
    message = "reading or writing Parquet needs pyarrow, install the `parquet` extra: pip install '.[parquet]'"
    names = ["in.csv", "in.parquet", "lines.jsonl", "lines.manifest.json"]
    artifact = MODEL_REPOSITORY / "imdb-cnn" / "1"
    assert run_python(WITHOUT_PYARROW, tmp_path, artifact).splitlines() == [message, message, f"[] {names}"]


@pytest.mark.parametrize("extension", [".csv", ".parquet"])
def test_progress_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, extension: str
) -> None:
    """The progress bar counts the bytes of text, or the rows of Parquet, up to 100 %, if asked for, in a terminal."""
    source = write(tmp_path / f"in{extension}", [{"text": "abcdefg"}] * 2)
    score_file(source, tmp_path / "out.csv", FakeClassifier(), progress=True, overwrite=True)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    score_file(source, tmp_path / "out.csv", FakeClassifier(), progress=True, overwrite=True)
    shown = capsys.readouterr().err
    assert re.search(r"100%[^\r]*(B|rows)/s\]\n$", shown)
    score_file(source, tmp_path / "out.csv", FakeClassifier(), overwrite=True)
    assert capsys.readouterr().err == ""


def test_progress_of_compressed_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bar of a compressed file shows no share before the end, because its number of rows is not known."""
    monkeypatch.setattr(run, "tqdm", partial(tqdm, mininterval=0))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    (tmp_path / "in.txt.gz").write_bytes(gzip.compress(b"abcdefg\n" * 600))
    score_file(tmp_path / "in.txt.gz", tmp_path / "out.csv", FakeClassifier(), progress=True)
    assert capsys.readouterr().err.count("%") == 1


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("reviews.csv", "reviews.predictions.csv"),
        ("reviews.txt", "reviews.predictions.jsonl"),
        ("reviews.tsv", "reviews.predictions.jsonl"),
        ("a/my.reviews.jsonl", "a/my.reviews.predictions.jsonl"),
        ("reviews.PARQUET", "reviews.predictions.parquet"),
        ("reviews.json", "reviews.predictions.jsonl"),
        ("my.reviews.csv.gz", "my.reviews.predictions.csv"),
        ("reviews.tsv.gz", "reviews.predictions.jsonl"),
    ],
)
def test_default_output(source: str, out: str) -> None:
    """The default output is beside the input, in the same format, or in JSONL if that cannot be written."""
    assert default_output(Path(source)) == Path(out)


def run_python(program: str, *arguments: object) -> str:
    """Run a program in a separate Python that can import this project, and return its output."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout
