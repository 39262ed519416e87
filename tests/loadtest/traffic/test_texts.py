"""Generated texts resemble reviews, and texts of files are read unchanged."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from loadtest.errors import LoadTestError
from loadtest.traffic import texts
from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.artifact.tokenizer import Tokenizer
from sentiment_conv1d.artifact.tokenizer.words import KERAS_RULE


@pytest.fixture(scope="module")
def tokenizer(artifact: Artifact) -> Tokenizer:
    """Return the tokenizer of the shipped model."""
    return artifact.tokenizer


def test_generated_words(tokenizer: Tokenizer) -> None:
    """Generated texts have the lengths and the share of unknown words of the IMDB training reviews, within 7 %."""
    encodings = [tokenizer.encode(text) for text in texts.generate(tokenizer, 2000)]
    words = np.array([encoding.tokens - 1 for encoding in encodings])
    assert np.median(words) == pytest.approx(177, rel=0.07)
    assert words.mean() == pytest.approx(238, rel=0.07)
    unknown = sum(encoding.unknown_tokens or 0 for encoding in encodings) / words.sum()
    assert unknown == pytest.approx(0.1, rel=0.07)


def test_generated_punctuation(tokenizer: Tokenizer) -> None:
    """As in reviews, there is a punctuation mark for every five words, and one word in eight is capitalized."""
    generated = texts.generate(tokenizer, 2000)
    words = sum(tokenizer.encode(text).tokens - 1 for text in generated)
    marks = sum(text.count(mark) for text in generated for mark in KERAS_RULE.separators)
    assert marks / words == pytest.approx(0.20, rel=0.15)
    assert sum(word[0].isupper() for text in generated for word in text.split()) / words == pytest.approx(0.13, rel=0.1)


def test_same_texts_in_every_test(tokenizer: Tokenizer) -> None:
    """Two tests send the same texts, so that their results are comparable."""
    assert texts.choose("mixed", tokenizer, 50) == texts.choose("mixed", tokenizer, 50)


def test_short_and_mixed(tokenizer: Tokenizer) -> None:
    """Short texts have at most 20 words, and half of the mixed texts are short."""
    short = texts.choose("short", tokenizer, 100)
    assert max(len(text.split()) for text in short) <= 20
    mixed = texts.choose("mixed", tokenizer, 100)
    assert len(mixed) == 100
    assert sum(len(text.split()) <= 20 for text in mixed) >= 50


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("texts.txt", "One film.\nAnother, très long.\n"),
        ("texts.csv", 'label,text\n1,One film.\n0,"Another, très long."\n'),
        ("texts.tsv", "label\ttext\n1\tOne film.\n0\tAnother, très long.\n"),
        ("texts.log", "One film.\nAnother, très long.\n"),
        ("texts.jsonl", '{"text": "One film."}\n{"text": "Another, très long.", "label": 0}\n'),
    ],
)
def test_files(tmp_path: Path, tokenizer: Tokenizer, name: str, content: str) -> None:
    """A user's texts are the lines of a file, or the values of the column or key `text`."""
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert texts.choose(str(path), tokenizer, 10) == ["One film.", "Another, très long."]
    assert texts.choose(str(path), tokenizer, 1) == ["One film."]


def test_parquet(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """The texts of a Parquet file are in the column `text`."""
    path = tmp_path / "texts.parquet"
    parquet.write_table(arrow.table({"text": ["One film.", "Another, très long."], "label": [1, 0]}), path)
    assert texts.choose(str(path), tokenizer, 10) == ["One film.", "Another, très long."]
    assert texts.choose(str(path), tokenizer, 1) == ["One film."]
    parquet.write_table(arrow.table({"review": ["One film."]}), path)
    with pytest.raises(LoadTestError, match=r"texts\.parquet: there is no column 'text'"):
        texts.choose(str(path), tokenizer, 10)


def test_parquet_without_pyarrow(tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow, the message says what to install."""
    monkeypatch.delitem(sys.modules, "sentiment_conv1d.tables.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(LoadTestError, match="install the `parquet` extra"):
        texts.choose(str(tmp_path / "texts.parquet"), tokenizer, 10)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.txt", None),
        ("missing.parquet", None),
        ("broken.parquet", b"PAR1 and no more"),
        ("empty.txt", b""),
        ("bytes.txt", b"\xff\xfe\xff"),
        ("other.csv", b"a,b\n1,2\n"),
        ("broken.jsonl", b"{"),
        ("numbers.jsonl", b'{"text": 3}\n'),
        ("list.jsonl", b"[1]\n"),
    ],
)
def test_invalid_files(tmp_path: Path, tokenizer: Tokenizer, name: str, content: bytes | None) -> None:
    """The error for a missing or invalid file, or a file without texts, names the file."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LoadTestError, match=name):
        texts.choose(str(path), tokenizer, 10)
