"""Labelled texts are read from files of every format, and errors name the place of a fault."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from sentiment_conv1d.model.data import Columns, DataError, Dataset, Examples, Reading, load, load_examples, split

IMDB = Path(__file__).parents[4] / "shared" / "imdb"

ROWS = [("a joy to watch", "good"), ("dull, twice over", "bad"), ('she said "wow"\nand meant it', "good")]
REVIEWS = {
    "train/neg/0_2.txt": "a dull film",
    "train/neg/10_1.txt": "what a waste",
    "train/neg/2_3.txt": "never again<br />",
    "train/pos/0_9.txt": "a joy\r\nto watch",
    "train/pos/1_10.txt": "très drôle",
    "test/neg/0_1.txt": "it drags",
    "test/pos/0_8.txt": "it sings",
}
TRAIN_TEXTS = ["a dull film", "what a waste", "never again<br />", "a joy\r\nto watch", "très drôle"]


def pairs(examples: Examples, names: Sequence[str]) -> list[tuple[str, str]]:
    return [(text, names[label]) for text, label in zip(examples.texts, examples.labels, strict=True)]


def train_pairs(dataset: Dataset) -> list[tuple[str, str]]:
    return pairs(dataset.train, dataset.label_names)


def write_delimited(path: Path, rows: Iterable[tuple[object, object]], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([("text", "label"), *rows])
    return path


def write_json_lines(path: Path, rows: Iterable[tuple[object, object]]) -> Path:
    lines = [json.dumps({"label": label, "text": text}) + "\n" for text, label in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: Sequence[tuple[object, object]], text: Any = None, label: Any = None) -> Path:
    texts, labels = zip(*rows, strict=True) if rows else ((), ())
    table = arrow.table(
        {"id": list(range(len(rows))), "text": arrow.array(texts, text), "label": arrow.array(labels, label)}
    )
    parquet.write_table(table, path)
    return path


def write_table(path: Path, rows: Sequence[tuple[object, object]]) -> Path:
    writers: dict[str, Any] = {
        ".csv": write_delimited,
        ".tsv": lambda path, rows: write_delimited(path, rows, "\t"),
        ".jsonl": write_json_lines,
        ".parquet": write_parquet,
    }
    written: Path = writers[path.suffix](path, rows)
    return written


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def write_folder(root: Path, reviews: dict[str, str]) -> Path:
    for name, text in reviews.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    return root


def tar_bytes(members: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def write_archive(path: Path, reviews: dict[str, str], prefix: str = "aclImdb/") -> Path:
    members = [(prefix + name, text.encode()) for name, text in reversed(reviews.items())]
    return write_bytes(path, gzip.compress(tar_bytes(members)))


def write_reviews(folder: Path, form: str, reviews: dict[str, str]) -> Path:
    return write_folder(folder, reviews) if form == "folder" else write_archive(folder / "reviews.tar.gz", reviews)


def refuse(path: Path, *said: str) -> None:
    """Assert that `path` is refused with a message that names it and contains all of `said`."""
    with pytest.raises(DataError) as caught:
        load(path, progress=False)
    message = str(caught.value)
    assert message.startswith(str(path)), message
    for words in said:
        assert words in message, message


ANY_TABLE = pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])


# Tables


@ANY_TABLE
def test_table_is_read(suffix: str, tmp_path: Path) -> None:
    """Every kind of table is read with its texts in order, sorted label names, and a description of its source."""
    dataset = load(write_table(tmp_path / f"reviews{suffix}", ROWS), progress=False)
    assert dataset.label_names == ("bad", "good")
    assert train_pairs(dataset) == ROWS
    assert dataset.train.labels.dtype == np.int64
    assert dataset.source == f"3 texts of reviews{suffix}"
    assert (dataset.test, dataset.test_source) == (None, None)


@ANY_TABLE
def test_upper_case_suffix(suffix: str, tmp_path: Path) -> None:
    """The case of a file's suffix does not matter."""
    path = write_table(tmp_path / f"reviews{suffix}", ROWS).rename(tmp_path / f"REVIEWS{suffix.upper()}")
    assert train_pairs(load(path, progress=False)) == ROWS


@ANY_TABLE
def test_column_names(suffix: str, tmp_path: Path) -> None:
    """Options name the two columns."""
    path = write_table(tmp_path / f"reviews{suffix}", ROWS)
    dataset = load(path, reading=Reading(columns=Columns("label", "text")), progress=False)
    assert dataset.train.texts == [label for _, label in ROWS]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("labels", "names"),
    [((10, 9, 9), ("10", "9")), ((True, False, True), ("False", "True")), ((0, 1, 1), ("0", "1"))],
)
def test_labels_become_strings(suffix: str, labels: tuple[object, ...], names: tuple[str, ...], tmp_path: Path) -> None:
    """Integer and boolean labels become strings, and are sorted as strings."""
    rows = [(text, label) for (text, _), label in zip(ROWS, labels, strict=True)]
    dataset = load(write_table(tmp_path / f"reviews{suffix}", rows), progress=False)
    assert dataset.label_names == names
    assert [label for _, label in train_pairs(dataset)] == [str(label) for label in labels]


def test_large_fields(tmp_path: Path) -> None:
    """A review can be longer than the csv module's limit, and reading it does not change the limit."""
    limit = csv.field_size_limit()
    rows = [("long " * limit, "good"), ("short", "bad")]
    assert train_pairs(load(write_table(tmp_path / "reviews.csv", rows), progress=False)) == rows
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_line_endings(ending: bytes, tmp_path: Path) -> None:
    """Lines of CSV files can end with LF or CRLF, and empty lines are ignored."""
    path = write_bytes(tmp_path / "reviews.csv", ending.join([b"text,label", b"a joy,1", b"", b"a bore,0", b""]))
    assert train_pairs(load(path, progress=False)) == [("a joy", "1"), ("a bore", "0")]


def test_line_separators_in_json(tmp_path: Path) -> None:
    """Only a line feed ends a line of JSON, and a string can contain Unicode's other line separators."""
    lines = ['{"text": "one\u2028line\x85only", "label": "a"}', "", '{"text": "two", "label": "b"}\r', ""]
    path = write_bytes(tmp_path / "reviews.jsonl", "\n".join(lines).encode())
    assert load(path, progress=False).train.texts == ["one\u2028line\x85only", "two"]


@pytest.mark.parametrize(
    "kind", [arrow.large_string(), arrow.string_view(), arrow.dictionary(arrow.int8(), arrow.string())], ids=str
)
def test_parquet_string_types(kind: Any, tmp_path: Path) -> None:
    """Large, view and dictionary-encoded strings are read."""
    path = write_parquet(tmp_path / "reviews.parquet", ROWS, kind, kind)
    assert train_pairs(load(path, progress=False)) == ROWS


def test_parquet_in_a_folder_named_like_a_partition(tmp_path: Path) -> None:
    """A folder named `label=x` adds no column."""
    (tmp_path / "label=x").mkdir()
    path = write_parquet(tmp_path / "label=x" / "reviews.parquet", ROWS)
    assert train_pairs(load(path, progress=False)) == ROWS


def test_csv_without_pyarrow(tmp_path: Path) -> None:
    """Reading CSV does not import pyarrow."""
    path = write_table(tmp_path / "reviews.csv", ROWS)
    program = (
        "import sys; from pathlib import Path; from sentiment_conv1d.model.data import load; "
        "load(Path(sys.argv[1])); sys.exit('pyarrow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], cwd=Path(__file__).parents[3], check=True)


# Folders and archives


def test_sentiments_of_a_parquet_folder(tmp_path: Path) -> None:
    """In a folder, 0 and 1 are negative and positive, -1 is unlabelled, and `unsup.parquet` is not read."""
    write_parquet(tmp_path / "train.parquet", [("a joy", 1), ("", -1), ("a bore", 0)], label=arrow.int8())
    write_parquet(tmp_path / "test.parquet", [("it sings", 1), (None, -1)], label=arrow.int8())
    write_bytes(tmp_path / "unsup.parquet", b"not even Parquet")
    dataset = load(tmp_path, progress=False)
    assert dataset.label_names == ("negative", "positive")
    assert train_pairs(dataset) == [("a joy", "positive"), ("a bore", "negative")]
    assert dataset.test is not None
    assert pairs(dataset.test, dataset.label_names) == [("it sings", "positive")]
    assert (dataset.source, dataset.test_source) == ("2 texts of train.parquet", "1 text of test.parquet")


def test_unlabelled_reviews_of_a_parquet_folder(tmp_path: Path) -> None:
    """Unlabelled reviews are read on request, without the labelled rows of their file."""
    write_table(tmp_path / "train.parquet", [("bad", 0), ("good", 1)])
    assert load(tmp_path, unlabelled=True).unlabelled == ()
    write_table(tmp_path / "unsup.parquet", [("so", -1), ("so-so", -1), ("great", 1)])
    assert load(tmp_path, unlabelled=True).unlabelled == ("so", "so-so")
    assert load(tmp_path).unlabelled == ()


def test_only_unlabelled_reviews(tmp_path: Path) -> None:
    """A folder with only unlabelled reviews is refused."""
    write_table(tmp_path / "unsup.parquet", [("so", -1)])
    with pytest.raises(DataError, match="this folder contains no supported files"):
        load(tmp_path)
    with pytest.raises(DataError, match="this folder contains no supported files"):
        load_examples(tmp_path, ("negative", "positive"))


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_unlabelled_review_files(form: str, tmp_path: Path) -> None:
    """Unlabelled review files are read from `train/unsup`."""
    reviews = REVIEWS | {"train/unsup/0_0.txt": "no label", "train/unsup/1_0.txt": "none either"}
    path = write_reviews(tmp_path, form, reviews)
    dataset = load(path, unlabelled=True)
    assert dataset.unlabelled == ("no label", "none either")
    assert dataset.train.texts == load(path).train.texts


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_invalid_unlabelled_review_file(form: str, tmp_path: Path) -> None:
    """An invalid unlabelled review is an error only if unlabelled reviews are requested."""
    path = write_reviews(tmp_path, form, REVIEWS | {"train/unsup/0_0.txt": " "})
    assert load(path).unlabelled == ()
    assert len(load_examples(path, ("negative", "positive")).examples) == 2
    with pytest.raises(DataError, match=r"train/unsup/0_0\.txt: the review is empty"):
        load(path, unlabelled=True)


def test_parquet_folder_with_other_labels(tmp_path: Path) -> None:
    """In a folder, labels other than 0 and 1 keep their names. The test split is optional."""
    write_parquet(tmp_path / "train.parquet", [("a joy", 2), ("so so", 1), ("a bore", 0)])
    dataset = load(tmp_path, progress=False)
    assert dataset.label_names == ("0", "1", "2")
    assert (dataset.test, dataset.test_source) == (None, None)


def test_booleans_in_a_parquet_folder(tmp_path: Path) -> None:
    """Booleans in a folder are not read as the integers 0 and 1."""
    write_parquet(tmp_path / "train.parquet", [("a joy", True), ("a bore", False)])
    assert load(tmp_path, progress=False).label_names == ("False", "True")


def test_unknown_label_in_the_test_part(tmp_path: Path) -> None:
    """A label that occurs only in the test split is an error that names its row."""
    write_parquet(tmp_path / "train.parquet", [("a joy", 1), ("a bore", 0)])
    write_parquet(tmp_path / "test.parquet", [("it sings", 1), ("so so", 2)])
    with pytest.raises(
        DataError, match=r"test\.parquet: row 2: label '2' is none of the labels 'negative', 'positive'"
    ):
        load(tmp_path, progress=False)


def test_files_of_the_same_name(tmp_path: Path) -> None:
    """Files of the same name in several folders are named with their folders."""
    for name in ("films", "books"):
        (tmp_path / name).mkdir()
        write_parquet(tmp_path / name / "train.parquet", [("a joy", 1), ("a bore", 0)])
        write_parquet(tmp_path / name / "test.parquet", [("it sings", 1)])
    folders = [tmp_path / "films", tmp_path / "books"]
    dataset = load(folders, test_data=folders, progress=False)
    assert dataset.source == "4 texts of films/train.parquet and books/train.parquet"
    assert dataset.test_source == "2 texts of films/test.parquet and books/test.parquet"


def test_a_test_file_is_read_once(tmp_path: Path) -> None:
    """A file that is named twice is read once, and different files of the same name are told apart by their folders."""
    paths = [tmp_path / one / two / "test.parquet" for one, two in ("ax", "bx", "by")]
    for path in paths:
        path.parent.mkdir(parents=True)
        write_parquet(path, [(str(path), 1)])
    (tmp_path / "link").symlink_to(tmp_path / "b")
    given = [paths[0], paths[0].parent, paths[1], tmp_path / "link" / "x" / "test.parquet", paths[2], paths[0]]
    found = load_examples(given, ("negative", "positive"))
    assert found.examples.texts == [str(path) for path in paths]
    assert found.source == "a/x/test.parquet and b/x/test.parquet and b/y/test.parquet"
    write_parquet(paths[1], [("a joy", 1), ("so so", 2)])
    found = load_examples([paths[1], paths[1]], ("negative", "positive"), reading=Reading(on_bad_rows="skip"))
    assert (len(found.examples), len(found.faults)) == (1, 1)


def test_training_file_without_labels(tmp_path: Path) -> None:
    """A training file without labelled rows is an error that names it."""
    write_parquet(tmp_path / "train.parquet", [("a joy", -1)])
    with pytest.raises(DataError, match=r"train\.parquet: there are no labelled texts in it"):
        load(tmp_path, progress=False)


def test_folder_without_a_training_part(tmp_path: Path) -> None:
    """A folder with only a test split is refused for training and accepted for evaluation."""
    write_parquet(tmp_path / "test.parquet", [("a joy", 1), ("a bore", 0)])
    refuse(tmp_path, "no training split")
    assert load_examples(tmp_path, ("negative", "positive")).examples.labels.tolist() == [1, 0]


@pytest.mark.parametrize("form", ["folder", "parent", "archive", "archive without a root", "archive with a dot"])
def test_review_files_are_read(form: str, tmp_path: Path) -> None:
    """The published dataset gives the same examples in the same order, as an archive or unpacked."""
    clutter = REVIEWS | {
        "train/unsup/0_0.txt": "no label",
        "train/pos/._0_9.txt": "not a review",
        "train/labeledBow.feat": "9 0:1",
        "README": "read me",
    }
    if form in ("folder", "parent"):
        root = write_folder(tmp_path / "aclImdb", clutter)
        path = root if form == "folder" else tmp_path
    else:
        prefix = {"archive": "aclImdb/", "archive without a root": "", "archive with a dot": "./aclImdb/"}[form]
        path = write_archive(tmp_path / "reviews.tar.gz", clutter, prefix)
    dataset = load(path, progress=False)
    assert dataset.label_names == ("negative", "positive")
    assert dataset.train.texts == TRAIN_TEXTS
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert dataset.test is not None
    assert pairs(dataset.test, dataset.label_names) == [("it drags", "negative"), ("it sings", "positive")]
    name = "reviews.tar.gz, " if "archive" in form else "aclImdb/"
    assert (dataset.source, dataset.test_source) == (f"5 texts of {name}train", f"2 texts of {name}test")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["reviews.tar.gz" if "archive" in form else "aclImdb"]


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_review_files_without_a_test_part(form: str, tmp_path: Path) -> None:
    """The test split of review files is optional."""
    reviews = {name: text for name, text in REVIEWS.items() if name.startswith("train")}
    path = write_reviews(tmp_path, form, reviews)
    dataset = load(path, progress=False)
    assert (dataset.test, dataset.test_source) == (None, None)
    assert load_examples(path, dataset.label_names).examples.texts == TRAIN_TEXTS


@pytest.mark.parametrize("form", ["folder", "archive"])
@pytest.mark.parametrize("missing", ["train/neg", "test/pos"])
def test_review_files_of_one_label(form: str, missing: str, tmp_path: Path) -> None:
    """A split with only one label is an error that names the missing folder."""
    reviews = {name: text for name, text in REVIEWS.items() if not name.startswith(missing)}
    path = write_reviews(tmp_path, form, reviews)
    refuse(path, f"there are no reviews {missing}/*.txt")


@pytest.mark.parametrize("form", ["folder", "archive"])
@pytest.mark.parametrize(("content", "said"), [(b" \n", "the review is empty"), (b"tr\xe8s", "not UTF-8")])
def test_invalid_review_file(form: str, content: bytes, said: str, tmp_path: Path) -> None:
    """A review that is empty or not UTF-8 is an error that names its file."""
    if form == "folder":
        path = write_folder(tmp_path, REVIEWS)
        (path / "train/pos/7_7.txt").write_bytes(content)
    else:
        members = [(name, text.encode()) for name, text in REVIEWS.items()]
        path = tmp_path / "reviews.tar.gz"
        path.write_bytes(gzip.compress(tar_bytes([*members, ("train/pos/7_7.txt", content)])))
    refuse(path, "train/pos/7_7.txt", said)


def test_truncated_archive(tmp_path: Path) -> None:
    """An archive that is truncated anywhere is refused, even if only gzip's checksum is missing."""
    path = write_archive(tmp_path / "reviews.tar.gz", REVIEWS)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refuse(path, "truncated or corrupt")


def test_corrupt_archive(tmp_path: Path) -> None:
    """An archive with a changed byte is refused unless its content is unchanged."""
    path = write_archive(tmp_path / "reviews.tar.gz", REVIEWS)
    content = path.read_bytes()
    packed = gzip.decompress(content)
    refused = 0
    for index in range(10, len(content)):  # after gzip's header, whose timestamp can have any value
        path.write_bytes(content[:index] + bytes([content[index] ^ 0x10]) + content[index + 1 :])
        try:
            load(path, progress=False)
        except DataError as error:
            assert f"{path}: the archive is truncated or corrupt" in str(error)
            refused += 1
        else:
            assert gzip.decompress(path.read_bytes()) == packed
    assert refused > len(content) // 2


def test_other_content_in_an_archive_name(tmp_path: Path) -> None:
    """A file with the name of an archive is refused if it is not a tar archive in gzip."""
    refuse(write_bytes(tmp_path / "a.tar.gz", b"<html>not found</html>"), "truncated or corrupt")
    refuse(write_bytes(tmp_path / "b.tar.gz", gzip.compress(b"text,label\n" * 100)), "truncated or corrupt")


def test_archive_without_reviews(tmp_path: Path) -> None:
    """An archive without reviews is refused."""
    path = write_archive(
        tmp_path / "photos.tar.gz", {"holiday.jpg": "?", "train/pos/a/b.txt": "?", "valid/pos/0.txt": "?"}
    )
    refuse(path, "contains no aclImdb/train/pos/*.txt")


@pytest.mark.skipif(not IMDB.is_dir(), reason="the IMDB reviews are not beside the project")
def test_imdb() -> None:
    """The IMDB reviews are read completely, and their labels are balanced."""
    dataset = load(IMDB)
    assert dataset.label_names == ("negative", "positive")
    assert dataset.test is not None
    assert np.bincount(dataset.train.labels).tolist() == [12_500, 12_500]
    assert np.bincount(dataset.test.labels).tolist() == [6_250, 6_250]
    assert (dataset.source, dataset.test_source) == (
        "25,000 texts of train.parquet",
        "12,500 texts of test.parquet",
    )
    assert load_examples(IMDB, dataset.label_names).examples.texts == dataset.test.texts


# Round trips

LABELS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(str.strip)
TEXTS = LABELS
TABLES = st.lists(st.tuples(TEXTS, LABELS), min_size=2).filter(lambda rows: len({label for _, label in rows}) > 1)


@ANY_TABLE
@given(rows=TABLES)
def test_round_trip(suffix: str, rows: list[tuple[str, str]]) -> None:
    """Any text and label that is written to a table is read from it unchanged."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_table(Path(folder) / f"reviews{suffix}", rows)
        dataset = load(path, reading=Reading(similar_labels="keep"), progress=False)
    assert train_pairs(dataset) == rows
    assert list(dataset.label_names) == sorted({label for _, label in rows})


# Errors


@ANY_TABLE
@pytest.mark.parametrize("blank", ["", " \t\n\u00a0", None])
def test_row_without_text(suffix: str, blank: str | None, tmp_path: Path) -> None:
    """A text that is missing or blank is an error that names the row."""
    path = write_table(tmp_path / f"reviews{suffix}", [*ROWS[:2], (blank, "good"), ROWS[2]])
    row = {".csv": "line 4", ".tsv": "line 4", ".jsonl": "line 3", ".parquet": "row 3"}[suffix]
    refuse(path, f": {row}: the column 'text' is empty in this row")


@ANY_TABLE
@pytest.mark.parametrize("blank", ["", " ", None])
def test_row_without_label(suffix: str, blank: str | None, tmp_path: Path) -> None:
    """A label that is missing or blank is an error that names the row."""
    path = write_table(tmp_path / f"reviews{suffix}", [ROWS[0], ("so so", blank), ROWS[1]])
    row = {".csv": "line 3", ".tsv": "line 3", ".jsonl": "line 2", ".parquet": "row 2"}[suffix]
    refuse(path, f": {row}: the column 'label' is empty in this row")


@ANY_TABLE
def test_empty_column(suffix: str, tmp_path: Path) -> None:
    """If a whole column is empty, the message names the column and not a row."""
    path = write_table(tmp_path / f"reviews{suffix}", [(None, "good"), (None, "bad")])
    refuse(path, f"reviews{suffix}: the column 'text' is empty")
    path = write_table(tmp_path / f"reviews{suffix}", [("a joy", None), ("a bore", None)])
    refuse(path, f"reviews{suffix}: the column 'label' is empty")


@ANY_TABLE
def test_single_label(suffix: str, tmp_path: Path) -> None:
    """Data with only one label is refused."""
    path = write_table(tmp_path / f"reviews{suffix}", [("a joy", "good"), ("a treat", "good")])
    refuse(path, "column 'label' contains only one label, 'good'")


@ANY_TABLE
def test_missing_column(suffix: str, tmp_path: Path) -> None:
    """The message contains the missing column and the existing ones."""
    path = write_table(tmp_path / f"reviews{suffix}", ROWS)
    with pytest.raises(DataError, match=r"there is no column 'body'; columns: .*") as caught:
        load(path, reading=Reading(columns=Columns(text="body")), progress=False)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "'text'" in message
    assert "'label'" in message


@ANY_TABLE
def test_same_column_for_text_and_label(suffix: str, tmp_path: Path) -> None:
    """The same column for texts and labels is refused."""
    path = write_table(tmp_path / f"reviews{suffix}", ROWS)
    with pytest.raises(DataError, match="cannot both be read from column 'text'"):
        load(path, reading=Reading(columns=Columns(label="text")), progress=False)


@pytest.mark.parametrize(
    ("suffix", "said"),
    [
        (".csv", "there is no header row"),
        (".tsv", "there is no header row"),
        (".jsonl", "there are no labelled texts in it"),
        (".parquet", "not a Parquet file, or a damaged one"),
    ],
)
@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n\n"])
def test_empty_file(suffix: str, said: str, content: bytes, tmp_path: Path) -> None:
    """A file that is empty or has only blank lines is refused."""
    refuse(write_bytes(tmp_path / f"reviews{suffix}", content), said)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_table_without_rows(suffix: str, tmp_path: Path) -> None:
    """A table without rows is refused."""
    refuse(write_table(tmp_path / f"reviews{suffix}", []), "there are no labelled texts in it")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"text,label\na joy,good\na bore, in parts,bad\n", "line 3: 3 fields, while the header has 2"),
        (b"text,label\na joy,good\na bore\n", "line 3: 1 field, while the header has 2"),
        (b'text,label\n"two\nlines",good\na bore\n', "line 4: 1 field, while the header has 2"),
        (b'text,label\na joy,good\n"a bore,bad\nand,more\n', "line 3: not valid CSV (a quote is never closed)"),
        (b'text,label\n"a joy" indeed,good\n', "line 2: not valid CSV ("),
        (
            b'size 5",text,label\na joy,good\na bore,bad 7"\n',
            "line 1: not valid CSV (a quote inside a field",
        ),
        (b"text,label\r\na joy,good\r\ntr\xe8s,bad\r\n", "line 3: not UTF-8"),
        (b"\xef\xbb\xbftext,label\na joy,good\ntr\xe8s,bad\n", "line 3: not UTF-8"),
        (b"text,label,text\na joy,good,?\n", "line 1: two columns are named 'text'"),
        (b"\n\nbody,label\na joy,good\n", "line 3: there is no column 'text'"),
    ],
)
def test_malformed_csv(content: bytes, said: str, tmp_path: Path) -> None:
    """The message names the line in which the malformed record starts."""
    refuse(write_bytes(tmp_path / "reviews.csv", content), said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"text": "a joy", "label": ', "not valid JSON ("),
        (b'{"text": "a joy" "label": 1}', "not valid JSON ("),
        (b'{"text": "a\0joy", "label": 1}', "not valid JSON ("),
        (b"[" * 200_000, "not valid JSON ("),
        (b'["a joy", 1]', "not a JSON object"),
        (b'"a joy"', "not a JSON object"),
        (
            b'{"review": "a joy", "label": 1}',
            "there is no column 'text'; columns: 'review', 'label'; if it has another name, use --text-column review",
        ),
        (
            b'{"text": "a joy"}',
            "there is no column 'label'; columns: 'text'; if it has another name, use --label-column COLUMN",
        ),
        (b'{"text": 5, "label": 1}', "the column 'text' is of type int, not a string"),
        (b'{"text": ["a", "joy"], "label": 1}', "the column 'text' is of type list, not a string"),
        (b'{"text": "a joy", "label": NaN}', "not valid JSON ("),
        (b'{"text": "a joy", "label": 1.0}', "the column 'label' contains 1.0, not a string"),
        (b'{"text": "a joy", "label": {"is": 1}}', "the column 'label' contains {'is': 1}, not a string"),
        (b'{"text": "a joy \\ud83d", "label": 1}', "not valid JSON ("),
        (b'{"text": "a joy", "label": "\\ude00"}', "not valid JSON ("),
        (b'{"text": "tr\xe8s", "label": 1}', "not UTF-8"),
    ],
)
def test_malformed_json_line(line: bytes, said: str, tmp_path: Path) -> None:
    """The message names the line. Blank lines count."""
    good = b'{"text": "a joy", "label": 0}\n'
    path = write_bytes(tmp_path / "reviews.jsonl", good + b"\n" + line + b"\n" + good)
    refuse(path, f"line 3: {said}")


def test_long_value_in_a_message(tmp_path: Path) -> None:
    """A message truncates a long value of the file."""
    path = write_json_lines(tmp_path / "reviews.jsonl", [("a joy", 1), ("a bore", list(range(10_000)))])
    with pytest.raises(DataError) as caught:
        load(path, progress=False)
    assert len(str(caught.value)) < len(str(path)) + 200


@pytest.mark.parametrize(
    ("text", "label", "said"),
    [
        (arrow.array([1]), arrow.array([1]), "the column 'text' is of type int64, not a string"),
        (arrow.array([b"a joy"]), arrow.array([1]), "the column 'text' is of type binary"),
        (arrow.array([["a joy"]]), arrow.array([1]), "the column 'text' is of type list"),
        (arrow.array(["a joy"]), arrow.array([1.5]), "row 1: the column 'label' contains 1.5, not a string"),
    ],
)
def test_parquet_column_of_a_wrong_type(text: Any, label: Any, said: str, tmp_path: Path) -> None:
    """Texts must be strings, and labels must be strings, integers or booleans."""
    path = tmp_path / "reviews.parquet"
    parquet.write_table(arrow.table({"text": text, "label": label}), path)
    refuse(path, said)


def test_parquet_string_that_is_not_utf8(tmp_path: Path) -> None:
    """A string that is not UTF-8 is an error that names its row."""
    texts = arrow.array([b"a joy", b"tr\xe8s"]).view(arrow.string())
    path = tmp_path / "reviews.parquet"
    parquet.write_table(arrow.table({"text": texts, "label": ["good", "bad"]}), path)
    refuse(path, "row 2: not UTF-8")


def test_repeated_parquet_column(tmp_path: Path) -> None:
    """Two text columns with the same name are refused."""
    path = tmp_path / "reviews.parquet"
    table = arrow.Table.from_arrays([arrow.array(["a"])] * 2 + [arrow.array([1])], ["text", "text", "label"])
    parquet.write_table(table, path)
    refuse(path, "two columns are named 'text'")


def test_corrupt_parquet(tmp_path: Path) -> None:
    """A truncated Parquet file, or a file of another format, is refused."""
    path = write_parquet(tmp_path / "reviews.parquet", ROWS)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:-1], content[4:40], b"text,label\na joy,1\n"):
        refuse(write_bytes(path, damaged), "not a Parquet file, or a damaged one")


def test_changed_parquet_page(tmp_path: Path) -> None:
    """A changed byte is detected if the file has checksums."""
    path = tmp_path / "reviews.parquet"
    table = arrow.table({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]})
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    parquet.write_table(table, path, write_page_checksum=True, **plain)
    path.write_bytes(path.read_bytes().replace(b"joy", b"jay", 1))
    refuse(path, "damaged from row 1 on (")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow, the message says what to install."""
    path = write_parquet(tmp_path / "reviews.parquet", ROWS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "sentiment_conv1d.tables.parquet", raising=False)
    with pytest.raises(DataError, match="needs pyarrow, install the `parquet` extra"):
        load(path, progress=False)


@pytest.mark.parametrize("name", ["reviews.txt", "reviews", "reviews.xlsx", "reviews.txt.gz"])
def test_unsupported_file(name: str, tmp_path: Path) -> None:
    """An unsupported file is refused with a list of the supported ones."""
    refuse(
        write_bytes(tmp_path / name, b"text"),
        ".csv, .tsv, .jsonl or .parquet",
        "aclImdb_v1.tar.gz",
        "train.parquet",
    )


def test_missing_path(tmp_path: Path) -> None:
    """A missing path is refused with the same list."""
    refuse(tmp_path / "reviews.csv", "there is no such file or folder", ".csv, .tsv, .jsonl or .parquet")


def test_unsupported_folder(tmp_path: Path) -> None:
    """A folder without supported files is refused, whatever its name is."""
    folder = tmp_path / "reviews.csv"
    folder.mkdir()
    refuse(folder, "this folder contains no supported files", ".csv, .tsv, .jsonl or .parquet")


def test_file_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message contains the operating system's error and the file's name."""
    path = write_table(tmp_path / "reviews.csv", ROWS)

    def forbidden(self: Path, mode: str) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", forbidden)
    refuse(path, "cannot be read (Permission denied)")


# Evaluation


def test_evaluation_of_the_test_part(tmp_path: Path) -> None:
    """An evaluation reads only the test split of a folder or archive."""
    folder = write_folder(tmp_path / "aclImdb", REVIEWS)
    archive = write_archive(tmp_path / "reviews.tar.gz", REVIEWS)
    for path in (folder, archive):
        assert load_examples(path, ("negative", "positive")).examples.texts == ["it drags", "it sings"]


@ANY_TABLE
def test_evaluation_uses_the_labels_of_the_model(suffix: str, tmp_path: Path) -> None:
    """Labels are indices of the model's label names, even if the data has only one of them."""
    path = write_table(tmp_path / f"reviews{suffix}", [("a joy", "good"), ("a treat", "good")])
    assert load_examples(path, ("good", "bad")).examples.labels.tolist() == [0, 0]
    assert load_examples(path, ("bad", "good")).examples.labels.tolist() == [1, 1]


@ANY_TABLE
def test_evaluation_of_an_unknown_label(suffix: str, tmp_path: Path) -> None:
    """A label that the model does not have is an error that names the row."""
    path = write_table(tmp_path / f"reviews{suffix}", [("a joy", "good"), ("so so", "fair")])
    row = {".csv": "line 3", ".tsv": "line 3", ".jsonl": "line 2", ".parquet": "row 2"}[suffix]
    with pytest.raises(DataError, match=rf"{row}: label 'fair' is none of the labels 'bad', 'good'"):
        load_examples(path, ("bad", "good"))


def test_evaluation_of_sentiments_by_number(tmp_path: Path) -> None:
    """For the labels negative and positive, the integers 0 and 1 are accepted, and no other value is."""
    names = ("negative", "positive")
    path = write_parquet(tmp_path / "reviews.parquet", [("a joy", 1), ("a bore", 0)])
    assert load_examples(path, names).examples.labels.tolist() == [1, 0]
    assert load_examples(path, ("0", "1")).examples.labels.tolist() == [1, 0]
    for label in (2, -1, True):
        with pytest.raises(DataError, match=f"row 1: label '{label}' is none"):
            load_examples(write_parquet(path, [("so so", label)]), names)


# Hold-out


def some_examples(*counts: int) -> Examples:
    labels = np.random.default_rng(3).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)
    return Examples([f"review {number}" for number in range(len(labels))], labels)


@given(
    counts=st.lists(st.integers(2, 40), min_size=1, max_size=4),
    fraction=st.floats(0, 1, exclude_min=True, exclude_max=True),
    seed=st.integers(0, 2**32 - 1),
)
def test_split(counts: list[int], fraction: float, seed: int) -> None:
    """Every example is in one part, in its order, and both parts have every label in the given proportion."""
    examples = some_examples(*counts)
    rest, held_out = split(examples, fraction, seed)
    names = [str(number) for number in range(len(counts))]
    assert Counter(pairs(rest, names)) + Counter(pairs(held_out, names)) == Counter(pairs(examples, names))
    for side in (rest, held_out):
        assert side.labels.dtype == np.int64
        assert side.texts == [text for text in examples.texts if text in set(side.texts)]
    for label, count in enumerate(counts):
        size = int(np.count_nonzero(held_out.labels == label))
        assert 1 <= size < count
        assert abs(size - fraction * count) <= 1


@given(
    rows=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 1)), min_size=2, max_size=60),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 99),
)
def test_split_of_repeated_texts(rows: list[tuple[str, int]], fraction: float, seed: int) -> None:
    """Equal texts are on the same side, also if their labels differ, and no row is lost."""
    rows += [("only bad", 0), ("also bad", 0), ("only good", 1), ("also good", 1)]
    examples = Examples([text for text, _ in rows], np.array([label for _, label in rows], np.int64))
    rest, held_out = split(examples, fraction, seed)
    assert not set(rest.texts) & set(held_out.texts)
    assert Counter(rest.texts) + Counter(held_out.texts) == Counter(examples.texts)
    assert set(held_out.labels.tolist()) == {0, 1}


def test_split_with_a_seed() -> None:
    """The same seed gives the same split, and another seed gives another one."""
    examples = some_examples(50, 50)
    first, again, other = (split(examples, 0.2, seed)[1].texts for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(first) == 20


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_invalid_fraction(fraction: float) -> None:
    """The fraction must be between 0 and 1, exclusive."""
    with pytest.raises(DataError, match="must be between 0 and 1"):
        split(some_examples(5, 5), fraction, 0)


def test_label_with_one_example() -> None:
    """A label with a single text, however often it occurs, cannot be split."""
    with pytest.raises(DataError, match="label number 1 has a single text"):
        split(some_examples(5, 1), 0.5, 0)
    with pytest.raises(DataError, match="label number 1 has a single text"):
        split(Examples(["a", "b", "c", "c"], np.array([0, 0, 1, 1], np.int64)), 0.5, 0)
