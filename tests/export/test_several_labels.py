"""A model with a sigmoid for each label is exported, and its labels follow from the thresholds."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pandas
import pytest
import tensorflow as tf
from keras import layers

from sentiment_conv1d.artifact.artifact import Artifact, read_artifact
from sentiment_conv1d.export.__main__ import main
from sentiment_conv1d.inference.classifier import Classifier

WORDS = ["you", "are", "a", "fool", "damn", "nice", "day", "go", "away"]
LABELS = ("toxic", "obscene", "insult")
TEXTS = ["", "You are a fool!", "Damn fool, go away.", "A nice day", "damn damn damn", "unheard of", "nice " * 20]


def network(last: layers.Layer) -> keras.Model:
    """Build a network that reads texts, whose outputs depend on every word."""
    keras.utils.set_random_seed(5)
    spread = keras.initializers.RandomUniform(-1, 1)
    vectorization = layers.TextVectorization(output_sequence_length=12, vocabulary=WORDS)
    text = keras.Input((1,), dtype="string")
    value = layers.Embedding(len(WORDS) + 2, 4, embeddings_initializer=spread)(vectorization(text))
    value = layers.GlobalMaxPooling1D()(layers.Conv1D(6, 3, activation="relu")(value))
    return keras.Model(text, last(value))


def sigmoids(number: int) -> layers.Layer:
    return layers.Dense(number, "sigmoid", kernel_initializer=keras.initializers.RandomUniform(-3, 3))


def export(model: keras.Model, folder: Path, *arguments: str, labels: tuple[str, ...] = LABELS) -> Artifact:
    """Export a model, and return its artifact."""
    model.save(folder / "model.keras")
    repository = ["--name", "comments", "--repository", str(folder / "repository")]
    assert main([str(folder / "model.keras"), "--labels", ",".join(labels), *repository, *arguments]) == 0
    return read_artifact(folder / "repository" / "comments" / "1")


def answers(model: keras.Model, texts: list[str]) -> npt.NDArray[np.float32]:
    return np.asarray(model(tf.constant([[text] for text in texts])))


def test_thresholds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The served labels are those whose output in Keras reaches the stated threshold: several, one or none."""
    model = network(sigmoids(3))
    truth = answers(model, TEXTS)
    limits = np.sort(truth, axis=0)[3:5].mean(axis=0).round(3)
    stated = ",".join(map(str, limits))
    artifact = export(model, tmp_path, "--thresholds", stated, "--text-input")
    assert artifact.manifest.activation == "sigmoid"
    assert artifact.manifest.decision.thresholds == pytest.approx(dict(zip(LABELS, limits, strict=True)))
    assert artifact.manifest.convolution_widths == (3,)
    printed = capsys.readouterr().out
    assert f"a text has the labels whose probability is at least their threshold: toxic {limits[0]:.4g}, " in printed
    found = Classifier(artifact).predict(TEXTS)
    np.testing.assert_allclose([each.probabilities for each in found], truth, atol=1e-5, rtol=0)
    expected = [tuple(np.array(LABELS)[row >= limits]) for row in truth]
    assert [each.labels for each in found] == expected
    assert len({len(each) for each in expected}) > 1


def test_defaults(tmp_path: Path) -> None:
    """Without thresholds, each label has 0.5, also if there are only two."""
    model = network(sigmoids(2))
    artifact = export(model, tmp_path, labels=LABELS[:2])
    assert artifact.manifest.decision.thresholds == {"toxic": 0.5, "obscene": 0.5}
    for prediction, row in zip(Classifier(artifact).predict(TEXTS), answers(model, TEXTS), strict=True):
        assert prediction.labels == tuple(label for label, each in zip(LABELS, row, strict=False) if each >= 0.5)


def test_logits(tmp_path: Path) -> None:
    """With `--from-logits`, thresholds ask for a sigmoid for each label."""
    model = network(layers.Dense(3))
    artifact = export(model, tmp_path, "--from-logits", "--thresholds", "0.5,0.5,0.5")
    found = Classifier(artifact).predict(TEXTS)
    truth = 1 / (1 + np.exp(-answers(model, TEXTS)))
    np.testing.assert_allclose([each.probabilities for each in found], truth, atol=1e-5, rtol=0)


def test_one_head_for_each_label(tmp_path: Path) -> None:
    """Several layers with one sigmoid each, whose outputs are concatenated, are the same as one layer of sigmoids."""

    def heads(value: object) -> object:
        return layers.Concatenate()([sigmoids(1)(value) for _ in LABELS])

    artifact = export(network(heads), tmp_path)
    assert len(artifact.manifest.decision.thresholds) == 3


def test_8_bits(tmp_path: Path) -> None:
    """The 8-bit form has the thresholds too."""
    artifact = export(network(layers.Dense(3, "sigmoid")), tmp_path, "--quantize", "--thresholds", "0.4,0.5,0.6")
    assert (artifact.manifest.precision, artifact.manifest.multilabel) == ("uint8", True)
    assert Classifier(artifact).predict(["You are a fool!"])[0].labels is not None


def test_expected_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Expected answers have a column for each label, whose probabilities need not sum to 1, and are compared."""
    model = network(sigmoids(3))
    frame = pandas.DataFrame({"text": TEXTS} | dict(zip(LABELS, answers(model, TEXTS).T, strict=True)))
    frame.to_csv(tmp_path / "expected.csv", index=False)
    artifact = export(model, tmp_path, "--expected", str(tmp_path / "expected.csv"))
    assert [check.against for check in artifact.manifest.parity][-1] == "expected answers"
    frame["insult"] = 1 - frame["insult"]
    frame.to_csv(tmp_path / "expected.csv", index=False)
    arguments = ["--labels", ",".join(LABELS), "--name", "comments", "--repository", str(tmp_path / "other")]
    assert main([str(tmp_path / "model.keras"), *arguments, "--expected", str(tmp_path / "expected.csv")]) == 2
    assert "answers to texts differ from those of the expected answers" in capsys.readouterr().err
