"""Subwords have the ids and the places of Hugging Face's library, and what it cannot answer safely is refused."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any
from unittest.mock import patch

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from sentiment_conv1d.artifact.tokenizer import LibraryTokenizer, TokenizerError, read_tokenizer
from sentiment_conv1d.artifact.tokenizer import library as module
from sentiment_conv1d.artifact.tokenizer.library import completed
from tests import subwords

CORPUS = [
    "A lovely film, isn't it? Great acting! 100 %",
    "hello world, this is a test of unbelievable things \u00e9t\u00e9",
] * 10
MAX_TOKENS = 12


def word_piece() -> tokenizers.Tokenizer:
    """Return the tokenizer of BERT, without the token after a text."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]"]
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def started() -> tokenizers.Tokenizer:
    """Return a tokenizer with a token before a text."""
    tokenizer = word_piece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", tokenizer.token_to_id("[CLS]"))]
    )
    return tokenizer


def byte_level() -> tokenizers.Tokenizer:
    """Return the tokenizer of GPT-2, with all bytes."""
    return subwords.byte_level(CORPUS, 330)


def quick_tour() -> tokenizers.Tokenizer:
    """Return the tokenizer of the library's quick tour: BPE with a token for unknown characters."""
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=90, special_tokens=["[PAD]", "[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def byte_fallback() -> tokenizers.Tokenizer:
    """Return BPE that writes unknown characters with tokens for their bytes."""
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)} | {"a": 256, "\u2581": 257, "\u2581a": 258}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, [("\u2581", "a")], byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    return tokenizer


def unigram() -> tokenizers.Tokenizer:
    """Return a tokenizer as SentencePiece trains it."""
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=70, special_tokens=["<pad>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def words() -> tokenizers.Tokenizer:
    """Return whole words after a normalization that no rule of this project has."""
    ids = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "film", "lovely", ",", "ete"])}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits()])
    tokenizer.add_special_tokens(["[PAD]", "[UNK]"])
    return tokenizer


KINDS = [word_piece, started, byte_level, quick_tour, byte_fallback, unigram, words]


@cache
def document(make: Callable[[], tokenizers.Tokenizer]) -> Any:
    return json.loads(make().to_str())


@cache
def served(make: Callable[[], tokenizers.Tokenizer], keeps_first: bool = True) -> LibraryTokenizer:
    """Return the tokenizer, read from the file of an artifact."""
    whole = completed(
        document(make), max_tokens=MAX_TOKENS, padding_id=0, keeps_first=keeps_first, pads_behind=keeps_first
    )
    tokenizer = read_tokenizer(LibraryTokenizer(whole).to_json())
    assert isinstance(tokenizer, LibraryTokenizer)
    return tokenizer


@cache
def library(make: Callable[[], tokenizers.Tokenizer], direction: str | None = None) -> tokenizers.Tokenizer:
    """Return the tokenizer of the library, which truncates if there is a direction."""
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(document(make)))  # training depends on the order of hashes
    if direction is not None:
        tokenizer.enable_truncation(MAX_TOKENS, direction=direction)
    return tokenizer


texts = st.one_of(
    st.text(max_size=80),
    st.lists(
        st.sampled_from(
            [
                "A",
                "lovely",
                "film",
                "unbelievably",
                "\u00c9T\u00c9",
                "100%",
                "\U0001f600",
                "\U0001f468\u200d\U0001f469",
                "\ud800",
                "\udc00\ud83d",
                "[UNK]",
                "[CLS]",
                "<pad>",
                "  ",
                "\n",
                "\u597d\u770b",
                "e\u0301",
                "x" * 150,
            ]
        ),
        max_size=9,
    ).map(" ".join),
)


@pytest.mark.parametrize("make", KINDS)
@given(text=texts, most=st.sampled_from([0, 65_536]))
def test_ids_and_places(make: Callable[[], tokenizers.Tokenizer], text: str, most: int) -> None:
    """Ids and places are those of the library, also of more tokens than it returns at once.

    It reads a lone surrogate as U+FFFD.
    """
    readable = "".join("\ufffd" if "\ud800" <= each <= "\udfff" else each for each in text)
    expected = library(make).encode(readable)
    tokenizer = served(make)
    with patch.object(module, "_MOST_IN_A_CALL", most):
        encoding, spans = tokenizer.encode(text), list(tokenizer.spans(text))
    started = int(tokenizer.start_id is not None)
    assert encoding.ids.tolist() == (expected.ids[:MAX_TOKENS] or [0])
    assert encoding.ids.tolist() == (library(make, "right").encode(readable).ids or [0])
    assert (encoding.tokens, encoding.unknown_tokens) == (len(expected.ids), None)
    assert spans == expected.offsets[started:]
    assert encoding.ids.max() < tokenizer.vocabulary_size
    if not started:
        with patch.object(module, "_MOST_IN_A_CALL", most):
            last = served(make, keeps_first=False).encode(text)
        assert last.ids.tolist() == (library(make, "left").encode(readable).ids or [0])


@pytest.mark.parametrize("make", KINDS)
def test_several_texts(make: Callable[[], tokenizers.Tokenizer]) -> None:
    """Several texts have the ids that each has alone, and the library itself reads the same ids from the file."""
    tokenizer = served(make)
    several = [*CORPUS[:2], "", "\U0001f600", "x" * 300]
    alone = [tokenizer.encode(text).ids.tolist() for text in several]
    assert [each.ids.tolist() for each in tokenizer.encode_batch(several)] == alone
    of_file = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    assert [each.ids for each in of_file.encode_batch(several)] == alone


def test_reserved_ids() -> None:
    """The ids for unknown words and for the start of a text are those of the file."""
    assert (served(started).start_id, served(word_piece).start_id) == (2, None)
    assert (served(word_piece).unknown_id, served(byte_level).unknown_id, served(unigram).unknown_id) == (1, None, 1)


def changed(make: Callable[[], tokenizers.Tokenizer], **parts: Any) -> Any:
    """Return a complete document with other parts. Those of the model change its fields."""
    whole = completed(document(make), max_tokens=9, padding_id=0, keeps_first=True, pads_behind=True)
    model = whole["model"] | parts.pop("model", {})
    return whole | {"model": model} | parts


def bert() -> Any:
    return json.loads(processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)).__getstate__())


def template(single: str) -> Any:
    special = [("[CLS]", 2), ("[SEP]", 3)]
    return json.loads(processors.TemplateProcessing(single=single, special_tokens=special).__getstate__())


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (changed(byte_level, model={"vocab": {"a": 0}, "merges": []}), "and not all 256 bytes"),
        (changed(byte_level, pre_tokenizer={"type": "WhitespaceSplit"}), "and not all 256 bytes"),
        (changed(byte_level, model={"dropout": 0.1}), "has a dropout"),
        (changed(unigram, model={"unk_id": None}), "no token for characters that it does not know, so it fails"),
        (changed(word_piece, model={"unk_token": "[NO]"}), "no token for characters that it does not know"),
        (changed(word_piece, model={"max_input_chars_per_word": 1000}), "max_input_chars_per_word is more than 100"),
        (changed(word_piece, post_processor=bert()), r"adds '\[SEP\]' after a text"),
        (changed(word_piece, post_processor=template("[CLS] $A [SEP]")), r"adds '\[SEP\]' after a text"),
        (changed(word_piece, post_processor=template("[CLS] [SEP] $A")), "adds 2 tokens before a text"),
        (changed(word_piece, post_processor={"type": "Other"}), "post_processor Other is not supported"),
        (changed(word_piece, pre_tokenizer={"type": "UnicodeScripts"}), "pre_tokenizer UnicodeScripts is not supp"),
        (
            changed(
                word_piece,
                pre_tokenizer={
                    "type": "Sequence",
                    "pretokenizers": [
                        {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
                    ],
                },
            ),
            "pre_tokenizer Split is not supported; these are: BertPreTokenizer, ByteLevel",
        ),
        (
            changed(word_piece, normalizer={"type": "Replace", "pattern": {"Regex": "a+"}, "content": ""}),
            "normalizer Replace is supported for strings",
        ),
        (changed(word_piece, normalizer={"type": "Other"}), "normalizer Other is not supported"),
        (changed(word_piece, model={"type": "Other"}), "cannot read it|model Other is not supported"),
        (changed(word_piece, model={"vocab": 3}), "cannot read it"),
        (changed(word_piece, truncation=None), "a part of the tokenizer is missing or has another type"),
        (changed(word_piece, truncation={"direction": "Right", "max_length": 0}), "at least one token, not 0"),
        (changed(word_piece, padding={"direction": "Right", "pad_id": 1 << 24}), "ids must be between 0 and"),
        (
            changed(started, truncation={"direction": "Left", "max_length": 9}),
            "would keep the token before the text",
        ),
    ],
)
def test_refusals(refused: Any, message: str) -> None:
    """What fails on a text, leaves characters out, answers by chance, takes too long or is unknown is refused."""
    with pytest.raises(TokenizerError, match=message):
        read_tokenizer(json.dumps(refused))


@pytest.mark.parametrize("charsmap", ["", base64.b64encode(b"\x10\0\0\0" + bytes(range(200, 216)) + b" abc").decode()])
def test_panics(charsmap: str) -> None:
    """A file on which the library panics is refused, or its texts get an ordinary error."""
    content = json.dumps(changed(word_piece, normalizer={"type": "Precompiled", "precompiled_charsmap": charsmap}))
    with pytest.raises((TokenizerError, RuntimeError), match="the library `tokenizers`"):
        read_tokenizer(content).encode("film")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library, the error names the extra."""
    content = served(word_piece).to_json()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(TokenizerError, match=r"needs the library `tokenizers`.*install the `subwords` extra"):
        read_tokenizer(content)


def test_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library starts no threads, which would be missing in a process that is forked."""
    content = served(word_piece).to_json()
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    read_tokenizer(content)
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
