"""Vocabularies from elsewhere: the form of a file is recognized by its content and decides the tokenizer's rule."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras

from sentiment_conv1d.artifact.tokenizer import (
    LibraryTokenizer,
    Rule,
    Tokenizer,
    TokenizerError,
    VocabularyTokenizer,
    WordLevelTokenizer,
    read_vocabulary_tokenizer,
)
from sentiment_conv1d.artifact.tokenizer.characters import UNICODE_SPACES
from sentiment_conv1d.artifact.tokenizer.library import completed, is_foreign
from sentiment_conv1d.artifact.tokenizer.words import KERAS_RULE
from sentiment_conv1d.export.errors import ExportError, quoted
from sentiment_conv1d.export.recognition.connections import layers
from sentiment_conv1d.export.sources.expressions import with_expression
from sentiment_conv1d.export.sources.keras_files import load
from sentiment_conv1d.export.sources.load_errors import PICKLES
from sentiment_conv1d.export.sources.saved_model.preprocessing import Preprocessing
from sentiment_conv1d.export.sources.vectorization import (
    ASCII_SPACES,
    CHARACTERS,
    RESERVED,
    check_supported,
    known_words,
    n_grams,
    own_standardization,
)

#: The first bytes of files that Keras writes: zip and HDF5.
_KERAS = (b"PK\x03\x04", b"\x89HDF")

#: The first byte of a pickle of protocol 2 or later.
_PICKLED = b"\x80"

#: The beginning of a model of SentencePiece: a message of protobuf, whose first field is a message with a string.
_SENTENCEPIECE = re.compile(rb"\n.\n", re.DOTALL)

#: The normalizers of a WordLevel model of Hugging Face that a `Rule` implements.
_LOWERCASE = {"type": "Lowercase"}
_NORMALIZERS = (None, _LOWERCASE, *({"type": "Sequence", "normalizers": each} for each in ([], [_LOWERCASE])))

#: Its pre-tokenizers.
_WHITESPACE = {"type": "Whitespace"}
_PRE_TOKENIZERS = ({"type": "WhitespaceSplit"}, _WHITESPACE)

#: The fields of a `Rule` that a tokenizer of the library has too.
_OF_ANY_TOKENIZER = {"padding_id", "keeps_first", "pads_behind"}

#: The number of words in `keras.datasets.imdb.get_word_index()`, and the default `index_from` of its `load_data`.
_IMDB_WORDS, _IMDB_INDEX_FROM = 88_584, 3

#: The largest share of words that an assumed rule may never find in a text, and the share of single characters from
#: which a vocabulary is one of characters.
_UNREACHABLE, _CHARACTERS = 0.01, 0.9

#: The names of the padding token in vocabularies of Hugging Face.
_PAD_NAMES = ("[PAD]", "<pad>", "<PAD>")


@dataclass(frozen=True)
class Statements:
    """What the user states because no file contains it. `changes` replace fields of the form's `Rule`.

    `expressions` are regular expressions and what replaces their matches before texts are split, in order.
    """

    max_tokens: int | None = None
    index_from: int | None = None
    num_words: int | None = None
    first_id: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    expressions: tuple[tuple[str, str], ...] = ()

    def applied(self, rule: Rule) -> Rule:
        """Return a rule with all that is stated about it. Raises `ExportError` if no rule does the same."""
        rule = replace(rule, **self.changes)
        if not self.expressions:
            return rule
        split_at = rule.separators  # after all replacements
        rule = replace(rule, separators="")
        for pattern, rewrite in self.expressions:
            found = with_expression(rule, pattern, rewrite)
            if found is None:
                raise ExportError(
                    f"--regex-replace: the service cannot replace {pattern!r} by {rewrite!r}",
                    "it replaces sets of characters, such as [^a-z ], by nothing or a space, and before them strings, "
                    "such as <br />|<p>, by a space; for anything else, write the model with `model.export(folder)`",
                )
            rule = found
        marks = "".join(each for each in rule.separators if each not in split_at)
        return replace(rule, separators=split_at + marks)


NOTHING_STATED = Statements()


@dataclass(frozen=True)
class Asked:
    """What the model requires of its ids, and what the user states about them."""

    max_tokens: int
    embedding_rows: int | None
    statements: Statements


def read_vocabulary(path: Path, asked: Asked) -> Tokenizer:
    """Read a vocabulary file that is not a Keras file. Raises `ExportError` if its form is unknown."""
    try:
        return _tokenizer(path, asked)
    except TokenizerError as error:
        raise ExportError(
            f"{path}: {error}",
            "docs/own-models.md lists the forms of --vocabulary; --pad-id, --start-id and --unknown-id change ids",
        ) from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ExportError(
            f"{path}: a part of the vocabulary is missing or has another type ({quoted(repr(error))})",
            "save it again with the library that wrote it: for a Tokenizer of Keras, what its method to_json() returns",
        ) from error


def special_tokens(path: Path, tokenizer: Tokenizer) -> tuple[str, ...]:
    """Return the tokens that Hugging Face's library finds anywhere in a text, and that are words of `tokenizer`."""
    if not isinstance(tokenizer, WordLevelTokenizer):
        return ()
    try:
        document = json.loads(path.read_bytes())
    except ValueError:  # another form of vocabulary
        return ()
    tokens = document.get("added_tokens") if isinstance(document, dict) else None
    return tuple(token["content"] for token in tokens or ())


def check_rows(path: Path, tokenizer: Tokenizer, asked: Asked) -> None:
    """Raise `ExportError` if the model has no embedding for an id of the tokenizer, which was read from `path`."""
    rows = asked.embedding_rows
    if rows is not None and tokenizer.vocabulary_size > rows:
        raise ExportError(
            f"{path}: its highest id is {tokenizer.vocabulary_size - 1}, but the model's embedding has {rows} rows",
            "use the vocabulary that the model was trained with, or --num-words to leave out rare words",
        )


def is_keras_file(path: Path) -> bool:
    """Return whether a file has one of the formats of Keras. Raises `ExportError` if it does not exist."""
    if path.is_dir():
        raise ExportError(f"{path}: a folder is no vocabulary", "pass a file; docs/own-models.md lists its forms")
    if not path.is_file():
        raise ExportError(f"{path}: there is no such file", "check the path of --vocabulary")
    with path.open("rb") as file:
        return file.read(max(map(len, _KERAS))).startswith(_KERAS)


def read_vectorization(path: Path) -> Any:
    """Return the `TextVectorization` layer in a Keras file. Raises `ExportError` if there is not exactly one."""
    found = [each for each in layers(load(path)) if isinstance(each, keras.layers.TextVectorization)]
    if len(found) != 1:
        raise ExportError(
            f"{path}: the file contains {len(found)} TextVectorization layers instead of one",
            "save the layer that the model was trained with in a separate model",
        )
    check_supported(found[0])
    return found[0]


def vectorization_tokenizer(layer: Any, asked: Asked) -> VocabularyTokenizer:
    """Return a tokenizer equivalent to a `TextVectorization` layer. Raises `ExportError` if there is none."""
    _check_flags(f"layer {layer.name}", asked.statements, "expressions")
    standardize = layer.get_config()["standardize"] or ""
    if (function := own_standardization(layer)) is not None:
        standardize = ""
        stated = asked.statements.changes
        if "lowercase" not in stated or not ("removed" in stated or asked.statements.expressions):
            raise ExportError(
                f"layer {layer.name} standardizes texts with the function {function}, whose code is not run",
                "state what it does with --lowercase (ascii for tf.strings.lower), --removed (punctuation, or ''), for "
                "strings that become a space --replaced '<br />', and for any tf.strings.regex_replace --regex-replace "
                "'[^a-z ]' '', or write the model with `model.export(folder)`, whose graph contains the function",
            )
    splits_characters = layer.get_config()["split"] == CHARACTERS
    rule = replace(
        _vectorization_rule(asked),
        lowercase="ascii" if "lower" in standardize else "none",
        removed=string.punctuation if "punctuation" in standardize else "",
        separators="" if splits_characters else ASCII_SPACES,
        splits_characters=splits_characters,
        n_grams=n_grams(layer),
    )
    try:
        return _settled(_numbered(known_words(layer), RESERVED), rule, asked)
    except TokenizerError as error:
        raise ExportError(
            f"layer {layer.name}: {error}", "docs/own-models.md lists what a TextVectorization layer can do"
        ) from error


def graph_tokenizer(path: Path, preprocessing: Preprocessing, asked: Asked) -> VocabularyTokenizer:
    """Return the tokenizer that the graph of a SavedModel contains. Raises `ExportError` if there is none."""
    _check_nothing_stated(path, asked.statements)
    try:
        return _settled(preprocessing.words, preprocessing.rule, asked)
    except TokenizerError as error:
        raise ExportError(f"{path}: {error}", "train the model with a TextVectorization layer of Keras") from error


def _tokenizer(path: Path, asked: Asked) -> Tokenizer:
    content = path.read_bytes()
    if path.suffix in PICKLES or content.startswith(_PICKLED):
        raise ExportError(
            f"{path}: a pickle can run any code, so it is never read",
            "load it where it was written, and write `json.dump(tokenizer.word_index, open('word_index.json', 'w'))` "
            "or, for a Tokenizer of Keras, `open('tokenizer.json', 'w').write(tokenizer.to_json())`",
        )
    if _is_sentencepiece(content):
        raise ExportError(
            f"{path}: a model of SentencePiece, which is no vocabulary of words",
            "convert it to a tokenizer.json of Hugging Face, whose ids are those of the model's texts",
        )
    try:
        text = content.decode("utf-8-sig")
        if 4 * text.count("\0") > len(text):
            raise UnicodeError("UTF-16 without a byte order mark")
    except UnicodeError as error:
        raise ExportError(f"{path}: neither a Keras file nor UTF-8 text", "save the vocabulary as UTF-8") from error
    try:
        document = json.loads(text)
        if isinstance(document, str):  # `json.dump(tokenizer.to_json(), file)` encodes twice
            document = json.loads(document)
    except (ValueError, RecursionError):
        document = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    if isinstance(document, list) and all(isinstance(word, str) for word in document):
        return _word_list(path, document, asked)
    if isinstance(document, dict) and document and all(type(rank) is int for rank in document.values()):
        return _word_index(path, document, asked)
    if isinstance(document, dict) and document.get("class_name") == "Tokenizer":
        return _legacy(path, document["config"], asked)
    if isinstance(document, dict) and isinstance(document.get("model"), dict):
        return _hugging_face(path, content, document, asked)
    raise ExportError(
        f"{path}: neither a word index, a Tokenizer of Keras, a tokenizer.json nor a list of words",
        "docs/own-models.md lists the forms of --vocabulary",
    )


def _is_sentencepiece(content: bytes) -> bool:
    """Return whether a file starts with a piece of a `ModelProto`: a string, and then a number of four bytes."""
    found = _SENTENCEPIECE.match(content)
    return found is not None and content[found.end() + 1 + content[found.end()] :].startswith(b"\x15")


def _check_flags(read: str, statements: Statements, *meant: str) -> None:
    """Raise `ExportError` for a flag about the ids of words that has no meaning for what is read, unless `meant`."""
    for name in ("index_from", "first_id"):
        if name not in meant and getattr(statements, name) is not None:
            raise ExportError(
                f"--{name.replace('_', '-')} has no meaning for {read}, which states the ids of its words differently",
                "leave the flag out",
            )
    if statements.expressions and "expressions" not in meant:
        raise ExportError(
            f"--regex-replace states what a TextVectorization layer does before it splits a text, and {read} is none",
            "leave the flag out",
        )


def _word_index(path: Path, ranks: Mapping[str, int], asked: Asked) -> Tokenizer:
    """`keras.datasets.imdb.get_word_index()`, to whose numbers `load_data` adds `index_from`."""
    _check_flags(str(path), asked.statements, "index_from")
    rule = replace(KERAS_RULE, max_tokens=asked.max_tokens)
    stated = asked.statements.applied(rule)
    reserved = {word for word in ranks if stated.words(word) != [word]}  # may be, such as "<PAD>" and "<OOV>"
    lowest = min((rank for word, rank in ranks.items() if word not in reserved), default=1)
    if lowest < 1:
        raise ExportError(
            f"{path}: a word index counts from 1, and this one counts from {lowest}",
            "if the numbers are ids, save the words in the order of their ids, one per line, and state --first-id",
        )
    limit = asked.statements.num_words or asked.embedding_rows
    if limit is None:
        raise ExportError(
            f"{path}: neither this file nor the model, in which no embedding reads the ids, says how many are known",
            "state the lowest id that is an unknown word with --num-words",
        )
    first = _index_from(path, ranks, asked)
    ids = {word: rank + first for word, rank in ranks.items()}
    known = _below(ids, limit)
    meant = (stated.padding_id, stated.start_id, stated.unknown_id)
    words = {word: number for word, number in known.items() if word not in reserved or number not in meant}
    return _assumed(path, words, rule, asked)


def _index_from(path: Path, ranks: Mapping[str, int], asked: Asked) -> int:
    """Return what is added to ranks. The word index itself does not contain it."""
    if asked.statements.index_from is not None:
        return asked.statements.index_from
    if len(ranks) == _IMDB_WORDS and ranks.get("the") == 1:
        return _IMDB_INDEX_FROM
    rows, highest = asked.embedding_rows, max(ranks.values())
    fitting = [first for first in (0, _IMDB_INDEX_FROM) if rows == highest + first + 1]
    shown = f"; with {fitting[0]} the highest id fits the {rows} rows of the embedding" if fitting else ""
    raise ExportError(
        f"{path}: a word index does not say whether its numbers are ids or ranks",
        "state --index-from: 0 for the word_index of a Tokenizer (with --start-id none, and --unknown-id none without "
        f"oov_token), 3 if the texts were prepared as keras.datasets.imdb{shown}",
    )


def _legacy(path: Path, configuration: Mapping[str, Any], asked: Asked) -> Tokenizer:
    """`keras.preprocessing.text.Tokenizer.to_json()`."""
    _check_flags(str(path), asked.statements)
    word_index = configuration["word_index"]
    ids: dict[str, int] = json.loads(word_index) if isinstance(word_index, str) else dict(word_index)
    split, filters, lower = configuration["split"], "".join(configuration["filters"] or ""), configuration["lower"]
    unknown, splits_characters = configuration["oov_token"], configuration["char_level"]
    limit = asked.statements.num_words or configuration["num_words"] or None
    if split != " " and not splits_characters:
        raise ExportError(
            f"{path}: the Tokenizer splits at {split!r}", "train the model with a Tokenizer that has split=' '"
        )
    rule = Rule(
        max_tokens=asked.max_tokens,
        lowercase="unicode" if lower else "none",
        removed="",
        separators="" if splits_characters else filters.replace(" ", ""),
        padding_id=0,
        start_id=None,
        unknown_id=None if unknown is None else ids.pop(unknown),
        keeps_first=False,
        pads_behind=False,
        splits_characters=splits_characters,
    )
    return _settled(_below(ids, limit), rule, asked)


def _word_list(path: Path, words: Sequence[str], asked: Asked) -> Tokenizer:
    """`TextVectorization.get_vocabulary()`, which starts with an empty word, or any other list."""
    if len(set(words)) < len(words):
        raise ExportError(
            f"{path}: a word occurs twice: {Counter(words).most_common(1)[0][0]!r}",
            "list every word once, in the order of the ids",
        )
    if words[:2] == ["", "[UNK]"]:
        _check_flags(str(path), asked.statements, "expressions")
        rule = replace(_vectorization_rule(asked), lowercase="ascii", removed=string.punctuation)
        return _assumed(path, _numbered(words[2:], 2), rule, asked)
    if asked.statements.first_id is None or "unknown_id" not in asked.statements.changes:
        raise ExportError(
            f"{path}: a list of words does not contain their ids",
            "state --first-id, --unknown-id and, if the model has them, --start-id and --pad-id",
        )
    rule = replace(KERAS_RULE, max_tokens=asked.max_tokens, start_id=None, unknown_id=None)
    _check_flags(str(path), asked.statements, "first_id")
    if "" in words:
        raise ExportError(
            f"{path}: word {words.index('') + 1} is empty, and may or may not have an id",
            "list every word once, in the order of the ids, without empty lines",
        )
    return _assumed(path, _numbered(words, asked.statements.first_id), rule, asked)


def _hugging_face(path: Path, content: bytes, document: Mapping[str, Any], asked: Asked) -> Tokenizer:
    """Read this project's `tokenizer.json`, one that a `Rule` implements, or one that the library runs."""
    try:
        tokenizer = read_vocabulary_tokenizer(content)
    except TokenizerError:
        if _is_word_level(document):
            return _word_level(path, document, asked)
        if is_foreign(document):
            return _of_library(path, document, asked)
        raise
    _check_nothing_stated(path, asked.statements)
    return tokenizer


def _check_nothing_stated(path: Path, statements: Statements) -> None:
    """Raise `ExportError` for flags about the vocabulary of a file that contains all that they could state."""
    if replace(statements, max_tokens=None) != NOTHING_STATED:
        raise ExportError(
            f"{path}: this file states the ids and how texts are read, so flags cannot change them",
            "leave out the flags for models from elsewhere, except --labels and --threshold",
        )


def _is_word_level(document: Mapping[str, Any]) -> bool:
    """Return whether a tokenizer of Hugging Face only lower-cases texts, splits them and looks words up."""
    return (
        document["model"].get("type") == "WordLevel"
        and document.get("normalizer") in _NORMALIZERS
        and document.get("pre_tokenizer") in _PRE_TOKENIZERS
        and document.get("post_processor") is None
    )


def _word_level(path: Path, document: Mapping[str, Any], asked: Asked) -> Tokenizer:
    """Read a tokenizer for which `_is_word_level` holds."""
    _check_flags(str(path), asked.statements)
    tokens = document.get("added_tokens") or ()
    _check_added_tokens(path, tokens)
    padding, truncation = document.get("padding") or {}, document.get("truncation") or {}
    _check_truncation(path, truncation, asked)
    ids = dict(document["model"]["vocab"])
    rule = Rule(
        max_tokens=asked.max_tokens,
        lowercase="unicode" if _LOWERCASE in _steps(document) else "none",
        removed="",
        separators=UNICODE_SPACES,
        padding_id=padding.get("pad_id", next((ids[name] for name in _PAD_NAMES if name in ids), 0)),
        start_id=None,
        unknown_id=ids.get(document["model"].get("unk_token")),
        keeps_first=truncation.get("direction", "Right") == "Right",
        pads_behind=padding.get("direction", "Right") == "Right",
        isolates_marks=document["pre_tokenizer"] == _WHITESPACE,
    )
    names = {*_PAD_NAMES, padding.get("pad_token"), *(token["content"] for token in tokens)}
    words = {
        word: number
        for word, number in ids.items()
        if number != rule.unknown_id and not (number == rule.padding_id and word in names)
    }
    return _settled(words, rule, asked)


def _of_library(path: Path, document: Mapping[str, Any], asked: Asked) -> Tokenizer:
    """Read any other tokenizer of Hugging Face, which its library will run."""
    _check_flags(str(path), asked.statements)
    changes = asked.statements.changes
    if asked.statements.num_words is not None or changes.keys() - _OF_ANY_TOKENIZER:
        raise ExportError(
            f"{path}: this file states its words and how texts are read, so flags cannot change them",
            "leave them out, except --pad-id, --padding-side and --truncation-side",
        )
    padding, truncation = document.get("padding") or {}, document.get("truncation") or {}
    _check_truncation(path, truncation, asked)
    ids = {token["content"]: token["id"] for token in document.get("added_tokens") or ()}
    named = next((ids[name] for name in _PAD_NAMES if name in ids), 0)
    sides = {
        "padding_id": padding.get("pad_id", named),
        "keeps_first": truncation.get("direction", "Right") == "Right",
        "pads_behind": padding.get("direction", "Right") == "Right",
    }
    return LibraryTokenizer(completed(document, max_tokens=asked.max_tokens, **{**sides, **changes}))


def _steps(document: Mapping[str, Any]) -> list[Any]:
    """Return the normalizers of a document, one after the other."""
    normalizer = document.get("normalizer") or {}
    found: list[Any] = normalizer.get("normalizers", [normalizer])
    return found


def _check_added_tokens(path: Path, tokens: Sequence[Mapping[str, Any]]) -> None:
    """Raise `ExportError` for tokens that are found before a text is split. Special ones occur in no text."""
    added = [token["content"] for token in tokens if not token["special"]]
    if added:
        raise ExportError(
            f"{path}: the tokenizer finds {added[0]!r} and {len(added) - 1} other added tokens before it splits a text",
            "add them to the vocabulary of the WordLevel model, and train the model with that tokenizer",
        )


def _check_truncation(path: Path, truncation: Mapping[str, Any], asked: Asked) -> None:
    """Raise `ExportError` if the tokenizer truncates to another number of ids than the model takes."""
    limit = truncation.get("max_length", asked.max_tokens)
    if limit != asked.max_tokens:
        raise ExportError(
            f"{path}: the tokenizer truncates to {limit} ids, and the model takes {asked.max_tokens}",
            f"save the tokenizer after `tokenizer.enable_truncation({asked.max_tokens})` if the model was trained so",
        )


def _vectorization_rule(asked: Asked) -> Rule:
    return Rule(asked.max_tokens, "none", "", ASCII_SPACES, 0, None, 1, keeps_first=True, pads_behind=True)


def _numbered(words: Sequence[str], first: int) -> dict[str, int]:
    return {word: number for number, word in enumerate(words, start=first)}


def _below(ids: Mapping[str, int], limit: int | None) -> dict[str, int]:
    return {word: number for word, number in ids.items() if limit is None or number < limit}


def _assumed(path: Path, ids: Mapping[str, int], rule: Rule, asked: Asked) -> VocabularyTokenizer:
    """Return the tokenizer by a rule that the file does not state. Raises `ExportError` if the words contradict it."""
    if not ids:
        raise ExportError(f"{path}: there are no words in it", "pass the vocabulary that the model was trained with")
    characters = sum(len(word) == 1 for word in ids)
    if len(ids) > 1 and characters >= _CHARACTERS * len(ids):
        raise ExportError(
            f"{path}: {characters} of {len(ids)} words are single characters, and this file does not say how a text is "
            "split into characters",
            "pass the TextVectorization layer of the model in a file of its own, or `Tokenizer.to_json()`",
        )
    unreachable = WordLevelTokenizer(ids, asked.statements.applied(rule)).unreachable
    if len(unreachable) > _UNREACHABLE * len(ids):
        shown = ", ".join(map(repr, unreachable[:3]))
        raise ExportError(
            f"{path}: {len(unreachable):,} of {len(ids):,} words can never be found in a text that is lower-cased and "
            f"split at punctuation: {shown}",
            "state how the texts were prepared, with --lowercase, --removed and --separators, or pass the "
            "TextVectorization layer itself",
        )
    return _settled(ids, rule, asked)


def _settled(ids: Mapping[str, int], rule: Rule, asked: Asked) -> VocabularyTokenizer:
    """Return the tokenizer as the service will read it: a `WordTokenizer` if the rule is this project's own.

    Words with lone surrogates are left out: neither a file nor a request can contain them.
    """
    stated = asked.statements.applied(rule)
    for each in stated.replaced:
        if stated.lowered(each) != each:
            raise ExportError(
                f"--replaced: {each!r} can never be found, because strings are replaced after lower-casing",
                f"state {stated.lowered(each)!r}",
            )
    known = _below(ids, asked.statements.num_words)
    words = {word: number for word, number in known.items() if word.encode(errors="ignore").decode() == word}
    return read_vocabulary_tokenizer(WordLevelTokenizer(words, stated).to_json())
