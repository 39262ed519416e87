"""Many kinds of Keras text models: each is served with the original's own answers, or refused with a reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.graphs.text.characters import TextGraphError
from sentiment_conv1d.artifact.graphs.text.file import text_graph
from sentiment_conv1d.artifact.manifest import NO_ANSWER
from sentiment_conv1d.export.__main__ import main
from sentiment_conv1d.export.checks.text_graph import odd_texts, prove
from sentiment_conv1d.inference.classifier import Classifier
from tests.export.zoo.preprocessing import (
    LENGTH,
    ROWS,
    TEXTS,
    WORDS,
    HuggingFace,
    Imdb,
    Legacy,
    Preprocessing,
    Vectorization,
    WordList,
    custom_standardization,
    halves,
    letters_only,
)

#: The layers between the embedding and the last layer.
BODIES: dict[str, Callable[[], list[Any]]] = {
    "conv": lambda: [layers.Conv1D(6, 3, activation="relu"), layers.GlobalMaxPooling1D()],
    "same": lambda: [layers.Conv1D(6, 4, padding="same", activation="tanh"), layers.GlobalMaxPooling1D()],
    "conv average": lambda: [layers.Conv1D(6, 3, activation="relu"), layers.GlobalAveragePooling1D()],
    "two convs": lambda: [
        layers.Conv1D(6, 2),
        layers.MaxPooling1D(2),
        layers.Conv1D(6, 2),
        layers.GlobalMaxPooling1D(),
    ],
    "average": lambda: [layers.GlobalAveragePooling1D()],
    "masked average": lambda: [layers.Dense(5, activation="relu"), layers.GlobalAveragePooling1D()],
    "max": lambda: [layers.GlobalMaxPooling1D()],
    "flatten": lambda: [layers.Flatten(), layers.Dense(5, activation="relu")],
    "gru": lambda: [layers.GRU(4)],
    "lstm": lambda: [layers.LSTM(4)],
    "bidirectional": lambda: [layers.Bidirectional(layers.LSTM(3))],
    "hard lstm": lambda: [layers.LSTM(4, recurrent_activation="hard_sigmoid")],
    "widths": lambda: [Widths()],
    "groups": lambda: [layers.Conv1D(6, 3, groups=2, activation="relu"), layers.GlobalMaxPooling1D()],
    "width 1": lambda: [
        layers.TimeDistributed(layers.Dense(4, activation="relu")),
        layers.Conv1D(6, 3, padding="same"),
        layers.Conv1D(5, 1, activation="relu"),
        layers.GlobalMaxPooling1D(),
    ],
    "nested": lambda: [
        keras.Sequential([keras.Input((None, 4)), layers.Conv1D(6, 3), layers.GlobalMaxPooling1D()], name="inner")
    ],
}


class Widths:
    """Convolutions of two widths, side by side."""

    def __call__(self, value: Any) -> Any:
        return layers.Concatenate()([layers.GlobalMaxPooling1D()(layers.Conv1D(4, width)(value)) for width in (2, 3)])


class Entry(NamedTuple):
    """A model, and what must happen: "equal" or "unproven" answers, or the reason of a refusal.

    "unproven" models are published with the warning that texts were not compared, because the stated preprocessing is
    not that of the model.
    """

    texts: Preprocessing
    body: str = "conv"
    outcome: str = "equal"
    file: str = "model.keras"
    warned: bool = False  # no file states the preprocessing, so the export needs --unverified
    outputs: int = 1
    activation: str | None = None
    mask: bool = False
    free: bool = False  # the model takes any number of ids
    dtype: str = "float32"
    tolerance: float = 1e-5
    folded: bool = False  # the model must be folded; others may be
    needs_words: bool = False  # the model has no answer to a text without words
    one_file: bool = True  # text.onnx can contain the tokenizer


INSIDE = Vectorization
CHARACTERS = partial(Vectorization, split="character", max_tokens=ROWS)
KERAS_TOKENIZER = "--index-from 0 --start-id none"
BEHIND = "--padding-side right --truncation-side right"
EXAMPLE = "--lowercase ascii --removed punctuation --replaced '<br />'"
EXPRESSIONS = "--lowercase ascii --regex-replace '<br />' ' ' --regex-replace '[^a-z ]' ''"
LOGITS = "--from-logits"
NO_LENGTH = f"--max-tokens {LENGTH}"
DIFFERS = "answers to texts differ from those of the original model"

ZOO: dict[str, Callable[[], Entry]] = {
    # TextVectorization in the model
    "inside": lambda: Entry(INSIDE()),
    "inside, fixed vocabulary": lambda: Entry(INSIDE(vocabulary=WORDS)),
    "inside, lower": lambda: Entry(INSIDE(standardize="lower"), "average"),
    "inside, strip": lambda: Entry(INSIDE(standardize="strip_punctuation"), "gru"),
    "inside, as is": lambda: Entry(INSIDE(standardize=None), "flatten"),
    "inside, masked average": lambda: Entry(INSIDE(), "average", mask=True, needs_words=True),
    "inside, masked conv average": lambda: Entry(INSIDE(), "masked average", mask=True, needs_words=True),
    "inside, masked average, any length": lambda: Entry(
        INSIDE(flags=NO_LENGTH, length=None), "average", mask=True, free=True, needs_words=True
    ),
    "layer, masked average": lambda: Entry(
        Vectorization("layer", standardize="lower"), "average", mask=True, needs_words=True, outputs=3
    ),
    "tokenizer, masked average": lambda: Entry(Legacy(), "average", mask=True, warned=True, needs_words=True),
    "inside, masked lstm": lambda: Entry(INSIDE(), "lstm", mask=True),
    "inside, bidirectional": lambda: Entry(INSIDE(), "bidirectional", outputs=3),
    "inside, nested": lambda: Entry(INSIDE(), "nested"),
    "inside, groups": lambda: Entry(INSIDE(), "groups", folded=True),
    "inside, groups, any length": lambda: Entry(INSIDE(flags=NO_LENGTH), "groups", free=True, folded=True),
    "inside, width 1": lambda: Entry(INSIDE(), "width 1", outputs=3, folded=True),
    "inside, float16": lambda: Entry(INSIDE(), dtype="float16", tolerance=5e-3),
    "inside, h5": lambda: Entry(INSIDE(vocabulary=WORDS), file="model.h5"),
    "inside, h5 without its vocabulary": lambda: Entry(INSIDE(), "conv", "layer words has no vocabulary", "model.h5"),
    "inside, any length, masked lstm": lambda: Entry(
        INSIDE(flags=NO_LENGTH, length=None), "lstm", mask=True, free=True
    ),
    "inside, any length, average": lambda: Entry(INSIDE(flags=NO_LENGTH, length=None), "average", DIFFERS, free=True),
    "inside, any length unstated": lambda: Entry(INSIDE(length=None), "average", "takes any number of ids", free=True),
    "inside, characters": lambda: Entry(CHARACTERS()),
    "inside, ngrams": lambda: Entry(INSIDE(ngrams=2, max_tokens=ROWS), one_file=False),
    "layer, ngrams": lambda: Entry(Vectorization("layer", ngrams=(2,), max_tokens=ROWS), "flatten", one_file=False),
    "inside, own function": lambda: Entry(
        INSIDE(standardize=custom_standardization), "conv", "layer words standardizes texts with the function custom_st"
    ),
    "inside, lambda": lambda: Entry(
        INSIDE(standardize=lambda texts: texts), "conv", "layer words standardizes or splits texts with a lambda"
    ),
    "inside, own function stated": lambda: Entry(
        INSIDE(flags=EXAMPLE, standardize=custom_standardization), "flatten", warned=True
    ),
    "inside, expressions stated": lambda: Entry(
        INSIDE(flags=EXPRESSIONS, standardize=letters_only), "flatten", warned=True, one_file=False
    ),
    "inside, other expression stated": lambda: Entry(
        INSIDE(flags=r"--lowercase ascii --regex-replace 'http\S+' ''", standardize=letters_only),
        "conv",
        r"--regex-replace: the service cannot replace 'http\\S+' by ''",
    ),
    "layer, own function stated": lambda: Entry(
        Vectorization("layer", EXAMPLE, standardize=custom_standardization), "average", warned=True
    ),
    "inside, own split": lambda: Entry(INSIDE(split=halves), "conv", "layer words has split=the function halves"),
    # TextVectorization in a SavedModel
    "saved": lambda: Entry(INSIDE(), file="saved"),
    "saved, fixed vocabulary": lambda: Entry(INSIDE(vocabulary=WORDS), "widths", file="saved", outputs=3),
    "saved, as is": lambda: Entry(INSIDE(standardize=None), "flatten", file="saved"),
    "saved, masked lstm": lambda: Entry(INSIDE(standardize="lower"), "lstm", file="saved", mask=True),
    "saved, own function": lambda: Entry(INSIDE(standardize=custom_standardization), "conv average", file="saved"),
    "saved, any length": lambda: Entry(
        INSIDE(length=None), "average", "TextVectorization has no output_sequence_length", "saved", free=True
    ),
    "saved, characters": lambda: Entry(INSIDE(split="character"), "conv", "its operator Unicode", "saved"),
    "saved, ngrams": lambda: Entry(INSIDE(ngrams=2), "conv", "its operator StringNGrams", "saved"),
    "saved, own split": lambda: Entry(INSIDE(split=halves), "conv", "StringSplitV2 does not split at white", "saved"),
    "saved, logits": lambda: Entry(INSIDE(), "conv", "does not return probabilities", "saved", activation="linear"),
    # TextVectorization beside the model
    "layer": lambda: Entry(Vectorization("layer"), "widths"),
    "layer, lower": lambda: Entry(Vectorization("layer", standardize="lower"), "flatten", file="model.h5"),
    "layer, as is": lambda: Entry(Vectorization("layer", standardize=None), "max", file="saved"),
    "layer, groups": lambda: Entry(Vectorization("layer"), "groups", dtype="float16", tolerance=5e-3, folded=True),
    "layer, any length": lambda: Entry(
        Vectorization("layer", NO_LENGTH, length=None), "gru", mask=True, free=True, outputs=3
    ),
    "layer, any length, average": lambda: Entry(
        Vectorization("layer", NO_LENGTH, length=None), "average", DIFFERS, free=True
    ),
    "layer, characters": lambda: Entry(CHARACTERS("layer", standardize=None), "flatten"),
    "vocabulary": lambda: Entry(Vectorization("txt"), "same", warned=True),
    "vocabulary, json": lambda: Entry(Vectorization("json"), "conv average", warned=True),
    "vocabulary, lower": lambda: Entry(Vectorization("txt", "--removed=", standardize="lower"), "lstm", warned=True),
    "vocabulary, as is": lambda: Entry(
        Vectorization("txt", "--removed= --lowercase none", standardize=None), "two convs", warned=True
    ),
    "vocabulary, as is unstated": lambda: Entry(
        Vectorization("txt", standardize=None), "conv", "vocabulary.txt: 2 of 14 words can never be found"
    ),
    "vocabulary, other sides": lambda: Entry(
        Vectorization("txt", "--padding-side left"), "flatten", "unproven", warned=True
    ),
    # Tokenizer of Keras 2
    "tokenizer": lambda: Entry(Legacy(), "conv", file="model.h5", warned=True),
    "tokenizer, oov": lambda: Entry(Legacy(oov_token="<OOV>"), "flatten", file="keras2.2.4.h5", warned=True),
    "tokenizer, num_words": lambda: Entry(Legacy(num_words=6), "average", file="keras2.0.8.h5", warned=True),
    "tokenizer, num_words and oov": lambda: Entry(
        Legacy(num_words=6, oov_token="<OOV>"), "lstm", file="keras2.3.1.h5", warned=True
    ),
    "tokenizer, post": lambda: Entry(Legacy(BEHIND, "post", "post"), "gru", warned=True, mask=True),
    "tokenizer, pad post": lambda: Entry(
        Legacy("--padding-side right", "post"), "flatten", file="saved", warned=True, outputs=3
    ),
    "tokenizer, filters": lambda: Entry(Legacy(filters="!;", lower=False), "bidirectional", warned=True),
    "tokenizer, characters": lambda: Entry(Legacy(char_level=True, num_words=ROWS), "flatten", warned=True),
    "tokenizer, other separator": lambda: Entry(Legacy(split="-"), "conv", "splits at '-'"),
    "hard sigmoid of keras 2": lambda: Entry(
        Legacy(), "hard lstm", "has the activation hard_sigmoid, which Keras 3 computes differently", "keras2.2.4.h5"
    ),
    "hard sigmoid of keras 3": lambda: Entry(Legacy(), "hard lstm", file="model.h5", warned=True),
    # word indexes
    "word_index": lambda: Entry(Legacy(f"{KERAS_TOKENIZER} --unknown-id none", index=True), "flatten", warned=True),
    "word_index, oov": lambda: Entry(
        Legacy(f"{KERAS_TOKENIZER} --unknown-id 1", index=True, oov_token="<OOV>"), "flatten", warned=True
    ),
    "word_index, num_words": lambda: Entry(
        Legacy(f"{KERAS_TOKENIZER} --unknown-id none --num-words 6", index=True, num_words=6), "average", warned=True
    ),
    "word_index, ids or ranks": lambda: Entry(Legacy(index=True), "conv", "whether its numbers are ids or ranks"),
    "imdb": lambda: Entry(Imdb(), "conv", file="model.h5", warned=True),
    "imdb, num_words": lambda: Entry(Imdb("--num-words 10", num_words=10), "flatten", warned=True),
    "ranks": lambda: Entry(Imdb("--index-from 3", words=30), "lstm", warned=True, outputs=3, file="keras2.2.2.h5"),
    # others
    "hugging face": lambda: Entry(HuggingFace(), "conv", warned=True),
    "hugging face, left": lambda: Entry(HuggingFace("left", "left", lower=False), "flatten", warned=True),
    "hugging face, shorter": lambda: Entry(
        HuggingFace(limit=5), "flatten", f"truncates to 5 ids, and the model takes {LENGTH}"
    ),
    "hugging face, not truncated": lambda: Entry(HuggingFace(limit=None), "average", warned=True, outputs=3),
    "list": lambda: Entry(
        WordList(f"--first-id 2 --unknown-id 1 --lowercase none --separators= {BEHIND}"), "widths", warned=True
    ),
    "list, defaults": lambda: Entry(
        WordList("--first-id 2 --unknown-id 1", "json"), "flatten", "words.json: 1 of 14 words can never be found"
    ),
    # other last layers
    "logits": lambda: Entry(INSIDE(), "conv", "layer answer does not return probabilities", activation="linear"),
    "logits, stated": lambda: Entry(INSIDE(flags=LOGITS), activation="linear", folded=True),
    "logits, three labels": lambda: Entry(
        Vectorization("layer", LOGITS), "gru", activation="linear", outputs=3, mask=True
    ),
    "logits, saved model": lambda: Entry(
        Vectorization("layer", LOGITS), "average", activation="linear", outputs=3, file="saved"
    ),
    "logits, float16": lambda: Entry(
        INSIDE(flags=LOGITS), "average", activation="linear", dtype="float16", tolerance=5e-3
    ),
    "logits, any length": lambda: Entry(
        INSIDE(flags=f"{LOGITS} {NO_LENGTH}"), "groups", activation="linear", free=True, folded=True
    ),
    "no logits": lambda: Entry(
        INSIDE(flags=LOGITS), "conv", "layer answer has the activation sigmoid, so it does not return logits"
    ),
    "multi-label": lambda: Entry(INSIDE(), "conv", outputs=3, activation="sigmoid"),
    "multi_hot": lambda: Entry(INSIDE(output_mode="multi_hot"), "bag", "layer words has output_mode='multi_hot'"),
    "count": lambda: Entry(INSIDE(output_mode="count"), "bag", "layer words has output_mode='count'"),
    "tf_idf": lambda: Entry(INSIDE(output_mode="tf_idf"), "bag", "layer words has output_mode='tf_idf'"),
}


def network(entry: Entry) -> keras.Model:
    """Build a model whose answers depend on every id."""
    keras.utils.set_random_seed(7)
    spread = keras.initializers.RandomUniform(-1, 1)
    activation = entry.activation or ("sigmoid" if entry.outputs == 1 else "softmax")
    answer = layers.Dense(entry.outputs, activation, kernel_initializer=spread, dtype=entry.dtype, name="answer")
    if entry.body == "bag":
        return keras.Sequential([answer])
    embedding = layers.Embedding(
        ROWS, 4, embeddings_initializer=spread, mask_zero=entry.mask, dtype=entry.dtype, name="embedding"
    )
    body = BODIES[entry.body]()
    ids = keras.Input((None if entry.free else LENGTH,), dtype="int64")
    if entry.body != "widths":
        return keras.Sequential([ids, embedding, *body, answer])
    return keras.Model(ids, answer(body[0](embedding(ids))))


def export(source: Path, flags: Sequence[str], labels: int) -> int:
    names = "no,yes" if labels == 1 else "a,b,c"
    repository = str(source.parent / "repository")
    return main([str(source), "--labels", names, "--name", "own", "--repository", repository, *flags])


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`:UserWarning")
@pytest.mark.parametrize("name", ZOO)
def test_zoo(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model is served with its own answers to texts, or nothing is published and the message says why."""
    entry = ZOO[name]()
    model, source = network(entry), tmp_path / entry.file
    entry.texts.save_model(model, source)
    flags = entry.texts.save(tmp_path)
    capsys.readouterr()
    status = export(source, [*flags, *["--unverified"] * entry.warned], entry.outputs)
    printed = capsys.readouterr()
    if entry.outcome not in ("equal", "unproven"):
        error, hint = printed.err.splitlines()[-2:]
        assert (status, error[:7], hint[:6]) == (2, "error: ", "hint: "), error
        assert entry.outcome in error
        assert not (tmp_path / "repository").exists()
        return
    assert status == 0, printed.err
    assert ("warning: unverified" in printed.out) == entry.warned
    artifact = read_artifact(tmp_path / "repository" / "own" / "1")
    assert artifact.manifest.unverified == entry.warned
    assert artifact.manifest.leading_padding is not None or not entry.folded
    if entry.one_file:
        prove(artifact, text_graph(artifact), odd_texts(artifact))
    else:
        with pytest.raises(TextGraphError):
            text_graph(artifact)
    # A model of any length truncates no text.
    texts = [text for text in TEXTS if entry.texts.length or artifact.tokenizer.encode(text).tokens <= LENGTH]
    assert len(texts) > 40
    served = np.array([prediction.probabilities for prediction in Classifier(artifact).predict(texts)])
    original = entry.texts.answers(model, texts)
    if entry.activation == "linear":
        original = np.asarray(tf.sigmoid(original) if entry.outputs == 1 else tf.nn.softmax(original))
    answered = np.isfinite(original[:, 0])
    assert artifact.manifest.needs_words == entry.needs_words == (NO_ANSWER in printed.out)
    if entry.needs_words:
        assert np.isnan(served[~answered]).all() and not answered.all()
    texts, original = [text for text, each in zip(texts, answered, strict=True) if each], original[answered]
    difference = np.abs(served[answered, -entry.outputs :] - original).max(axis=1)
    if entry.outcome == "equal":
        assert difference.max() <= entry.tolerance, texts[int(difference.argmax())]
    else:
        assert difference.max() > 0.01
    assert np.ptp(original) > 0.05  # the answers depend on the text
