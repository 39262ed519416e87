"""The ways in which Keras models from elsewhere get their ids, computed by the libraries that people use."""

from __future__ import annotations

import json
import re
import shlex
import string
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tokenizers
from keras.src.legacy.preprocessing.text import Tokenizer as LegacyTokenizer
from keras.src.legacy.preprocessing.text import text_to_word_sequence

from tests.export.keras2 import save_as_keras_2

#: The number of ids that the networks read, and the number of rows of their embeddings.
LENGTH, ROWS = 8, 24

WORDS = ["the", "film", "was", "a", "good", "bad", "dull", "don't", "dont", "Great", "great", "été", "straße", "好看"]

_ODD = [
    "", " ", "\t\n", "?!", "100 %", "<br />", "\x00", "\u00a0", "\u2003good\u2003bad", "\u3000", "good\x1cbad", "a\rb",
    "good\vbad\ffilm", "İstanbul film", "ÉTÉ good", "e\u0301te\u0301", "STRASSE straße", "ﬁlm", "好看 好看", "好看!",
    "“good” — film…", "film\u2019s", "\U0001f600 good", "\u200bgood", "\ufefffilm", "don't", "DON'T!", "dont",
    "Great film", "GREAT", "great-film", "good;bad", "the<br />film", "[UNK] film", "<oov> good", "a_b", "$good",
    "good  bad",
]  # fmt: skip

#: Odd and empty texts, and texts of every length up to three times the limit.
TEXTS = [*_ODD, *(" ".join((WORDS * 3)[number : 3 * number // 2]) + "!" * (number % 2) for number in range(2, 25))][:55]

Outputs = npt.NDArray[np.float32]


def custom_standardization(texts: Any) -> Any:
    """Standardize texts as the text classification example of Keras does."""
    without_breaks = tf.strings.regex_replace(tf.strings.lower(texts), "<br />", " ")
    return tf.strings.regex_replace(without_breaks, f"[{re.escape(string.punctuation)}]", "")


def letters_only(texts: Any) -> Any:
    """Remove everything but letters of ASCII and spaces, and line breaks of HTML."""
    without_breaks = tf.strings.regex_replace(tf.strings.lower(texts), "<br />", " ")
    return tf.strings.regex_replace(without_breaks, "[^a-z ]", "")


def halves(texts: Any) -> Any:
    """Split texts at semicolons."""
    return tf.strings.split(texts, ";")


class Preprocessing(ABC):
    """Text to ids, as a model was trained with."""

    length: int | None = LENGTH

    @abstractmethod
    def ids(self, texts: Sequence[str]) -> Any:
        """Return the ids [texts, length]."""

    @abstractmethod
    def save(self, folder: Path) -> list[str]:
        """Write what people keep of the preprocessing, and return the flags that state it."""

    def save_model(self, network: keras.Model, file: Path) -> None:
        """Write the model."""
        if file.name.startswith("keras2"):
            save_as_keras_2(network, file, file.stem.removeprefix("keras"))
        elif file.suffix:
            network.save(file)
        else:
            network.export(file, verbose=False)

    def answers(self, network: keras.Model, texts: Sequence[str]) -> Outputs:
        """Return the original's own answers."""
        return np.asarray(network(self.ids(texts), training=False), np.float32)


class Vectorization(Preprocessing):
    """A `TextVectorization` layer: in the model, in a file of its own, or only its vocabulary."""

    def __init__(self, place: str = "inside", flags: str = "", *, length: int | None = LENGTH, **changes: Any) -> None:
        self._place, self._flags, self.length = place, shlex.split(flags), length
        if changes.get("output_mode", "int") == "int":
            changes["output_sequence_length"] = length
        self._layer = keras.layers.TextVectorization(name="words", **changes)
        if "vocabulary" not in changes:
            self._layer.adapt([" ".join(WORDS)])

    def ids(self, texts: Sequence[str]) -> Any:
        return self._layer(tf.constant(texts))

    def save(self, folder: Path) -> list[str]:
        if self._place == "layer":
            keras.Sequential([keras.Input((1,), dtype="string"), self._layer]).save(folder / "layer.keras")
            return ["--vocabulary", str(folder / "layer.keras"), *self._flags]
        if self._place in ("txt", "json"):
            words = list(map(str, self._layer.get_vocabulary()))
            file = folder / f"vocabulary.{self._place}"
            file.write_text("\n".join(words) if self._place == "txt" else json.dumps(words))
            return ["--vocabulary", str(file), *self._flags]
        return self._flags

    def save_model(self, network: keras.Model, file: Path) -> None:
        if self._place == "inside":
            text = keras.Input((1,), dtype="string")
            network = keras.Model(text, network(self._layer(text)))
        super().save_model(network, file)

    def answers(self, network: keras.Model, texts: Sequence[str]) -> Outputs:
        if self.length is not None:
            return super().answers(network, texts)
        return np.concatenate([self._alone(network, text) for text in texts])

    def _alone(self, network: keras.Model, text: str) -> Outputs:
        """Return the answer to a text that is not padded; NaN if the model fails on a text without words."""
        try:
            return super().answers(network, [text])
        except tf.errors.InvalidArgumentError:
            return np.full((1, network.outputs[0].shape[1]), np.nan, np.float32)


class Legacy(Preprocessing):
    """The `Tokenizer` of Keras 2 and `pad_sequences`."""

    def __init__(
        self, flags: str = "", padding: str = "pre", truncating: str = "pre", *, index: bool = False, **changes: Any
    ) -> None:
        self._flags, self._index, self._pads = flags.split(), index, {"padding": padding, "truncating": truncating}
        self._tokenizer = LegacyTokenizer(**changes)
        self._tokenizer.fit_on_texts([" ".join(WORDS)])

    def ids(self, texts: Sequence[str]) -> Any:
        return keras.utils.pad_sequences(self._tokenizer.texts_to_sequences(texts), LENGTH, **self._pads)

    def save(self, folder: Path) -> list[str]:
        content = json.dumps(self._tokenizer.word_index) if self._index else self._tokenizer.to_json()
        (folder / "tokenizer.json").write_text(content)
        return ["--vocabulary", str(folder / "tokenizer.json"), *self._flags]


class Imdb(Preprocessing):
    """The ranks of `keras.datasets.imdb`, as `load_data` uses them."""

    def __init__(self, flags: str = "", *, words: int = 88_584, num_words: int = ROWS) -> None:
        self._flags, self._num_words = flags.split(), num_words
        names = [*dict.fromkeys(map(str.lower, WORDS)), *(f"word{number}" for number in range(words))]
        self._ranks = {word: rank for rank, word in enumerate(names[:words], start=1)}

    def ids(self, texts: Sequence[str]) -> Any:
        rows = [[self._ranks.get(word, self._num_words) + 3 for word in text_to_word_sequence(text)] for text in texts]
        rows = [[1, *(number if number < self._num_words else 2 for number in row)] for row in rows]
        return keras.utils.pad_sequences(rows, LENGTH)

    def save(self, folder: Path) -> list[str]:
        (folder / "imdb_word_index.json").write_text(json.dumps(self._ranks))
        return ["--vocabulary", str(folder / "imdb_word_index.json"), *self._flags]


class HuggingFace(Preprocessing):
    """A `WordLevel` tokenizer of Hugging Face."""

    def __init__(
        self, padding: str = "right", truncation: str = "right", limit: int | None = LENGTH, *, lower: bool = True
    ) -> None:
        words = dict.fromkeys(word.lower() if lower else word for word in WORDS)
        ids = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
        self._tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="[UNK]"))
        if lower:
            self._tokenizer.normalizer = tokenizers.normalizers.Lowercase()
        self._tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
        if limit is not None:
            self._tokenizer.enable_truncation(limit, direction=truncation)
        self._tokenizer.enable_padding(direction=padding, pad_id=0, pad_token="[PAD]", length=LENGTH)

    def ids(self, texts: Sequence[str]) -> Any:
        return np.array([encoding.ids[:LENGTH] for encoding in self._tokenizer.encode_batch(texts)], np.int32)

    def save(self, folder: Path) -> list[str]:
        self._tokenizer.save(str(folder / "tokenizer.json"))
        return ["--vocabulary", str(folder / "tokenizer.json")]


class WordList(Preprocessing):
    """A list of words whose ids follow one for padding and one for unknown words, for texts split at white space."""

    def __init__(self, flags: str, form: str = "txt") -> None:
        self._flags, self._form = flags.split(), form

    def ids(self, texts: Sequence[str]) -> Any:
        rows = [[WORDS.index(word) + 2 if word in WORDS else 1 for word in text.split(" ") if word] for text in texts]
        return keras.utils.pad_sequences(rows, LENGTH, padding="post", truncating="post")

    def save(self, folder: Path) -> list[str]:
        file = folder / f"words.{self._form}"
        file.write_text("\n".join(WORDS) if self._form == "txt" else json.dumps(WORDS))
        return ["--vocabulary", str(file), *self._flags]
