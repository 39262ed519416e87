"""Keras models with every form of vocabulary are exported, as described in docs/own-models.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
import tokenizers
from keras.src.legacy.preprocessing.text import Tokenizer as LegacyTokenizer
from keras.src.legacy.preprocessing.text import text_to_word_sequence

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.graphs.text.file import text_graph
from sentiment_conv1d.artifact.manifest import TOKENIZER_FILE
from sentiment_conv1d.export.__main__ import main
from sentiment_conv1d.export.checks.text_graph import odd_texts, prove
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.sources.vocabularies import Asked, Statements, vectorization_tokenizer
from sentiment_conv1d.inference.classifier import Classifier

WORDS = ["the", "film", "was", "a", "good", "bad", "dull", "fine", "story", "dont", "worth"]
ROWS, SEQUENCE_LENGTH = 20, 10

#: Short and long texts, unknown words, punctuation inside words, other alphabets, and an empty text.
TEXTS = [
    "The film was GOOD!",
    "don't... a bad-dull film; worth\tevery\nminute",
    "fine " * 4 + "bad " * 5 + "story good",
    "unheard of",
    "\u00c9t\u00e9 fine\u00a0story \u0130 film",
    "good",
    "",
    "?!",
]

Ids = npt.NDArray[np.int32]
Export = Callable[..., Path]


def network(
    embedding: Any = None, *, sequence_length: int | None = SEQUENCE_LENGTH, dtype: str = "float32"
) -> keras.Model:
    """Build a small model of the Conv1D family whose outputs depend on every id."""
    keras.utils.set_random_seed(3)
    spread = keras.initializers.RandomUniform(-1, 1)
    ids = keras.Input((sequence_length,), dtype="int32")
    value = keras.layers.Embedding(ROWS, 4, embeddings_initializer=spread, dtype=dtype)(ids)
    value = keras.layers.Conv1D(6, 3, activation="relu", dtype=dtype)(value)
    value = keras.layers.GlobalMaxPooling1D(dtype=dtype)(value)
    return keras.Model(ids, keras.layers.Dense(1, activation="sigmoid", dtype=dtype)(value))


def assert_served(artifact: Path, expected: npt.NDArray[np.float32], ids: Sequence[Sequence[int]]) -> None:
    """Assert that single texts and a batch get Keras' outputs, with the ids of Hugging Face's library."""
    served = read_artifact(artifact)
    classifier = Classifier(served)
    together = [prediction.probabilities[1] for prediction in classifier.predict(TEXTS)]
    alone = [classifier.predict([text])[0].probabilities[1] for text in TEXTS]
    np.testing.assert_allclose(together, expected[:, 0], atol=1e-5, rtol=0)
    np.testing.assert_allclose(alone, expected[:, 0], atol=1e-5, rtol=0)
    library = tokenizers.Tokenizer.from_file(str(artifact / TOKENIZER_FILE))
    assert [encoding.ids for encoding in library.encode_batch(TEXTS)] == [list(each) for each in ids]
    assert [served.tokenizer.encode(text).ids.tolist() for text in TEXTS] == [list(each) for each in ids]
    prove(served, text_graph(served), [*TEXTS, *odd_texts(served)])


@pytest.fixture
def exported(tmp_path: Path) -> Export:
    """Run the command on a model and its vocabulary; return the artifact."""

    def run(source: Path, *arguments: str) -> Path:
        repository = tmp_path / "repository"
        target = ("--labels", "no,yes", "--name", "own", "--repository", str(repository), "--unverified")
        assert main([str(source), *target, *arguments]) == 0
        return repository / "own" / "1"

    return run


def test_a_word_index_of_keras(tmp_path: Path, exported: Export) -> None:
    """Ids are ranks plus three, and words without a row in the embedding are unknown."""
    ranks = {word: rank for rank, word in enumerate([*WORDS, *(f"rare{number}" for number in range(20))], start=1)}
    (tmp_path / "imdb_word_index.json").write_text(json.dumps(ranks))
    model = network()
    model.save(tmp_path / "model.keras")
    vocabulary = ("--vocabulary", str(tmp_path / "imdb_word_index.json"), "--index-from", "3")
    artifact = exported(tmp_path / "model.keras", *vocabulary)
    rows = []
    for text in TEXTS:
        ids = [ranks.get(word, ROWS) + 3 for word in text_to_word_sequence(text)]
        rows.append([1, *(number if number < ROWS else 2 for number in ids)])
    padded = keras.utils.pad_sequences(rows, SEQUENCE_LENGTH)
    assert_served(artifact, model.predict(padded, verbose=0), [row[-SEQUENCE_LENGTH:] for row in rows])


def test_a_word_index_with_other_ids(tmp_path: Path, exported: Export) -> None:
    """A word index can contain ids, have no start id, and drop unknown words."""
    ranks = {word: rank for rank, word in enumerate(WORDS, start=1)}
    (tmp_path / "index.json").write_text(json.dumps(ranks))
    model = network()
    model.save(tmp_path / "model.keras")
    stated = ("--index-from", "0", "--start-id", "none", "--unknown-id", "none")
    artifact = exported(tmp_path / "model.keras", "--vocabulary", str(tmp_path / "index.json"), *stated)
    rows = [[ranks[word] for word in text_to_word_sequence(text) if word in ranks] for text in TEXTS]
    padded = keras.utils.pad_sequences(rows, SEQUENCE_LENGTH)
    assert_served(artifact, model.predict(padded, verbose=0), [row[-SEQUENCE_LENGTH:] or [0] for row in rows])


@pytest.mark.parametrize("unknown", [None, "<oov>"])
@pytest.mark.parametrize("twice", [False, True])
def test_the_tokenizer_of_keras_2(unknown: str | None, twice: bool, tmp_path: Path, exported: Export) -> None:
    """Unknown words are dropped unless the Tokenizer has a token for them, and rare words are unknown."""
    legacy = LegacyTokenizer(num_words=9, oov_token=unknown)
    legacy.fit_on_texts([" ".join(WORDS)] * 2)
    content = legacy.to_json()
    (tmp_path / "tokenizer.json").write_text(json.dumps(content) if twice else content)
    model = network()
    model.save(tmp_path / "model.keras")
    artifact = exported(tmp_path / "model.keras", "--vocabulary", str(tmp_path / "tokenizer.json"))
    rows = legacy.texts_to_sequences(TEXTS)
    padded = keras.utils.pad_sequences(rows, SEQUENCE_LENGTH)
    assert_served(artifact, model.predict(padded, verbose=0), [row[-SEQUENCE_LENGTH:] or [0] for row in rows])


def test_keras_2_tokenizer_with_padding_after_the_text(tmp_path: Path, exported: Export) -> None:
    """Padding and truncation at the end, other filters and upper case are supported."""
    legacy = LegacyTokenizer(lower=False, filters="!?;.")
    legacy.fit_on_texts([" ".join(WORDS), "GOOD"])
    (tmp_path / "tokenizer.json").write_text(legacy.to_json())
    model = network()
    model.save(tmp_path / "model.keras")
    sides = ("--padding-side", "right", "--truncation-side", "right")
    artifact = exported(tmp_path / "model.keras", "--vocabulary", str(tmp_path / "tokenizer.json"), *sides)
    rows = legacy.texts_to_sequences(TEXTS)
    padded = keras.utils.pad_sequences(rows, SEQUENCE_LENGTH, padding="post", truncating="post")
    assert_served(artifact, model.predict(padded, verbose=0), [row[:SEQUENCE_LENGTH] or [0] for row in rows])


def vectorization(**changes: Any) -> Any:
    return keras.layers.TextVectorization(
        output_sequence_length=SEQUENCE_LENGTH, vocabulary=WORDS, name="words", **changes
    )


def unpadded(rows: Any) -> list[list[int]]:
    return [[number for number in row if number] or [0] for row in np.asarray(rows).tolist()]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("standardize", ["lower_and_strip_punctuation", "lower", "strip_punctuation", None])
def test_a_text_vectorization_layer_in_the_model(
    standardize: str | None, nested: bool, tmp_path: Path, exported: Export
) -> None:
    """The layer becomes the tokenizer, before layers or an inner model, and the rest is folded."""
    layer, behind = vectorization(standardize=standardize), network()
    model = keras.Sequential([keras.Input((1,), dtype="string"), layer, *([behind] if nested else behind.layers[1:])])
    model.save(tmp_path / "model.keras")
    artifact = exported(tmp_path / "model.keras")
    expected = model.predict(tf.constant(TEXTS)[:, tf.newaxis], verbose=0)
    assert_served(artifact, expected, unpadded(layer(tf.constant(TEXTS))))
    assert read_artifact(artifact).manifest.leading_padding == 3


@pytest.mark.parametrize("behind", [True, False])
def test_a_text_vectorization_layer_in_an_inner_model(behind: bool, tmp_path: Path, exported: Export) -> None:
    """The layer is found in models within models, whether or not the same model contains other layers."""
    layer, after = vectorization(), network()
    text = keras.Input((1,), dtype="string")
    inner = keras.Sequential([text, layer, after.layers[1]] if behind else [text, layer])
    middle = keras.Sequential([keras.Input((1,), dtype="string"), inner])
    model = keras.Sequential([keras.Input((1,), dtype="string"), middle, *after.layers[2 if behind else 1 :]])
    model.save(tmp_path / "model.keras")
    artifact = exported(tmp_path / "model.keras")
    expected = model.predict(tf.constant(TEXTS)[:, tf.newaxis], verbose=0)
    assert_served(artifact, expected, unpadded(layer(tf.constant(TEXTS))))
    assert read_artifact(artifact).manifest.leading_padding == 3


@pytest.mark.parametrize("form", ["lines", "json", "layer"])
def test_the_vocabulary_of_a_text_vectorization_layer(form: str, tmp_path: Path, exported: Export) -> None:
    """The vocabulary of a TextVectorization layer is read from lines, a JSON list, or the layer in its own model."""
    layer, model = vectorization(), network()
    model.save(tmp_path / "model.keras")
    words = list(map(str, layer.get_vocabulary()))
    file = tmp_path / "vocabulary"
    if form == "lines":
        file.write_text("\n".join(words) + "\n")
    elif form == "json":
        file.write_text(json.dumps(words))
    else:
        file = tmp_path / "layer.keras"
        keras.Sequential([keras.Input((1,), dtype="string"), layer]).save(file)
    artifact = exported(tmp_path / "model.keras", "--vocabulary", str(file))
    ids = layer(tf.constant(TEXTS))
    assert_served(artifact, model.predict(ids, verbose=0), unpadded(ids))


def test_a_list_of_words(tmp_path: Path, exported: Export) -> None:
    """The user states the ids of a list of words."""
    (tmp_path / "words.txt").write_text("\n".join(WORDS) + "\n")
    model = network()
    model.save(tmp_path / "model.keras")
    stated = ("--first-id", "4", "--pad-id", "3", "--start-id", "1", "--unknown-id", "0")
    artifact = exported(tmp_path / "model.keras", "--vocabulary", str(tmp_path / "words.txt"), *stated)
    ids = {word: number for number, word in enumerate(WORDS, start=4)}
    rows = [[1, *(ids.get(word, 0) for word in text_to_word_sequence(text))] for text in TEXTS]
    padded = keras.utils.pad_sequences(rows, SEQUENCE_LENGTH, value=3)
    assert_served(artifact, model.predict(padded, verbose=0), [row[-SEQUENCE_LENGTH:] for row in rows])


def test_a_word_level_tokenizer_of_hugging_face(
    tmp_path: Path, exported: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    """A word-level tokenizer splits at white space, and its file determines padding and truncation.

    The export and the artifact say that its special tokens are words of a text.
    """
    library = tokenizers.Tokenizer(
        tokenizers.models.WordLevel(
            {"[PAD]": 0, "[UNK]": 1} | {w: n for n, w in enumerate(WORDS, 2)}, unk_token="[UNK]"
        )
    )
    library.normalizer = tokenizers.normalizers.Lowercase()
    library.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    library.add_special_tokens(["[PAD]", "[UNK]"])
    library.enable_truncation(SEQUENCE_LENGTH)
    library.enable_padding(length=SEQUENCE_LENGTH)
    library.save(str(tmp_path / "tokenizer.json"))
    model = network()
    model.save(tmp_path / "model.keras")
    artifact = exported(tmp_path / "model.keras", "--vocabulary", str(tmp_path / "tokenizer.json"))
    limit = "special tokens in a text, such as [PAD], [UNK], are read as words, so its answer can differ"
    assert f"note: {limit}" in capsys.readouterr().out
    text_parity = read_artifact(artifact).manifest.text_parity
    assert text_parity == f"unverified, because not compared with the original on texts; {limit}"
    padded = np.array([encoding.ids for encoding in library.encode_batch(TEXTS)])
    assert_served(artifact, model.predict(padded, verbose=0), unpadded(padded))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "float64"])
def test_weights_of_other_types(
    dtype: str, tmp_path: Path, exported: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights of other types are cast to float32, and a note says so."""
    (tmp_path / "words.txt").write_text("\n".join(["", "[UNK]", *WORDS]))
    model = network(dtype=dtype)
    model.save(tmp_path / "model.keras")
    artifact = exported(tmp_path / "model.keras", "--vocabulary", str(tmp_path / "words.txt"))
    printed = capsys.readouterr().out
    assert f"note: cast from {dtype.removeprefix('mixed_')}" in printed
    same = network()
    same.set_weights([np.asarray(weight, np.float32) for weight in model.get_weights()])
    ids = vectorization()(tf.constant(TEXTS))
    assert_served(artifact, same.predict(ids, verbose=0), unpadded(ids))


@pytest.mark.parametrize("form", ["h5", "saved_model", "free", "free saved_model"])
def test_other_files(form: str, tmp_path: Path, exported: Export) -> None:
    """HDF5 files, SavedModels and models over any number of ids are exported."""
    (tmp_path / "words.txt").write_text("\n".join(["", "[UNK]", *WORDS]))
    free, saved = form.startswith("free"), form.endswith("saved_model")
    model = network(sequence_length=None if free else SEQUENCE_LENGTH)
    source = tmp_path / {"h5": "model.h5", "free": "model.keras"}.get(form, "saved")
    model.export(source, verbose=False) if saved else model.save(source)
    length = ("--max-tokens", str(SEQUENCE_LENGTH)) if free else ()
    artifact = exported(source, "--vocabulary", str(tmp_path / "words.txt"), *length)
    ids = vectorization()(tf.constant(TEXTS))
    assert_served(artifact, model.predict(ids, verbose=0), unpadded(ids))
    assert (read_artifact(artifact).manifest.leading_padding is None) == saved


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Write the vocabulary of `vectorization()`."""
    file = tmp_path / "words.txt"
    file.write_text("\n".join(["", "[UNK]", *WORDS]))
    return file


def refusal(capsys: pytest.CaptureFixture[str], source: Path, *arguments: str) -> tuple[str, str]:
    """Return the two lines of an export's error: the message and the hint."""
    capsys.readouterr()
    target = source.parent / "repository"
    assert main([str(source), "--labels", "no,yes", "--name", "own", "--repository", str(target), *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["error", "hint"]
    assert not target.exists()
    assert max(map(len, lines)) < 400
    return lines[0], lines[1]


@keras.saving.register_keras_serializable(package="mine")
class Doubled(keras.layers.Layer):  # type: ignore[misc]
    """A layer class that Keras cannot load."""

    def call(self, value: Any) -> Any:
        return value * 2


def test_models_that_cannot_be_imported(
    words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that cannot be imported is refused with two lines, which name the layer or file and say what to do."""
    ids, more = keras.Input((SEQUENCE_LENGTH,), name="ids"), keras.Input((SEQUENCE_LENGTH,), name="more")
    dense = keras.layers.Dense(1, activation="sigmoid")
    models = {
        "lambda.keras": (
            keras.Model(ids, dense(keras.layers.Lambda(lambda x: x * 2, name="twice")(ids))),
            "layer twice",
        ),
        "lambda.h5": (keras.Model(ids, dense(keras.layers.Lambda(lambda x: x * 2, name="twice")(ids))), "layer twice"),
        "own.keras": (keras.Model(ids, dense(Doubled()(ids))), "Doubled is a class or function that Keras 3 lacks"),
        "own.h5": (keras.Model(ids, dense(Doubled()(ids))), "Doubled is a class or function that Keras 3 lacks"),
        "two.keras": (keras.Model([ids, more], dense(ids + more)), "one input, and has 2: ids, more"),
        "answers.keras": (keras.Model(ids, [dense(ids), dense(ids)]), "one output, and has 2"),
        "free.keras": (network(sequence_length=None), "takes any number of ids"),
    }
    for name, (model, _) in models.items():
        model.save(tmp_path / name)
    network().save(tmp_path / "model.keras")
    (tmp_path / "bad.keras").write_bytes(b"PK\x03\x04 no model")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"no model")
    for name, value in list(keras.saving.get_custom_objects().items()):
        if value is Doubled:
            monkeypatch.delitem(keras.saving.get_custom_objects(), name)
    for name, (_, message) in models.items():
        assert message in refusal(capsys, tmp_path / name, "--vocabulary", str(words))[0], name
    for name, message in {
        "bad.keras": "not a Keras model",
        "saved": "not a SavedModel",
        "none.h5": "no such file",
    }.items():
        if name != "none.h5":
            assert message in refusal(capsys, tmp_path / name, "--vocabulary", str(words))[0]
    stated = ("--vocabulary", str(words), "--max-tokens", "9")
    assert f"takes {SEQUENCE_LENGTH} ids, not 9" in refusal(capsys, tmp_path / "model.keras", *stated)[0]


def test_unsupported_text_vectorization(words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A TextVectorization layer with long n-grams or those of characters, or with a second vocabulary, is refused."""
    for changes, message in (
        ({"ngrams": 6}, "layer words: an n-gram has 1 to 5 words"),
        ({"ngrams": 2, "split": "character"}, "layer words: only words that white space separates"),
    ):
        layer = keras.layers.TextVectorization(output_sequence_length=SEQUENCE_LENGTH, name="words", **changes)
        layer.adapt(["a b c"])
        model = keras.Sequential([keras.Input((1,), dtype="string"), layer, *network().layers[1:]])
        model.save(tmp_path / "model.keras")
        assert message in refusal(capsys, tmp_path / "model.keras")[0]
    keras.Sequential([keras.Input((1,), dtype="string"), vectorization(), *network().layers[1:]]).save(
        tmp_path / "model.keras"
    )
    assert "layer words" in refusal(capsys, tmp_path / "model.keras", "--vocabulary", str(words))[0]


def test_custom_standardization() -> None:
    """A standardization function of the user is refused if no flag states what it does."""
    layer = keras.layers.TextVectorization(standardize=tf.strings.upper, vocabulary=WORDS, name="words")
    with pytest.raises(ExportError, match="layer words standardizes texts with the function "):
        vectorization_tokenizer(layer, Asked(SEQUENCE_LENGTH, ROWS, Statements()))


def test_invalid_vocabularies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid vocabulary is refused, and the message names the file and the error."""
    network().save(tmp_path / "model.keras")
    legacy = {"class_name": "Tokenizer", "config": {"word_index": {}, "split": " ", "filters": "", "lower": True}}
    whole = legacy["config"] | {"oov_token": None, "num_words": None, "char_level": False}  # type: ignore[operator]
    hugging_face = {
        "version": "1.0",
        "model": {"type": "WordLevel", "vocab": {}},
        "pre_tokenizer": {"type": "UnicodeScripts"},
    }
    for content, message in (
        (b"\xff\xfe", "neither a Keras file nor UTF-8"),
        (json.dumps({"a": "b"}), "neither a word index"),
        (json.dumps([1, 2]), "neither a word index"),
        (json.dumps({"a": 0, "b": 1}), "counts from 1, and this one counts from 0"),
        (json.dumps({"good": 1, "bad": 2}), "does not say whether its numbers are ids or ranks"),
        (json.dumps(["a", "b"]), "does not contain their ids"),
        (json.dumps(legacy), "is missing or has another type"),
        (json.dumps(legacy | {"config": whole | {"split": "-"}}), "splits at '-'"),
        (json.dumps(hugging_face), "the pre_tokenizer UnicodeScripts is not supported"),
        ("good\nbad\n", "does not contain their ids"),
        (
            "\n".join(["", "[UNK]", *map(str, range(100))]),
            "its highest id is 101, but the model's embedding has 20 rows",
        ),
    ):
        file = tmp_path / "vocabulary"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        error, _ = refusal(capsys, tmp_path / "model.keras", "--vocabulary", str(file))
        assert str(file) in error
        assert any(each in error for each in message.split("|")), error


def labelled(path: Path) -> Path:
    """Write forty texts, half of them good and half bad."""
    lines = [
        f"the film was {('bad', 'good')[number % 2]} {WORDS[number % 4]},{('no', 'yes')[number % 2]}"
        for number in range(40)
    ]
    path.write_text("text,label\n" + "\n".join(lines) + "\n")
    return path


def judge(good: int, bad: int) -> keras.Model:
    """Build a model that looks for two ids: one means yes, the other no."""
    model = network()
    table = np.zeros((ROWS, 4), np.float32)
    table[good, 0], table[bad, 1] = 1, 1
    kernel = np.zeros((3, 4, 6), np.float32)
    kernel[:, 0, 0] = kernel[:, 1, 1] = 1
    head = np.zeros((6, 1), np.float32)
    head[0], head[1] = 8, -8
    model.set_weights([table, kernel, np.zeros(6), head, np.zeros(1)])
    return model


def test_measured_accuracy(words: Path, tmp_path: Path, exported: Export, capsys: pytest.CaptureFixture[str]) -> None:
    """With data, the accuracy from text to answer is printed and written into the manifest."""
    judge(good=2 + WORDS.index("good"), bad=2 + WORDS.index("bad")).save(tmp_path / "model.keras")
    data = labelled(tmp_path / "data.csv")
    artifact = exported(tmp_path / "model.keras", "--vocabulary", str(words), "--data", str(data))
    printed = capsys.readouterr().out
    assert "accuracy: 1.0000 on 40 texts of data.csv, which may include training texts" in printed
    assert "warning: not compared with the original on texts; --expected compares\n" in printed
    assert not read_artifact(artifact).manifest.unverified
    assert printed.count("warning") == 1
    metrics = read_artifact(artifact).manifest.metrics
    assert metrics is not None
    assert (metrics.values["accuracy"], metrics.examples) == (1, 40)


def test_threshold_and_meanings_of_integers(
    words: Path, tmp_path: Path, exported: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    """The flags name the integers of the data and state the threshold, which the manifest and all checks use."""
    judge(good=2 + WORDS.index("good"), bad=2 + WORDS.index("bad")).save(tmp_path / "model.keras")
    data = tmp_path / "data.csv"
    data.write_text(labelled(data).read_text().replace(",no", ",0").replace(",yes", ",1"))
    arguments = ("--vocabulary", str(words), "--data", str(data), "--threshold", "0.9999", "--allow-poor-accuracy")
    assert main([str(tmp_path / "model.keras"), "--labels", "no,yes", "--name", "own", *arguments]) == 2
    assert "hint: state which label each integer means, for example --label-map=0=no,1=yes" in capsys.readouterr().err
    artifact = exported(tmp_path / "model.keras", *arguments, "--label-map", "0=no, 1=yes")
    assert "0.5000    as stated" in capsys.readouterr().out  # no output reaches the threshold
    manifest = read_artifact(artifact).manifest
    assert manifest.decision.threshold == 0.9999
    assert manifest.metrics is not None
    assert manifest.metrics.values["accuracy"] == 0.5


def test_model_with_the_accuracy_of_one_label(
    words: Path, tmp_path: Path, exported: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that is never right is refused, unless `--allow-poor-accuracy` is passed."""
    judge(good=2 + WORDS.index("bad"), bad=2 + WORDS.index("good")).save(tmp_path / "model.keras")
    arguments = ("--vocabulary", str(words), "--data", str(labelled(tmp_path / "data.csv")))
    error, hint = refusal(capsys, tmp_path / "model.keras", *arguments)
    assert "the accuracy is 0.000 as stated, and 1.000 if the labels 'no' and 'yes' are exchanged" in error
    assert "state --labels 'yes,no', or publish it as it is with --allow-poor-accuracy" in hint
    artifact = exported(tmp_path / "model.keras", *arguments, "--allow-poor-accuracy")
    metrics = read_artifact(artifact).manifest.metrics
    assert metrics is not None
    assert metrics.values["accuracy"] == 0


def test_export_without_data(words: Path, tmp_path: Path, exported: Export, capsys: pytest.CaptureFixture[str]) -> None:
    """Without data, the output says that the vocabulary was not checked, and counts unknown words."""
    network().save(tmp_path / "model.keras")
    exported(tmp_path / "model.keras", "--vocabulary", str(words))
    printed = capsys.readouterr().out
    assert "not compared with the original on texts; --expected compares, and --data measures accuracy" in printed
    assert "warning: 22 of 27 words of the golden text are not in the vocabulary" in printed
