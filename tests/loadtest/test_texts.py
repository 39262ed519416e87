"""Generated texts are like reviews, and files are read as they are."""

from pathlib import Path

import numpy as np
import pytest

from loadtest import texts
from loadtest.errors import LoadTestError
from model.artifact import read_artifact
from model.tokenizer import Tokenizer
from tests.processes import MODEL_REPOSITORY


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """The shipped model's."""
    return read_artifact(MODEL_REPOSITORY / "imdb-cnn" / "1").tokenizer


def test_generated_texts_are_like_reviews(tokenizer: Tokenizer) -> None:
    """Length and share of known words are those of the IMDB training reviews, to a few per cent."""
    encodings = [tokenizer.encode(text) for text in texts.generate(tokenizer, 2000)]
    words = np.array([encoding.tokens - 1 for encoding in encodings])
    assert np.median(words) == pytest.approx(177, rel=0.07)
    assert words.mean() == pytest.approx(238, rel=0.07)
    unknown = sum(encoding.unknown_tokens for encoding in encodings) / words.sum()
    assert unknown == pytest.approx(0.1, rel=0.07)


def test_texts_are_the_same_in_every_run(tokenizer: Tokenizer) -> None:
    """Two tests send the same texts, so that they can be compared."""
    assert texts.choose("mixed", tokenizer, 50) == texts.choose("mixed", tokenizer, 50)


def test_short_and_mixed(tokenizer: Tokenizer) -> None:
    """Short texts have 20 words at most, and half of the mixed ones are short."""
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
        ("texts.jsonl", '{"text": "One film."}\n{"text": "Another, très long.", "label": 0}\n'),
    ],
)
def test_files(tmp_path: Path, tokenizer: Tokenizer, name: str, content: str) -> None:
    """Lines, a column or a key: the user's own texts are sent."""
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert texts.choose(str(path), tokenizer, 10) == ["One film.", "Another, très long."]
    assert texts.choose(str(path), tokenizer, 1) == ["One film."]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.txt", None),
        ("empty.txt", b""),
        ("bytes.txt", b"\xff\xfe\xff"),
        ("other.csv", b"a,b\n1,2\n"),
        ("broken.jsonl", b"{"),
        ("numbers.jsonl", b'{"text": 3}\n'),
        ("list.jsonl", b"[1]\n"),
    ],
)
def test_files_that_are_none(tmp_path: Path, tokenizer: Tokenizer, name: str, content: bytes | None) -> None:
    """A file without texts is refused with its name."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LoadTestError, match=name):
        texts.choose(str(path), tokenizer, 10)
