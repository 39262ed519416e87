"""Text to ids by any `tokenizer.json` of Hugging Face's `tokenizers`, such as WordPiece, BPE and Unigram, run by it.

The library is an extra, because it takes forty times as long as the tokenizers of this project. The file states the
whole rule, with truncation and padding, so this module only checks that the rule is one for which ids and places are
those of the model. Everything that it does not list is refused by name: a regular expression in a file that anybody can
have written could take forever on a text that anybody can send.
"""

from __future__ import annotations

import json
import operator
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.tokenizer.interface import MOST_IDS, Encoding, Tokenizer, TokenizerError

#: What a text can pass through before the model, by the type in the file.
_NORMALIZERS = frozenset(
    (
        *("BertNormalizer", "ByteLevel", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "Prepend"),
        *("Replace", "Strip", "StripAccents"),
    )
)
_PRE_TOKENIZERS = frozenset(
    ("BertPreTokenizer", "ByteLevel", "Digits", "Metaspace", "Punctuation", "Whitespace", "WhitespaceSplit")
)

#: The only regular expression that a normalizer may replace: that of files that were converted from SentencePiece.
_SPACES = {"Regex": " {2,}"}

#: The longest word that WordPiece may look up in parts, as by the library's default. The time for a word grows with the
#: cube of its length.
_LONGEST_WORD = 100

#: The strings that stand for the 256 bytes in a BPE model with `byte_fallback`.
_BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")

#: The most tokens that one call of the library returns, because it keeps the interpreter lock until it has made as many
#: objects.
_MOST_IN_A_CALL = 65_536

_DIRECTIONS = {"Left": False, "Right": True}


class LibraryTokenizer(Tokenizer):
    """The tokenizer of a `tokenizer.json` with truncation and padding. `document` is the parsed content of the file.

    Unknown words are not counted, because a subword of an unknown word is known. A lone surrogate, which the library
    cannot read, becomes U+FFFD.

    Raises `TokenizerError` if the library is not installed, or if the rule is not supported.
    """

    cost = 4

    def __init__(self, document: Mapping[str, Any]) -> None:
        try:
            self.start_id = _start_id(document)
            _check_steps(document)
            self.max_tokens = operator.index(document["truncation"]["max_length"])
            self.keeps_first = _DIRECTIONS[document["truncation"]["direction"]]
            self.pads_behind = _DIRECTIONS[document["padding"]["direction"]]
            self.padding_id = operator.index(document["padding"]["pad_id"])
            model = document["model"]
            self._library = _opened(dict(document) | {"truncation": None, "padding": None})
            ids: dict[str, int] = self._library.get_vocab()
            self.unknown_id = _unknown_id(model, ids)
            _check_model(document, ids)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise TokenizerError(f"a part of the tokenizer is missing or has another type ({error!r})") from error
        if self.max_tokens < 1:
            raise TokenizerError(f"a text needs at least one token, not {self.max_tokens}")
        if self.start_id is not None and not self.keeps_first:
            raise TokenizerError("it truncates texts on the left, and would keep the token before the text")
        self._size = max(self.padding_id, self.start_id or 0, *ids.values()) + 1
        if self.padding_id < 0 or self._size > MOST_IDS:
            raise TokenizerError(f"ids must be between 0 and {MOST_IDS - 1:,}")
        self._document = document
        self._empty = np.array([self.padding_id], np.int32)

    @property
    def vocabulary_size(self) -> int:
        return self._size

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode the first or last `max_tokens` ids of texts. A text without tokens has one pad id."""
        # Unlike `encode`, it does not hold the interpreter lock, and counts no characters.
        readable = [_readable(text) for text in texts]
        found = _called(self._library.encode_batch_fast, readable)
        return [self._encoding(each, text) for each, text in zip(found, readable, strict=True)]

    def _encoding(self, found: Any, text: str) -> Encoding:
        tokens = len(found)
        if not tokens:
            return Encoding(self._empty, 0, None)
        if tokens > _MOST_IN_A_CALL:
            [found] = _called(self._truncating.encode_batch_fast, [text])
        return Encoding(self.truncate(np.array(found.ids, np.int32)), tokens, None)

    @cached_property
    def _truncating(self) -> Any:
        """The same rule in the library, which truncates too: then it returns few ids, but not how many there were."""
        return _opened(dict(self._document) | {"padding": None})

    def encoding(self, ids: npt.NDArray[np.int32]) -> Encoding:
        return Encoding(ids, len(ids), None)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the place of each token in the text, as the library states it.

        The tokens of one character, such as the bytes of an emoji, have the same place. A token can begin with the
        space before a word, and one that the rule adds is empty.
        """
        [found] = _called(self._library.encode_batch, [_readable(text)])
        first = int(self.start_id is not None)
        if len(found) <= _MOST_IN_A_CALL:
            yield from found.offsets[first:]
        else:
            for token in range(first, len(found)):
                yield found.token_to_chars(token)

    def with_sides(self, pads_behind: bool, keeps_first: bool) -> LibraryTokenizer:
        """Return a tokenizer that pads and truncates on other sides. Raises `TokenizerError`."""
        sides = {"keeps_first": keeps_first, "pads_behind": pads_behind}
        return LibraryTokenizer(
            completed(self._document, max_tokens=self.max_tokens, padding_id=self.padding_id, **sides)
        )

    def to_json(self) -> str:
        return json.dumps(self._document, ensure_ascii=False) + "\n"


def is_foreign(document: Any) -> bool:
    """Return whether a document is a tokenizer of Hugging Face that does not split at spaces as this project's do."""
    if not (isinstance(document, dict) and isinstance(document.get("model"), dict)):
        return False
    step = document.get("pre_tokenizer")
    return not (isinstance(step, dict) and step.get("pattern") == {"String": " "})


def completed(
    document: Mapping[str, Any], *, max_tokens: int, padding_id: int, keeps_first: bool, pads_behind: bool
) -> dict[str, Any]:
    """Return a document with the truncation and the padding of a model. An empty text is padded to one id."""
    sides = {value: name for name, value in _DIRECTIONS.items()}
    padding = document.get("padding") or {}
    return dict(document) | {
        "truncation": {
            "direction": sides[keeps_first],
            "max_length": max_tokens,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": {
            "strategy": {"Fixed": 1},
            "direction": sides[pads_behind],
            "pad_to_multiple_of": None,
            "pad_id": padding_id,
            "pad_type_id": 0,
            "pad_token": padding.get("pad_token", "[PAD]"),
        },
    }


def _readable(text: str) -> str:
    return text if text.isascii() else _LONE_SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


def _opened(document: Mapping[str, Any]) -> Any:
    """Open a document in the library. Raises `TokenizerError`."""
    # The library would start threads, and a process that forks after that can wait for them forever.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import tokenizers
    except ImportError as error:
        raise TokenizerError(
            "this tokenizer needs the library `tokenizers`, which is not installed: install the `subwords` extra"
        ) from error
    try:
        return _called(tokenizers.Tokenizer.from_str, json.dumps(document))
    except Exception as error:  # the library raises no other class
        raise TokenizerError(f"the library `tokenizers` cannot read it ({error})") from error


def _called(function: Callable[[Any], Any], argument: Any) -> Any:
    """Call the library. Raises `RuntimeError` instead of its panics, which would end a worker."""
    try:
        return function(argument)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # which cannot be imported
            raise
        raise RuntimeError(f"the library `tokenizers` fails: {error}") from error


def _parts(part: Any, inner: str) -> Iterator[Mapping[str, Any]]:
    """Yield the parts of a step, which can be a sequence of others."""
    if part is None:
        return
    if part["type"] != "Sequence":
        yield part
        return
    for each in part[inner]:
        yield from _parts(each, inner)


def _check_steps(document: Mapping[str, Any]) -> None:
    """Raise `TokenizerError` for a normalizer or a pre-tokenizer that is not supported."""
    steps = (("normalizer", "normalizers", _NORMALIZERS), ("pre_tokenizer", "pretokenizers", _PRE_TOKENIZERS))
    for name, inner, known in steps:
        for part in _parts(document.get(name), inner):
            if part["type"] not in known:
                listed = ", ".join(sorted(known))
                raise TokenizerError(f"the {name} {part['type']} is not supported; these are: {listed}")
            if part["type"] == "Replace" and "String" not in part["pattern"] and part["pattern"] != _SPACES:
                raise TokenizerError(f"the {name} Replace is supported for strings, not for {part['pattern']}")


def _start_id(document: Mapping[str, Any]) -> int | None:
    """Return the id of the token before every text. Raises `TokenizerError` if others are added to a text."""
    found: list[int] = []
    for part in _parts(document.get("post_processor"), "processors"):
        if part["type"] == "ByteLevel":  # changes only places
            continue
        if part["type"] in ("BertProcessing", "RobertaProcessing"):
            raise TokenizerError(_behind(part["sep"][0]))
        if part["type"] != "TemplateProcessing":
            raise TokenizerError(f"the post_processor {part['type']} is not supported")
        names = [each["SpecialToken"]["id"] if "SpecialToken" in each else None for each in part["single"]]
        place = names.index(None)
        if names[place + 1 :]:
            raise TokenizerError(_behind(names[-1]))
        found += [number for name in names[:place] for number in part["special_tokens"][name]["ids"]]
    if len(found) > 1:
        raise TokenizerError(f"the post_processor adds {len(found)} tokens before a text, and one is supported")
    return found[0] if found else None


def _behind(token: Any) -> str:
    return (
        f"the post_processor adds {token!r} after a text, which is not supported: if the model was trained without it "
        "(add_special_tokens=False), save the tokenizer with the post_processor null"
    )


def _unknown_id(model: Mapping[str, Any], ids: Mapping[str, int]) -> int | None:
    """Return the id of what the model does not know; None if there is none."""
    if model["type"] == "Unigram":
        return None if model["unk_id"] is None else operator.index(model["unk_id"])
    token = model.get("unk_token")
    return None if token is None else ids.get(token)


def _check_model(document: Mapping[str, Any], ids: Mapping[str, int]) -> None:
    """Raise `TokenizerError` for a model that fails on a text, leaves characters out, answers by chance, or is slow."""
    model = document["model"]
    kind = model["type"]
    if kind not in ("BPE", "Unigram", "WordLevel", "WordPiece"):
        raise TokenizerError(f"the model {kind} is not supported")
    if kind == "WordPiece" and model["max_input_chars_per_word"] > _LONGEST_WORD:
        raise TokenizerError(f"max_input_chars_per_word is more than {_LONGEST_WORD}, which takes too long")
    if kind == "BPE" and model.get("dropout"):
        raise TokenizerError("the BPE model has a dropout, so the ids of a text change")
    if _unknown_id(model, ids) is None and not (kind == "BPE" and _has_bytes(document, ids)):
        reason = "and not all 256 bytes" if kind == "BPE" else "so it fails on them"
        raise TokenizerError(f"the {kind} model has no token for characters that it does not know, {reason}")


def _has_bytes(document: Mapping[str, Any], ids: Mapping[str, int]) -> bool:
    """Return whether a BPE model can write every text with its tokens for bytes."""
    if document["model"].get("byte_fallback"):
        return ids.keys() >= _BYTES
    before, after = document.get("normalizer"), document.get("pre_tokenizer")
    steps = [*_parts(before, "normalizers"), *_parts(after, "pretokenizers")]
    return any(each["type"] == "ByteLevel" for each in steps) and ids.keys() >= set(_alphabet())


def _alphabet() -> Iterator[str]:
    """Yield the characters that stand for the 256 bytes in byte-level BPE, as in GPT-2."""
    others = 256
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174:
            yield chr(byte)
        else:
            yield chr(others)
            others += 1
