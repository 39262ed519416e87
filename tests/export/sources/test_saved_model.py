"""SavedModels that read text: the preprocessing and the network in their graphs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from sentiment_conv1d.artifact.tokenizer import WordLevelTokenizer
from sentiment_conv1d.export.checks.odd_texts import generated_texts, spelled_texts
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.recognition.family import recognize
from sentiment_conv1d.export.sources.saved_model import TextModel, open_saved_model, read_text
from sentiment_conv1d.export.sources.trained import from_keras_file
from sentiment_conv1d.export.sources.vocabularies import Statements

WORDS = ["the", "film", "good", "bad", "10", "a_b", "\xe9t\xe9"]
LENGTH, ROWS, CHANNELS = 6, 11, 3
TEXTS = ["", "The FILM<br />good", "a_b bad!", "good " * 9, "\xc9T\xc9 \xe9t\xe9", "\0 good\0", "10\u00a0bad", "the"]

DIGITS = "0123456789"

#: The characters of ASCII that three complements match, besides the space.
NO_LOWER, NO_LETTERS, NO_WORDS = (
    "".join(each for each in map(chr, range(128)) if not re.fullmatch(f"[{kept} ]", each))
    for kept in ("a-z", "a-zA-Z", "a-zA-Z0-9_")
)

Text = Callable[[Any], Any]
Network = Callable[["Classifier", Any], Any]


def lower(texts: Any) -> Any:
    return tf.strings.lower(texts)


def replacing(*steps: tuple[str, str], first: Text = lower, then: Text = lambda texts: texts) -> Text:
    """Return a standardization that replaces what regular expressions match."""

    def standardize(texts: Any) -> Any:
        texts = first(texts)
        for pattern, rewrite in steps:
            texts = tf.strings.regex_replace(texts, pattern, rewrite)
        return then(texts)

    return standardize


def folded(model: Classifier, words: Any) -> Any:
    """Compute a convolution as Keras 2 does, with dilation, normalization and both poolings."""
    value = tf.nn.conv1d(tf.pad(words, [[0, 0], [2, 0], [0, 0]]), model.kernel, 1, "VALID", dilations=2)
    value = tf.nn.leaky_relu(tf.nn.bias_add(value, model.bias), 0.1) * model.bias - 0.5
    value = tf.concat([tf.reduce_max(value, 1), tf.reduce_mean(value, -2)], -1)
    return tf.sigmoid(tf.matmul(value, model.dense) + 0.1)


def dilated(padding: str, dilation: int) -> Network:
    """Return a network with a convolution as Keras 3 dilates it: between operators that move steps to the batch."""

    def network(model: Classifier, words: Any) -> Any:
        if padding == "CAUSAL":
            words = tf.pad(words, [[0, 0], [dilation, 0], [0, 0]])
        value = tf.nn.convolution(words, model.kernel, 1, padding.replace("CAUSAL", "VALID"), dilations=[dilation])
        return tf.sigmoid(tf.reduce_max(value, 1) @ model.dense[:CHANNELS])

    return network


def unfolded(model: Classifier, words: Any) -> Any:
    """Compute something that has no layer of Keras."""
    value = tf.nn.conv1d(words, model.kernel, 1, "SAME")
    return tf.sigmoid(tf.reduce_sum(tf.sin(value), [1, 2]) / 4)


def grouped(model: Classifier, words: Any) -> Any:
    """Compute a convolution with groups as Keras 3 does: in a function that XLA compiles."""
    convolve = tf.function(tf.nn.conv1d, jit_compile=True)
    value = convolve(words, model.kernel[:, :2, :2], 1, "VALID")
    return tf.sigmoid(tf.reduce_max(value, 1) @ model.dense[:2])


class Classifier(tf.Module):  # type: ignore[misc]
    """A model that reads text, in the operators of TensorFlow: with a table that can change, as that of Keras 2."""

    def __init__(self, standardize: Text, network: Network, length: int | None = LENGTH) -> None:
        super().__init__()
        random = np.random.default_rng(0)
        self.embedding, self.kernel, self.bias, self.dense = (
            tf.Variable(random.uniform(-1, 1, shape).astype(np.float32))
            for shape in ((ROWS, 4), (2, 4, CHANNELS), (CHANNELS,), (2 * CHANNELS, 1))
        )
        self.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, 1)
        self.table.insert(WORDS, np.arange(2, 2 + len(WORDS)))
        self._standardize, self._network, self._length = standardize, network, length

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])  # type: ignore[untyped-decorator]
    def classify(self, texts: Any) -> Any:
        words = tf.strings.split(self._standardize(texts))
        ids = tf.ragged.map_flat_values(self.table.lookup, words).to_tensor(shape=(None, self._length))
        answer = self._network(self, tf.gather(self.embedding, ids))
        with tf.control_dependencies([self.table.size()]):
            return tf.identity(answer)


def saved(folder: Path, standardize: Text = lower, network: Network = folded, length: int | None = LENGTH) -> Path:
    """Write a SavedModel that reads text."""
    model = Classifier(standardize, network, length)
    tf.saved_model.save(model, str(folder), {"serving_default": model.classify})
    return folder


def read(path: Path) -> TextModel:
    with open_saved_model(path) as opened:
        return read_text(opened)


@pytest.mark.parametrize(
    "network",
    [
        folded,
        unfolded,
        grouped,
        *(dilated(padding, dilation) for padding in ("CAUSAL", "SAME", "VALID") for dilation in (2, 4)),
    ],
)
def test_operators_become_layers(network: Network, tmp_path: Path) -> None:
    """Operators become layers that can be folded; a graph with others becomes one layer. Both answer as the graph."""
    trained = from_keras_file(saved(tmp_path, network=network), ("no", "yes"), None)
    family, _ = recognize(trained.model)
    assert (family is not None) == (network is not unfolded)
    rows = [encoding.ids for encoding in trained.tokenizer.encode_batch(TEXTS)]
    assert trained.original is not None
    expected = np.stack([answer for answer in trained.original.predict(TEXTS) if answer is not None])
    answers = trained.predict(trained.input_shape.pad(rows, LENGTH))
    np.testing.assert_allclose(answers, expected, atol=1e-6, rtol=0)
    assert np.ptp(answers) > 0.05


@pytest.mark.parametrize(
    ("standardize", "expected"),
    [
        (lambda texts: texts, {}),
        (lower, {"lowercase": "ascii"}),
        (replacing(("[!?.]+", "")), {"lowercase": "ascii", "removed": "!.?"}),
        (replacing((r"[\d_\-]", " ")), {"lowercase": "ascii", "separators": f"-{DIGITS}_"}),
        (replacing(("[[:digit:]]", ""), (r"[\d,]", " ")), {"removed": DIGITS, "separators": ",", "lowercase": "ascii"}),
        (replacing((",", " "), ("[,;]", "")), {"removed": ";", "separators": ",", "lowercase": "ascii"}),
        (replacing(("<br />|<p>", " "), (r"a\.b", " ")), {"replaced": ("<br />", "<p>", "a.b"), "lowercase": "ascii"}),
        (replacing(("<BR>|<br>", " ")), {"replaced": ("<br>",), "lowercase": "ascii"}),
        (replacing(("<BR>", " "), first=lambda texts: texts), {"replaced": ("<BR>",)}),
        (
            replacing((r"[^a-z\xe9 ]", "")),
            {"removed": NO_LOWER, "kept": "\xe9", "removes_others": True, "lowercase": "ascii"},
        ),
        (replacing((r"\W+", " ")), {"separators": NO_WORDS, "kept": "", "lowercase": "ascii"}),
        (
            replacing(("[^a-zA-Z ]", " "), first=lambda texts: texts, then=lower),
            {"separators": NO_LETTERS, "kept": "", "lowercase": "ascii"},
        ),
        (replacing(("[a-bA-B]", ""), first=lambda texts: texts, then=lower), {"removed": "ABab", "lowercase": "ascii"}),
    ],
)  # fmt: skip
def test_standardization(standardize: Text, expected: dict[str, Any], tmp_path: Path) -> None:
    """Lower-casing and regular expressions become a rule, by which texts get the ids of the graph."""
    trained = from_keras_file(saved(tmp_path, standardize), ("no", "yes"), None)
    assert isinstance(trained.tokenizer, WordLevelTokenizer)
    rule = asdict(trained.tokenizer.rule)
    separators = "".join(sorted(rule.pop("separators")))
    assert separators == "".join(sorted({*"\t\n\v\f\r", *expected.pop("separators", "")}))
    unchanged = {"lowercase": "none", "removed": "", "replaced": (), "kept": None, "removes_others": False}
    assert {name: rule[name] for name in unchanged} == unchanged | expected
    assert trained.original is not None
    texts = [*TEXTS, *generated_texts(trained.tokenizer), *spelled_texts(trained.tokenizer)]
    for ids, encoding in zip(trained.original.ids(texts), trained.tokenizer.encode_batch(texts), strict=True):
        assert ids.tolist() == encoding.ids[: encoding.tokens].tolist()


def upper(texts: Any) -> Any:
    return tf.strings.upper(texts)


@pytest.mark.parametrize(
    ("standardize", "message"),
    [
        (upper, "does not support its operator StringUpper"),
        (lambda texts: tf.strings.lower(texts, encoding="utf-8"), "StringLower lower-cases letters of all scripts"),
        (replacing(("[a-z]", ""), first=lambda texts: texts, then=lower), "StringLower comes after one that replaces"),
        (replacing(("<br>", " "), first=lambda texts: texts, then=lower), "StringLower comes after one that replaces"),
        (replacing(("[^a-z]", "")), r"StaticRegexReplace replaces '\[\^a-z\]' by ''"),
        (replacing(("[^a-z ]", " "), ("[^A ]", "")), r"StaticRegexReplace replaces '\[\^A \]' by ''"),
        (replacing(("[a-b]|-", "")), r"StaticRegexReplace replaces '\[a-b\]\|-' by ''"),
        (replacing((r"http\S+", " ")), r"StaticRegexReplace replaces 'http\\\\S\+' by ' '"),
        (replacing((r"\d", "#")), r"StaticRegexReplace replaces '\\\\d' by '#'"),
        (replacing((r"\s", "")), r"StaticRegexReplace replaces '\\\\s' by ''"),
        (replacing(("<br>", "")), "StaticRegexReplace replaces '<br>' by ''"),
        (replacing(("[!]", ""), ("<br>", " ")), "StaticRegexReplace replaces '<br>' by ' '"),
        (replacing(("ab", " "), ("bc", " ")), "StaticRegexReplace replaces 'bc' by ' '"),
        (replacing(("<p>", " "), ("a b", " ")), "StaticRegexReplace replaces 'a b' by ' '"),
        (lambda texts: tf.strings.regex_replace(texts, "!", "", replace_global=False), "'!' by '' only once"),
    ],
)
def test_operators_on_texts_that_are_refused(standardize: Text, message: str, tmp_path: Path) -> None:
    """An operator whose effect a tokenizer cannot have is refused by its name."""
    with pytest.raises(ExportError, match=message):
        read(saved(tmp_path, standardize))


def twice(model: Classifier, words: Any) -> Any:
    """Look another word up."""
    return folded(model, words) / tf.cast(tf.reduce_sum(model.table.lookup(tf.constant(["good"]))), tf.float32)


@pytest.mark.parametrize(
    ("length", "network", "message"),
    [
        (None, folded, "TextVectorization has no output_sequence_length"),
        (LENGTH, twice, "looks words up with 2 operators LookupTableFindV2 instead of one"),
    ],
)
def test_graphs_that_are_refused(length: int | None, network: Network, message: str, tmp_path: Path) -> None:
    """A graph without a fixed number of ids, or with a second look-up, is refused."""
    with pytest.raises(ExportError, match=message):
        read(saved(tmp_path, lower, network, length))


def test_a_second_path_from_the_text(tmp_path: Path) -> None:
    """A graph whose answer depends on the text beside its ids is refused."""
    model = Classifier(lower, folded)
    both = tf.function(
        lambda texts: model.classify(texts) * tf.cast(tf.strings.length(texts) > 3, tf.float32)[:, None],
        [tf.TensorSpec((None,), tf.string)],
    )
    tf.saved_model.save(model, str(tmp_path), {"serving_default": both})
    with pytest.raises(ExportError, match="its operator StringLength reads the text beside the ids"):
        read(tmp_path)


def test_counts_of_words(tmp_path: Path) -> None:
    """A graph that counts words, instead of padding their ids, is refused."""
    model = Classifier(lower, folded)

    def count(texts: Any) -> Any:
        ids = tf.ragged.map_flat_values(model.table.lookup, tf.strings.split(texts))
        size, weights = tf.constant(ROWS, tf.int64), tf.constant([], tf.float32)
        counts = tf.raw_ops.RaggedBincount(splits=ids.row_splits, values=ids.values, size=size, weights=weights)
        return tf.sigmoid(tf.reduce_sum(counts, 1))

    signature = tf.function(count, [tf.TensorSpec((None,), tf.string)])
    tf.saved_model.save(model, str(tmp_path), {"serving_default": signature})
    with pytest.raises(ExportError, match="does not support its operator RaggedBincount"):
        read(tmp_path)


def test_words_come_from_the_table(tmp_path: Path) -> None:
    """The vocabulary is what the table contains, without words that no request can contain."""
    model = Classifier(lower, folded)
    model.table.insert([b"\xff\xfe", "later", ""], [9, 10, 0])
    tf.saved_model.save(model, str(tmp_path), {"serving_default": model.classify})
    tokenizer = from_keras_file(tmp_path, ("no", "yes"), None).tokenizer
    assert isinstance(tokenizer, WordLevelTokenizer)
    assert "later" in tokenizer.words
    assert len(tokenizer.words) == len(WORDS) + 1


def test_flags_change_nothing(tmp_path: Path) -> None:
    """Flags about the vocabulary, and a second vocabulary, are refused: the graph contains all of it."""
    path = saved(tmp_path / "saved")
    (tmp_path / "words.txt").write_text("\n".join(["", "[UNK]", *WORDS]))
    with pytest.raises(ExportError, match="so flags cannot change them"):
        from_keras_file(path, ("no", "yes"), None, Statements(changes={"lowercase": "none"}))
    with pytest.raises(ExportError, match="the model's vocabulary is in its graph"):
        from_keras_file(path, ("no", "yes"), tmp_path / "words.txt")
    with pytest.raises(ExportError, match="the model takes 6 ids, not 7"):
        from_keras_file(path, ("no", "yes"), None, Statements(max_tokens=LENGTH + 1))
