"""Files with unusual delimiters, encodings and bad rows are read, or all of their faults are reported at once."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as arrow
import pytest
from pyarrow import parquet

from sentiment_conv1d.model.data import BadDataError, DataError, Dataset, Format, Reading, load, load_examples

ROWS = [("a joy, to watch", "good"), ("très drôle", "good"), ("dull", "bad"), ("what a bore", "bad")]
CSV = '"text","label"\n' + "".join(f'"{text}","{label}"\n' for text, label in ROWS)


def pairs(dataset: Dataset) -> list[tuple[str, str]]:
    return [
        (text, dataset.label_names[label])
        for text, label in zip(dataset.train.texts, dataset.train.labels, strict=True)
    ]


def read(path: Path, reading: Reading = Reading()) -> list[tuple[str, str]]:  # noqa: B008
    return pairs(load(path, reading=reading, progress=False))


def faults(path: Path, reading: Reading = Reading(), least_examples: int = 1) -> BadDataError:  # noqa: B008
    with pytest.raises(BadDataError) as caught:
        load(path, reading=reading, least_examples=least_examples, progress=False)
    return caught.value


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_detected_delimiter(suffix: str, delimiter: str, tmp_path: Path) -> None:
    """The delimiter is detected in the header, and the suffix does not matter."""
    path = tmp_path / f"reviews{suffix}"
    path.write_text(CSV.replace('","', f'"{delimiter}"'), encoding="utf-8")
    assert read(path) == ROWS


def test_delimiter_option(tmp_path: Path) -> None:
    """The option names a delimiter that the header does not reveal."""
    path = tmp_path / "reviews.csv"
    path.write_text("text^label\na joy^good\ndull^bad\n")
    with pytest.raises(DataError, match="there is no column 'text'"):
        read(path)
    assert read(path, Reading(Format(delimiter="^"))) == [("a joy", "good"), ("dull", "bad")]


def test_label_map(tmp_path: Path) -> None:
    """Stated names replace labels in training and test data, and a hint suggests them for integers."""
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\na joy,1\ndull,-1\n")
    reading = Reading(label_map=(("1", "good"), ("-1", "bad")))
    assert read(path, reading) == [("a joy", "good"), ("dull", "bad")]
    assert load_examples(path, ["bad", "good"], reading=reading).examples.labels.tolist() == [1, 0]
    with pytest.raises(BadDataError) as caught:
        load_examples(path, ["bad", "good"])
    assert caught.value.hints[0].endswith("for example --label-map=-1=bad,1=good")
    path.write_text("text,label\na joy,1\ndull,medium\n")
    with pytest.raises(BadDataError) as caught:
        load_examples(path, ["bad", "good"])
    assert caught.value.hints == ("--on-bad-rows skip leaves these rows out",)


def test_label_studio(tmp_path: Path) -> None:
    """The nested JSON of Label Studio is named, with the export to choose instead, which is read."""
    path = tmp_path / "reviews.jsonl"
    tasks = [
        {"id": number, "data": {"text": text}, "annotations": [{"result": [{"value": {"choices": [label]}}]}]}
        for number, (text, label) in enumerate(ROWS)
    ]
    path.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    error = faults(path)
    assert "(4 rows): a task in the full JSON of Label Studio, which has no columns" in str(error)
    assert error.hints[0].startswith("export the project of Label Studio as CSV")
    (tmp_path / "reviews.csv").write_text(CSV, encoding="utf-8")
    assert read(tmp_path / "reviews.csv") == ROWS


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json"])
def test_byte_order_marks(encoding: str, suffix: str, tmp_path: Path) -> None:
    """A byte order mark determines the encoding, for example of files from Excel."""
    path = tmp_path / f"reviews{suffix}"
    objects = [json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in ROWS]
    content = {".csv": CSV, ".jsonl": "\n".join(objects), ".json": "\n".join(objects)}[suffix]
    path.write_bytes(content.encode(encoding))
    assert read(path) == ROWS


def test_encoding_option(tmp_path: Path) -> None:
    """The error for a line that is not UTF-8 names the option that sets the encoding."""
    path = tmp_path / "reviews.csv"
    path.write_bytes(CSV.encode("cp1252"))
    error = faults(path)
    assert str(error) == f"{path}: line 3: not UTF-8 (byte 0xe8 at 4)"
    assert "name the encoding of the file, for example --encoding cp1252" in error.hints
    assert read(path, Reading(Format(encoding="cp1252"))) == ROWS
    with pytest.raises(DataError, match="there is no encoding 'klingon'"):
        read(path, Reading(Format(encoding="klingon")))


def test_wrong_encoding(tmp_path: Path) -> None:
    """A byte that does not exist in the encoding is an error that names the line."""
    path = tmp_path / "reviews.csv"
    path.write_bytes(b"text,label\na joy,good\nd\x81ll,bad\n")
    assert "line 3: not cp1252 (byte 0x81 at 2)" in str(faults(path, Reading(Format(encoding="cp1252"))))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_compressed_file(encoding: str, tmp_path: Path) -> None:
    """The format is that of the compressed file."""
    (tmp_path / "reviews.csv.gz").write_bytes(gzip.compress(CSV.encode(encoding)))
    assert read(tmp_path / "reviews.csv.gz") == ROWS


def test_damaged_compressed_files(tmp_path: Path) -> None:
    """A truncated file, or a file of another format, is an error that names it."""
    path = tmp_path / "reviews.csv.gz"
    for content in (gzip.compress(CSV.encode() * 100)[:-30], b"text,label\na joy,good\n"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"reviews\.csv\.gz: .*cannot be read"):
            read(path)


@pytest.mark.parametrize("suffix", [".bz2", ".xz", ".zip", ".zst"])
def test_other_compressions(suffix: str, tmp_path: Path) -> None:
    """The error for a file with another compression says what helps."""
    (tmp_path / f"reviews.csv{suffix}").write_bytes(b"")
    with pytest.raises(DataError, match=f"compressed as {suffix} cannot be read; decompress it, or compress it with"):
        read(tmp_path / f"reviews.csv{suffix}")


def test_json(tmp_path: Path) -> None:
    """A `.json` file contains one object per line, as Hugging Face writes it."""
    path = tmp_path / "reviews.json"
    path.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in ROWS))
    assert read(path) == ROWS


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n "])
def test_json_array(start: str, suffix: str, tmp_path: Path) -> None:
    """The error for an array of objects says how to write it as lines."""
    path = tmp_path / f"reviews{suffix}"
    objects = [{"text": text, "label": label} for text, label in ROWS]
    path.write_text(start + json.dumps(objects), encoding="utf-8")
    with pytest.raises(DataError, match=r"a JSON array cannot be read; write one object per line, .*jq -c"):
        read(path)


def write_parts(folder: Path, metadata: bool, **parts: list[list[tuple[str, int]]]) -> Path:
    """Write a dataset folder like Hugging Face's `datasets`."""
    folder.mkdir()
    label = {"names": ["cheerful", "bleak", "flat"], "_type": "ClassLabel"}
    features = {"text": {"dtype": "string", "_type": "Value"}, "label": label}
    for part, files in parts.items():
        for number, rows in enumerate(files):
            table = arrow.table({"text": [text for text, _ in rows], "label": [label for _, label in rows]})
            if metadata:
                table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
            parquet.write_table(table, folder / f"{part}-{number:05}-of-{len(files):05}.parquet")
    if not metadata:
        (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


@pytest.mark.parametrize("metadata", [True, False], ids=["schema", "dataset_info.json"])
@pytest.mark.parametrize("part", ["test", "validation"])
def test_hugging_face_folders(metadata: bool, part: str, tmp_path: Path) -> None:
    """All files of a split are read in order, and integers have the names of their `ClassLabel`."""
    parts = {"train": [[("a joy", 0), ("dull", 1)], [("so so", 2), ("?", -1)]], part: [[("a treat", 0)]]}
    dataset = load(write_parts(tmp_path / "films", metadata, **parts), progress=False)
    assert pairs(dataset) == [("a joy", "cheerful"), ("dull", "bleak"), ("so so", "flat")]
    assert dataset.source == "3 texts of films/train"
    assert dataset.test is not None
    assert (dataset.test.texts, dataset.test.labels.tolist()) == (["a treat"], [1])


def test_several_files_and_a_test_file(tmp_path: Path) -> None:
    """Several files form one training split, and the test file is the test split."""
    for name, rows in {"a.csv": ROWS[:2], "b.csv": ROWS[2:], "test.csv": [("a treat", "good")]}.items():
        (tmp_path / name).write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows))
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    dataset = load(paths, test_data=[tmp_path / "test.csv"], progress=False)
    assert pairs(dataset) == ROWS
    assert dataset.source == "4 texts of a.csv and b.csv"
    assert dataset.test_source == "1 text of test.csv"
    assert load_examples(paths, ("good", "bad")).examples.labels.tolist() == [0, 0, 1, 1]


MESSY = """text,label
a joy,good
,good
a treat,good
dull,bad
one,two,three
a bore,
,bad
so so
a shame,bad
"""


def test_all_faults_at_once(tmp_path: Path) -> None:
    """One message lists every fault with its lines and their number."""
    path = tmp_path / "reviews.csv"
    path.write_bytes(MESSY.encode() + b"tr\xe8s,good\nonly one,fair\n")
    error = faults(path, least_examples=2)
    assert str(error).splitlines() == [
        "the data has 6 problems:",
        f"  {path}: lines 3, 8 (2 rows): the column 'text' is empty in this row",
        f"  {path}: line 6: 3 fields, while the header has 2",
        f"  {path}: line 7: the column 'label' is empty in this row",
        f"  {path}: line 9: 1 field, while the header has 2",
        f"  {path}: line 11: not UTF-8 (byte 0xe8 at 3)",
        f"  {path}: label 'fair' has a single example (line 12), but needs 2, one for each split of the data",
    ]
    assert error.hints == (
        "name the encoding of the file, for example --encoding cp1252",
        "name the delimiter of the file, for example --delimiter ';'",
        "--on-bad-rows skip leaves these rows out",
        "add examples of a rare label, or remove it from the data",
    )


def test_skipped_rows(tmp_path: Path) -> None:
    """With `skip`, the other rows are read, and the dataset lists the skipped ones."""
    path = tmp_path / "reviews.csv"
    path.write_text(MESSY)
    dataset = load(path, reading=Reading(on_bad_rows="skip"), progress=False)
    assert dataset.train.texts == ["a joy", "a treat", "dull", "a shame"]
    assert dataset.source == "4 texts of reviews.csv"
    assert sorted(fault.number for fault in dataset.faults) == [3, 6, 7, 8, 9]


def test_fault_in_many_rows(tmp_path: Path) -> None:
    """A message names five lines of a fault and counts the others."""
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\n" + ",good\n" * 1200 + "a joy,good\ndull,bad\n")
    assert str(faults(path)) == (
        f"{path}: lines 2, 3, 4, 5, 6 and 1,195 more (1,200 rows): the column 'text' is empty in this row"
    )


def test_similar_labels(tmp_path: Path) -> None:
    """Labels that differ only in case or white space are an error unless the option allows or merges them."""
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\na, pos \nb,pos\nc,POS\nd,pos\ne,neg\n")
    error = faults(path)
    groups = "' pos ' (1, first in line 2), 'POS' (1, first in line 4), 'pos' (2, first in line 3)"
    assert str(error) == f"{path}: labels that differ only in case or white space: {groups}"
    assert error.hints == (
        "--similar-labels merge makes one label of each group; keep treats them as different labels",
    )
    merged = load(path, reading=Reading(similar_labels="merge"), progress=False)
    assert (merged.label_names, merged.train.labels.tolist()) == (("neg", "pos"), [1, 1, 1, 1, 0])
    kept = load(path, reading=Reading(similar_labels="keep"), progress=False)
    assert kept.label_names == (" pos ", "POS", "neg", "pos")


def test_unknown_label_in_the_test_file(tmp_path: Path) -> None:
    """A label that the training split does not have is a bad row of the test file."""
    (tmp_path / "train.csv").write_text("text,label\na joy,good\ndull,bad\n")
    (tmp_path / "test.csv").write_text("text,label\nso so,fair\ndull,bad\n")
    with pytest.raises(BadDataError, match=r"test\.csv: line 2: label 'fair' is none of the labels 'bad', 'good'"):
        load(tmp_path / "train.csv", test_data=[tmp_path / "test.csv"], progress=False)
