"""Vocabulary files, as people write them, give every word the id that the model was trained with, or are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pytest
import tokenizers

from sentiment_conv1d.artifact.tokenizer import LibraryTokenizer, VocabularyTokenizer, WordTokenizer
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.sources.vectorization import check_supported
from sentiment_conv1d.export.sources.vocabularies import (
    NOTHING_STATED,
    Asked,
    Statements,
    read_vocabulary,
    special_tokens,
    vectorization_tokenizer,
)

WORDS = ["the", "film", "good"]
LIST = Statements(first_id=2, changes={"unknown_id": 1})
VECTORIZATION = ["", "[UNK]", *WORDS]


def read(
    folder: Path, content: str | bytes, statements: Statements = NOTHING_STATED, rows: int | None = 20
) -> VocabularyTokenizer:
    """Read a vocabulary for a model that reads 6 ids."""
    file = folder / "vocabulary"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    tokenizer = read_vocabulary(file, Asked(6, rows, statements))
    assert isinstance(tokenizer, VocabularyTokenizer)
    return tokenizer


def hugging_face(*added: str, split: Any = None, normalizer: Any = None) -> str:
    """Return a word-level `tokenizer.json`, with tokens that the library finds before it splits a text."""
    ids = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    library = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="[UNK]"))
    library.pre_tokenizer = split or tokenizers.pre_tokenizers.WhitespaceSplit()
    if normalizer is not None:
        library.normalizer = normalizer
    library.add_special_tokens(["[PAD]", "[UNK]"])
    library.add_tokens(list(added))
    return library.to_str()


def without_padding_token() -> str:
    """Return a word-level `tokenizer.json` whose first word has the id of padding."""
    ids = {word: number for number, word in enumerate([*WORDS, "[UNK]"])}
    library = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="[UNK]"))
    library.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    library.enable_padding(length=6)
    return library.to_str()


def legacy(**changes: Any) -> str:
    """Return a `Tokenizer` of Keras 2, with other fields."""
    configuration = {
        "word_index": json.dumps({"the": 1, "film": 2, "good": 3}),
        "filters": "!",
        "split": " ",
        "lower": True,
        "oov_token": None,
        "num_words": None,
        "char_level": False,
    }
    return json.dumps({"class_name": "Tokenizer", "config": configuration | changes})


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_text_files_of_any_editor(mark: bytes, line_end: str, after: int, tmp_path: Path) -> None:
    """A byte order mark, other line ends and empty lines at the end change no word."""
    for words, statements in ((WORDS, LIST), (VECTORIZATION, NOTHING_STATED)):
        content = mark + (line_end.join(words) + after * line_end).encode()
        assert read(tmp_path, content, statements).known_ids == {"the": 2, "film": 3, "good": 4}
    index = mark + json.dumps({"the": 1, "good": 2}).encode() + after * line_end.encode()
    assert read(tmp_path, index, Statements(index_from=3)).known_ids == {"the": 4, "good": 5}


@pytest.mark.parametrize(
    ("content", "statements"),
    [
        ("\n".join(VECTORIZATION), NOTHING_STATED),
        (json.dumps(WORDS), LIST),
        (hugging_face(), NOTHING_STATED),
        (json.dumps({"the": 1, "film": 2, "good": 3}), Statements(index_from=1, changes={"start_id": None})),
    ],
)
def test_the_number_of_words(content: str, statements: Statements, tmp_path: Path) -> None:
    """`num_words` makes words with this id or a higher one unknown, for every form of vocabulary."""
    changes = {**statements.changes, "unknown_id": 1}
    tokenizer = read(tmp_path, content, replace(statements, num_words=4, changes=changes))
    assert tokenizer.known_ids == {"the": 2, "film": 3}


def test_a_list_of_filters(tmp_path: Path) -> None:
    """The characters that a `Tokenizer` of Keras 2 filters can be a list."""
    assert read(tmp_path, legacy(filters=["!", "?"])).encode("the?film!good").ids.tolist() == [1, 2, 3]


def test_names_of_reserved_ids(tmp_path: Path) -> None:
    """A word index can contain names of the ids of padding, start and unknown words, which are no words of a text."""
    reserved = {"<PAD>": 0, "<START>": 1, "<UNK>": 2}
    index = reserved | {word: number for number, word in enumerate([*WORDS, *map(str, range(200))], start=3)}
    read_back = read(tmp_path, json.dumps(index), Statements(index_from=0), rows=300)
    assert read_back.known_ids == {word: number for word, number in index.items() if word not in reserved}
    assert (read_back.padding_id, read_back.encode("the unheard").ids.tolist()) == (0, [1, 3, 2])


def test_words_that_are_no_text(tmp_path: Path) -> None:
    """Halves of emoji, which no request can contain, are left out, and the other words keep their ids."""
    assert read(tmp_path, '["the", "\\ud83d", "good"]', LIST).known_ids == {"the": 2, "good": 4}


@pytest.mark.parametrize(
    ("content", "statements", "fault"),
    [
        ("the\n\ngood", LIST, "word 2 is empty"),
        ("\n".join([*VECTORIZATION, "film"]), NOTHING_STATED, "a word occurs twice: 'film'"),
        ("\n".join(["", "[UNK]", "[UNK]", *WORDS]), NOTHING_STATED, r"a word occurs twice: '\[UNK\]'"),
        ("\n".join(VECTORIZATION), Statements(changes={"replaced": ("<BR />",)}), "--replaced: '<BR />' can never"),
        ("\n[UNK]", NOTHING_STATED, "there are no words in it"),
        ("\n".join(VECTORIZATION), Statements(first_id=3), "--first-id has no meaning for .*vocabulary"),
        ("\n".join(WORDS), Statements(first_id=3, index_from=3, changes=LIST.changes), "--index-from has no meaning"),
        (json.dumps({"the": 1}), Statements(index_from=3, first_id=3), "--first-id has no meaning"),
        (hugging_face(), Statements(index_from=3), "--index-from has no meaning"),
        (without_padding_token(), NOTHING_STATED, "id 0 stands for two words, or for a word and for padding"),
        (legacy(oov_token="<OOV>"), NOTHING_STATED, "is missing or has another type"),
        (legacy(word_index='{"the": "1"}'), NOTHING_STATED, "is missing or has another type"),
        (legacy(word_index="null"), NOTHING_STATED, "is missing or has another type"),
        (json.dumps({"class_name": "Tokenizer"}), NOTHING_STATED, "is missing or has another type"),
        (
            hugging_face().replace('"unk_token":"[UNK]"', '"unk_token":[]'),
            NOTHING_STATED,
            "is missing or has another type",
        ),
        (
            hugging_face(split=tokenizers.pre_tokenizers.Whitespace()),
            Statements(changes={"start_id": 5}),
            "Whitespace allows no start id",
        ),
        (
            hugging_face(split=tokenizers.pre_tokenizers.Whitespace()),
            Statements(changes={"unknown_id": None}),
            "Whitespace needs an id for unknown words",
        ),
        (
            b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02\n\x0a\n\x03the\x15\0\0\x80\xc0",
            NOTHING_STATED,
            "a model of SentencePiece",
        ),
        (b"\n\xff\n\xff", NOTHING_STATED, "neither a Keras file nor UTF-8"),
        (hugging_face("a b", "!"), NOTHING_STATED, "finds 'a b' and 1 other added tokens before it splits"),
        (WordTokenizer(WORDS, 6).to_json(), Statements(changes={"lowercase": "none"}), "so flags cannot change them"),
        (WordTokenizer(WORDS, 6).to_json(), Statements(num_words=4), "so flags cannot change them"),
    ],
)
def test_refusals(content: str | bytes, statements: Statements, fault: str, tmp_path: Path) -> None:
    """A file whose ids are ambiguous, and a flag that would change nothing, are refused."""
    with pytest.raises(ExportError, match=fault):
        read(tmp_path, content, statements)


@pytest.mark.parametrize("lower", [False, True])
def test_a_tokenizer_that_splits_words_from_marks(lower: bool, tmp_path: Path) -> None:
    """The ids of the pre-tokenizer `Whitespace` are those of Hugging Face's library, with and without lower case."""
    lowercase = tokenizers.normalizers.Sequence([tokenizers.normalizers.Lowercase()]) if lower else None
    content = hugging_face(split=tokenizers.pre_tokenizers.Whitespace(), normalizer=lowercase)
    tokenizer = read(tmp_path, content)
    for text in ("The film: good!", "film...the", "", "(good)the_film", "the\u2003good"):
        expected = tokenizers.Tokenizer.from_str(content).encode(text)
        encoding = tokenizer.encode(text)
        assert encoding.ids[: encoding.tokens].tolist() == expected.ids[:6]
        assert list(tokenizer.spans(text)) == expected.offsets


def subwords(**changes: Any) -> str:
    """Return a `tokenizer.json` of WordPiece, with other settings of its truncation."""
    ids = {word: number for number, word in enumerate(["[UNK]", "the", "film", "##s", "[PAD]"])}
    library = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
    library.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    library.add_special_tokens(["[PAD]"])
    if changes:
        library.enable_truncation(**changes)
    return library.to_str()


def test_subwords(tmp_path: Path) -> None:
    """A file of subwords states its ids and sides, and flags state what it does not, such as the side of padding."""
    file = tmp_path / "tokenizer.json"
    sides = Statements(changes={"pads_behind": False, "keeps_first": False, "padding_id": 3})
    for content, statements, expected in (
        (subwords(), NOTHING_STATED, (4, True, True)),
        (subwords(max_length=6, direction="left"), NOTHING_STATED, (4, False, True)),
        (subwords(max_length=6), sides, (3, False, False)),
    ):
        file.write_text(content)
        tokenizer = read_vocabulary(file, Asked(6, 20, statements))
        assert isinstance(tokenizer, LibraryTokenizer)
        assert (tokenizer.padding_id, tokenizer.keeps_first, tokenizer.pads_behind) == expected
        assert (tokenizer.max_tokens, tokenizer.vocabulary_size) == (6, 5)
        assert tokenizer.encode("the films").ids.tolist() == [1, 2, 3]
    for content, statements, fault in (
        (subwords(), Statements(num_words=3), "flags cannot change them"),
        (subwords(), Statements(changes={"lowercase": "unicode"}), "flags cannot change them"),
        (subwords(), Statements(first_id=3), "--first-id has no meaning"),
        (subwords(max_length=7), NOTHING_STATED, "truncates to 7 ids, and the model takes 6"),
    ):
        file.write_text(content)
        with pytest.raises(ExportError, match=fault):
            read_vocabulary(file, Asked(6, 20, statements))


def test_special_tokens(tmp_path: Path) -> None:
    """The tokens that the library finds in a text are those of a tokenizer.json, and other forms have none."""
    for content, statements, special in (
        (hugging_face(), NOTHING_STATED, ("[PAD]", "[UNK]")),
        (without_padding_token().replace('"the":0', '"the":9'), NOTHING_STATED, ()),
        ("\n".join(WORDS), LIST, ()),
        (WordTokenizer(WORDS, 6).to_json(), NOTHING_STATED, ()),
    ):
        tokenizer = read(tmp_path, content, statements)
        assert special_tokens(tmp_path / "vocabulary", tokenizer) == special


def test_a_word_index_for_a_model_without_an_embedding(tmp_path: Path) -> None:
    """Without an embedding that limits the ids, the number of known words must be stated."""
    content = json.dumps({"the": 1, "film": 2, "good": 3})
    with pytest.raises(ExportError, match="no embedding reads the ids, says how many are known"):
        read(tmp_path, content, Statements(index_from=3), rows=None)
    stated = Statements(index_from=3, num_words=6)
    assert read(tmp_path, content, stated, rows=None).known_ids == {"the": 4, "film": 5}


def test_flags_and_encodings_of_a_layer() -> None:
    """A layer knows its ids, and reads UTF-8."""
    layer = keras.layers.TextVectorization(vocabulary=WORDS, name="words")
    with pytest.raises(ExportError, match="--index-from has no meaning for layer words"):
        vectorization_tokenizer(layer, Asked(6, 20, Statements(index_from=3)))
    check_supported(keras.layers.TextVectorization(vocabulary=WORDS, encoding="UTF8"))
    with pytest.raises(ExportError, match="layer words has encoding='latin-1'"):
        check_supported(keras.layers.TextVectorization(vocabulary=WORDS, name="words", encoding="latin-1"))
