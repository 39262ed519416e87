"""An export compares answers to texts with those of the original model, or with those that its owner states."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.artifact.model_card import CARD_FILE
from sentiment_conv1d.export.__main__ import main
from sentiment_conv1d.export.sources.expected import read_expected
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.service.__main__ import main as service
from sentiment_conv1d.tables import DataError

WORDS = ["the", "film", "was", "a", "good", "bad", "dull", "fine", "story", "dont", "worth"]
LENGTH = 12


def network(length: int | None, pooling: Any) -> keras.Sequential:
    """Build a model over ids whose answers depend on every id."""
    keras.utils.set_random_seed(3)
    spread = keras.initializers.RandomUniform(-2, 2)
    embedding = keras.layers.Embedding(len(WORDS) + 2, 4, embeddings_initializer=spread)
    output = keras.layers.Dense(1, "sigmoid", kernel_initializer=spread)
    return keras.Sequential([keras.Input((length,), dtype="int32"), embedding, pooling(), output])


def layer(length: int | None, **settings: Any) -> keras.layers.TextVectorization:
    """Return a layer with the words above."""
    return keras.layers.TextVectorization(
        vocabulary=WORDS, output_sequence_length=length, name="vectorization", **settings
    )


def reading_texts(behind: keras.Sequential, front: keras.layers.TextVectorization, path: Path) -> keras.Sequential:
    """Put a layer in front of a model, and save it."""
    model = keras.Sequential([keras.Input((1,), dtype="string"), front, *behind.layers])
    model.save(path)
    return model


def export(source: Path, *arguments: object) -> int:
    """Export a model with two labels."""
    target = ("--labels", "no,yes", "--name", "own", "--repository", str(source.parent / "repository"))
    return main([str(source), *target, *map(str, arguments)])


def published(folder: Path) -> Manifest:
    """Return the manifest of the only artifact."""
    return read_artifact(folder / "repository" / "own" / "1").manifest


def refusal(capsys: pytest.CaptureFixture[str], source: Path, *arguments: object) -> str:
    """Return the error of an export that publishes nothing."""
    capsys.readouterr()
    assert export(source, *arguments) == 2
    assert not (source.parent / "repository").exists()
    return capsys.readouterr().err


@pytest.mark.parametrize("pooling", [keras.layers.GlobalAveragePooling1D, keras.layers.GlobalMaxPooling1D])
def test_a_model_that_depends_on_the_length_of_its_batch(
    pooling: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model without a fixed length whose answers depend on padding is refused, and the message names its layer."""
    reading_texts(network(None, pooling), layer(None), tmp_path / "model.keras")
    error = refusal(capsys, tmp_path / "model.keras", "--max-tokens", LENGTH)
    assert "differ from those of the original model" in error
    assert "layer vectorization has no output_sequence_length" in error


def test_a_model_that_ignores_padding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model whose answers do not depend on padding needs no fixed length; a note says what gets truncated."""
    behind = network(None, keras.layers.GlobalMaxPooling1D)
    [rows] = behind.layers[0].get_weights()
    behind.layers[0].set_weights([np.abs(rows) * (np.arange(len(rows)) > 0)[:, np.newaxis]])
    model = reading_texts(behind, layer(None), tmp_path / "model.keras")
    assert export(tmp_path / "model.keras", "--max-tokens", LENGTH) == 0
    printed = capsys.readouterr().out
    assert f"note: the original model reads texts of any length, and the service the {LENGTH}" in printed
    assert "note: the original model fails on" in printed  # texts without words
    served = Classifier(read_artifact(tmp_path / "repository" / "own" / "1"))
    text = "The film was GOOD, a story!"
    expected = model.predict(tf.constant([[text]]), verbose=0)
    assert served.predict([text])[0].probabilities[1] == pytest.approx(float(expected[0, 0]), abs=1e-5)


@pytest.mark.parametrize("place", ["inside", "beside", "beside a model of any length", "in float16"])
def test_the_proof_of_a_model_that_reads_texts(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The manifest, the model card and `check` say that answers to texts were compared with the original."""
    keras.config.set_dtype_policy("float16" if place == "in float16" else "float32")
    try:
        length = None if place == "beside a model of any length" else LENGTH
        behind, front = network(length, keras.layers.GlobalAveragePooling1D), layer(LENGTH, standardize="lower")
    finally:
        keras.config.set_dtype_policy("float32")
    source, arguments = tmp_path / "model.keras", list[object]()
    if place.startswith("beside"):
        behind.save(source)
        keras.Sequential([keras.Input((1,), dtype="string"), front]).save(tmp_path / "layer.keras")
        arguments = ["--vocabulary", tmp_path / "layer.keras"]
    else:
        reading_texts(behind, front, source)
    assert export(source, *arguments) == 0
    assert published(tmp_path).max_tokens == LENGTH
    phrase = published(tmp_path).text_parity
    assert phrase.startswith("compared with the original model on 1")
    artifact = tmp_path / "repository" / "own" / "1"
    assert phrase in (artifact / CARD_FILE).read_text()
    capsys.readouterr()
    assert service(["check", str(artifact)]) == 0
    assert f"ok  text to ids: {phrase}" in capsys.readouterr().out


def test_flags_that_contradict_the_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Flags that give texts other ids than the model's own layer are refused."""
    source = tmp_path / "model.keras"
    reading_texts(network(LENGTH, keras.layers.GlobalAveragePooling1D), layer(LENGTH), source)
    for flags in (("--lowercase", "none"), ("--truncation-side", "left"), ("--removed", "")):
        assert "texts get other ids than from layer vectorization" in refusal(capsys, source, *flags)
    network(None, keras.layers.GlobalAveragePooling1D).save(source)
    keras.Sequential([keras.Input((1,), dtype="string"), layer(LENGTH)]).save(tmp_path / "layer.keras")
    beside = ("--vocabulary", tmp_path / "layer.keras", "--max-tokens", 50)
    assert f"layer vectorization returns {LENGTH} ids, not 50" in refusal(capsys, source, *beside)


#: Short and long texts, with capitals.
TEXTS = ["", "Good film", "bad " * 2 * LENGTH + "fine", "the dull story was " * LENGTH]


def write_expected(path: Path, model: keras.Model, sides: str) -> None:
    """Write answers of a model that pads and truncates texts on one side."""
    ids = {word: number for number, word in enumerate(WORDS, start=2)}
    rows = [[ids.get(word, 1) for word in text.lower().split()] for text in TEXTS]
    padded = keras.utils.pad_sequences(rows, LENGTH, padding=sides, truncating=sides)
    answers = model.predict(padded, verbose=0)[:, 0]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "probability"), *zip(TEXTS, map(float, answers), strict=True)])


def test_expected_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model over ids is published if it gives the answers that its owner states, and refused otherwise."""
    source, expected = tmp_path / "model.keras", tmp_path / "expected.csv"
    model = network(LENGTH, keras.layers.Flatten)
    model.save(source)
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    stated = ("--vocabulary", tmp_path / "words.txt", "--first-id", 2, "--unknown-id", 1, "--expected", expected)
    write_expected(expected, model, "post")
    assert "differ from those of the expected answers" in refusal(capsys, source, *stated)
    assert export(source, *stated, "--padding-side", "right", "--truncation-side", "right") == 0
    assert published(tmp_path).text_parity == "compared with the expected answers on 4 texts"
    assert not published(tmp_path).unverified


def of_type(policy: str) -> keras.Sequential:
    """Build a model with a data type policy, and the same weights for each, which every type represents exactly."""
    weights = [np.round(weight * 16) / 16 for weight in network(LENGTH, keras.layers.GlobalMaxPooling1D).get_weights()]
    keras.config.set_dtype_policy(policy)
    try:
        model = network(LENGTH, keras.layers.GlobalMaxPooling1D)
    finally:
        keras.config.set_dtype_policy("float32")
    model.set_weights(weights)
    return model


@pytest.mark.parametrize(
    ("policy", "tolerance"),
    [("float32", 1e-4), ("float64", 1e-4), ("float16", 5e-3), ("bfloat16", 5e-3), ("mixed_float16", 5e-3)],
)
def test_expected_answers_of_half_precision(
    policy: str, tolerance: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Expected answers may differ by 5e-3 if the model rounds to half precision, otherwise by 1e-4, as recorded.

    No label may change.
    """
    source, file = tmp_path / "model.keras", tmp_path / "expected.csv"
    of_type(policy).save(source)
    (tmp_path / "words.txt").write_text("\n".join(["", "[UNK]", *WORDS]))
    answers = of_type("float32").predict(layer(LENGTH)(tf.constant(TEXTS)), verbose=0)[:, 0]

    def stated(off: float) -> tuple[object, ...]:
        with file.open("w", newline="") as rows:
            answer = zip(TEXTS, (answers + off * np.array([0, 1, 0, 0])).tolist(), strict=True)
            csv.writer(rows).writerows([("text", "probability"), *answer])
        return ("--vocabulary", tmp_path / "words.txt", "--expected", file)

    assert "1 of 4 answers to texts differ" in refusal(capsys, source, *stated(1.1 * tolerance))
    between = ("--threshold", answers[1] + 0.4 * tolerance)
    if tolerance == 5e-3:
        error = refusal(capsys, source, *stated(0.8 * tolerance), *between)
        assert "and 1 labels change" in error
        assert "leave out texts whose label changes only because half precision rounds" in error
    assert export(source, *stated(0.8 * tolerance)) == 0
    [check] = [each for each in published(tmp_path).parity if each.against == "expected answers"]
    assert check.tolerance == tolerance
    assert check.largest_difference == pytest.approx(0.8 * tolerance, rel=0.01)


@pytest.mark.parametrize("flags", [("--lowercase", "none"), ("--num-words", "6"), ("--unknown-id", "none")])
def test_flags_that_seldom_change_an_answer(
    flags: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ids are compared for every word, so flags are refused although almost no text shows their effect."""
    behind = network(LENGTH, keras.layers.GlobalMaxPooling1D)
    [rows] = behind.layers[0].get_weights()
    rows[:-1] = rows[-1] - 1
    rows[2] = rows[-1] - 0.5  # only the first and the last word change an answer
    behind.layers[0].set_weights([rows])
    [kernel, _] = behind.layers[-1].get_weights()
    behind.layers[-1].set_weights([kernel, (1 - rows[-1]) @ kernel])  # other words have the answer 0.5
    reading_texts(behind, layer(LENGTH), tmp_path / "model.keras")
    assert "texts get other ids than from layer vectorization" in refusal(capsys, tmp_path / "model.keras", *flags)


def test_expected_answers_that_prove_little(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Notes name the parts of the preprocessing that the expected answers do not compare."""
    (tmp_path / "words.txt").write_text("\n".join(["", "[UNK]", *WORDS]))
    model = network(LENGTH, keras.layers.GlobalAveragePooling1D)
    model.save(tmp_path / "model.keras")
    answer = float(model(layer(LENGTH)(tf.constant(["good"])))[0, 0])
    (tmp_path / "expected.jsonl").write_text(json.dumps({"text": "good", "no": 1 - answer, "yes": answer}))
    stated = ("--vocabulary", tmp_path / "words.txt", "--expected", tmp_path / "expected.jsonl")
    assert export(tmp_path / "model.keras", *stated) == 0
    printed = capsys.readouterr().out
    for other in ("texts are padded on the right and truncated on the left", "case is kept", "punctuation is kept"):
        assert f"if {other}" in printed
    assert "if texts are padded on the left" not in printed
    assert "note: no expected answer is for a text with an unknown word" in printed
    assert "note: all expected answers are the same" in printed


@pytest.mark.parametrize("beside", ["expected answers", "original model"])
def test_truncation_that_was_not_compared(beside: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a text that is longer than the model reads, the artifact and a warning say what was not compared."""
    source, file = tmp_path / "model.keras", tmp_path / "expected.csv"
    behind, stated = network(LENGTH, keras.layers.GlobalAveragePooling1D), list[object](["--expected", file])
    if beside == "original model":  # with which the export compares long texts
        reading_texts(behind, layer(LENGTH), source)
    else:
        behind.save(source)
        (tmp_path / "words.txt").write_text("\n".join(["", "[UNK]", *WORDS]))
        stated += ["--vocabulary", tmp_path / "words.txt"]

    def write(*texts: str) -> None:
        answers = behind.predict(layer(LENGTH)(tf.constant(texts)), verbose=0)[:, 0].tolist()
        with file.open("w", newline="") as rows:
            csv.writer(rows).writerows([("text", "probability"), *zip(texts, answers, strict=True)])

    gap = f"truncation was not compared: no expected text exceeds {LENGTH} tokens"
    write("", "bad " * LENGTH)
    assert export(source, *stated) == 0
    error, phrase = capsys.readouterr().err, published(tmp_path).text_parity
    if beside == "original model":
        assert "truncation" not in error + phrase
        return
    assert f"warning: {gap}; add a longer one to --expected" in error
    assert phrase == f"compared with the expected answers on 2 texts; {gap}"
    write("", "bad " * (LENGTH + 1))
    assert export(source, *stated) == 0
    assert "truncation" not in capsys.readouterr().err
    newest = read_artifact(tmp_path / "repository" / "own" / "2").manifest
    assert newest.text_parity == "compared with the expected answers on 2 texts"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("text", "yes"), ("good", 1)], "there is no column 'no'"),
        ([("text", "probability"), ("good", "high")], "expected.csv: line 2: 'high' is not a probability"),
        ([("text", "probability"), ("good", 1.5)], "'1.5' is not a probability"),
        ([("text", "no", "yes"), ("good", 0.4, 0.4)], "the probabilities sum to 0.8, not 1"),
        ([("text", "probability")], "there are no expected answers"),
    ],
)
def test_invalid_expected_answers(
    rows: Sequence[Sequence[object]], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Expected answers that cannot be read are refused, and the message names the row."""
    reading_texts(network(LENGTH, keras.layers.GlobalAveragePooling1D), layer(LENGTH), tmp_path / "model.keras")
    with (tmp_path / "expected.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    error = refusal(capsys, tmp_path / "model.keras", "--expected", tmp_path / "expected.csv")
    assert message in error and "hint: check --expected" in error


def test_expected_answers_that_are_logits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message about a logit names what the export needs instead, and the export accepts this."""
    source, file, front = tmp_path / "model.keras", tmp_path / "expected.csv", layer(LENGTH)
    behind = network(LENGTH, keras.layers.GlobalAveragePooling1D)
    behind.layers[-1].activation = keras.activations.linear
    reading_texts(behind, front, source)
    texts = [f"{word} " * LENGTH for word in WORDS]
    logits = behind.predict(front(tf.constant(texts)), verbose=0)[:, 0]
    assert logits.min() < 0 or logits.max() > 1

    def write(answers: Sequence[float]) -> None:
        with file.open("w", newline="") as rows:
            csv.writer(rows).writerows([("text", "probability"), *zip(texts, answers, strict=True)])

    write(logits.tolist())
    advice = "is not a probability; if the model returns logits, pass --from-logits, and state their sigmoid or softmax"
    assert advice in refusal(capsys, source, "--expected", file)
    write((1 / (1 + np.exp(-logits))).tolist())
    assert "pass --from-logits" in refusal(capsys, source, "--expected", file)
    assert export(source, "--expected", file, "--from-logits") == 0


def test_files_of_expected_answers(tmp_path: Path) -> None:
    """Every format of tables can have the column `probability`, and a file in another format is refused."""
    path = tmp_path / "expected.jsonl"
    path.write_text('{"text": "good", "probability": 0.75}')
    assert read_expected(path, ("no", "yes"), 1).answers.tolist() == [[0.75]]
    with pytest.raises(DataError, match=r"expected.xlsx: only these extensions can be read: .*\.jsonl"):
        read_expected(path.rename(tmp_path / "expected.xlsx"), ("no", "yes"), 1)


def test_a_model_without_proof(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that was compared on ids only is exported if the user says so; its card and its check repeat it."""
    (tmp_path / "words.txt").write_text("\n".join(["", "[UNK]", *WORDS]))
    network(LENGTH, keras.layers.GlobalAveragePooling1D).save(tmp_path / "model.keras")
    stated = ("--vocabulary", tmp_path / "words.txt")
    error = refusal(capsys, tmp_path / "model.keras", *stated)
    assert "error: nothing shows that texts get the ids that the model was trained with" in error
    assert "--unverified" in error
    assert export(tmp_path / "model.keras", *stated, "--unverified") == 0
    unverified = "unverified, because not compared with the original on texts"
    assert f"warning: {unverified}; --expected compares" in capsys.readouterr().out
    artifact = tmp_path / "repository" / "own" / "1"
    assert service(["check", str(artifact)]) == 0
    assert f"--  text to ids: {unverified}" in capsys.readouterr().out
    assert f"Text to ids: {unverified}." in (artifact / CARD_FILE).read_text()
    assert published(tmp_path).unverified


def test_vocabularies_that_contradict_the_assumed_tokenizer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A vocabulary with words that the assumed tokenizer never finds, or of characters, is refused."""
    source, file = tmp_path / "model.keras", tmp_path / "words.txt"
    network(LENGTH, keras.layers.GlobalAveragePooling1D).save(source)
    file.write_text("\n".join(["", "[UNK]", "Good", "don't", "film"]))
    error = refusal(capsys, source, "--vocabulary", file)
    assert "2 of 3 words can never be found" in error
    assert "'Good', \"don't\"" in error
    assert export(source, "--vocabulary", file, "--lowercase", "none", "--removed", "", "--unverified") == 0
    assert read_artifact(tmp_path / "repository" / "own" / "1").tokenizer.encode("Good don't good").ids.tolist() == [
        2,
        3,
        1,
    ]


def test_vocabularies_of_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A word index of characters is refused, because it does not say how a text is split into them."""
    network(LENGTH, keras.layers.GlobalAveragePooling1D).save(tmp_path / "model.keras")
    index = {character: number for number, character in enumerate("etaoinsh", start=1)}
    (tmp_path / "characters.json").write_text(json.dumps(index))
    stated = ("--vocabulary", tmp_path / "characters.json", "--index-from", 1, "--start-id", "none")
    assert "8 of 8 words are single characters" in refusal(capsys, tmp_path / "model.keras", *stated)


def test_a_word_index_without_its_offset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A word index whose offset is not stated is refused, and the hint says which offset fits the embedding."""
    network(LENGTH, keras.layers.GlobalAveragePooling1D).save(tmp_path / "model.keras")
    for number, offset in ((len(WORDS) + 1, 0), (len(WORDS) - 2, 3)):
        index = {f"word{rank}": rank for rank in range(1, number + 1)}
        (tmp_path / "index.json").write_text(json.dumps(index))
        error = refusal(capsys, tmp_path / "model.keras", "--vocabulary", tmp_path / "index.json")
        assert f"with {offset} the highest id fits the {len(WORDS) + 2} rows" in error
