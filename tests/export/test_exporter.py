"""An export publishes an artifact or leaves nothing behind."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from keras import layers

from sentiment_conv1d.artifact.artifact import ArtifactError, read_artifact, versions
from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.layers import Family
from sentiment_conv1d.artifact.tokenizer import Tokenizer, WordTokenizer
from sentiment_conv1d.export import exporter
from sentiment_conv1d.export.checks.accuracy import LabelledInputs
from sentiment_conv1d.export.checks.parity import ParityError
from sentiment_conv1d.export.checks.quantization_error import QuantizationError
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.exporter import GOLDEN_TEXT, Exported, export
from sentiment_conv1d.export.graphs.quantized import quantized_graph
from sentiment_conv1d.export.recognition.family import recognize
from sentiment_conv1d.export.sources.expected import Expected
from sentiment_conv1d.export.sources.trained import Trained, from_keras_file, from_run
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.model.data import load
from sentiment_conv1d.model.run import read_run
from tests.export.onnx_graph import contract
from tests.tiny import write_reviews

SEQUENCE_LENGTH, IDS = 6, 8
LABELS = ("no", "yes")


def tokenizer(words: int = IDS - 3, max_tokens: int = SEQUENCE_LENGTH) -> Tokenizer:
    return WordTokenizer([f"w{number}" for number in range(words)], max_tokens)


def small(*head: Any) -> keras.Model:
    """Build a model that cannot be folded, with the head under test."""
    chain = [layers.Embedding(IDS, 3), layers.GlobalAveragePooling1D()]
    return keras.Sequential([keras.Input((SEQUENCE_LENGTH,), dtype="int32"), *chain, *head])


def dense(units: int, activation: str | None) -> Any:
    return layers.Dense(units, activation=activation, bias_initializer="random_normal")


def test_folded_artifact(exported: Exported, run_path: Path) -> None:
    """The manifest describes the model, its training, its metrics and the comparisons."""
    artifact = read_artifact(exported.artifact.path)
    manifest, run = artifact.manifest, read_run(run_path)
    assert exported.unfolded == ""
    assert (manifest.name, manifest.version, manifest.labels) == ("tiny", 1, ("negative", "positive"))
    assert (manifest.activation, manifest.max_tokens) == ("sigmoid", 12)
    assert (manifest.convolution_widths, manifest.leading_padding) == ((2, 3), 3)
    assert manifest.configuration == run.configuration.model_dump(mode="json")
    assert manifest.metrics == run.metrics
    assert manifest.vocabulary_size == run.tokenizer.vocabulary_size
    assert [check.inputs for check in manifest.parity][-1] == "generated ids, short, batches"
    assert all(check.largest_difference <= 1e-5 for check in manifest.parity)
    assert set(manifest.libraries) == {"tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy"}
    assert artifact.tokenizer.to_json() == run.tokenizer.to_json()
    assert contract(onnx.load_from_string(artifact.graph)) == (
        [("tokens", "tensor(int32)", ["batch", "time"])],
        [("probabilities", "tensor(float)", ["batch", 1])],
    )


def test_golden_answer(exported: Exported, trained: Trained) -> None:
    """The service returns what Keras returns, for the golden text and for others."""
    artifact = read_artifact(exported.artifact.path)
    texts = [GOLDEN_TEXT, "", "A lovely and moving story.", "Awful, dull, clumsy. " * 30]
    predictions = Classifier(artifact).predict(texts)
    rows = [trained.tokenizer.encode(text).ids for text in texts]
    truth = trained.predict(trained.input_shape.pad(rows))[:, 0]
    assert [prediction.probabilities[1] for prediction in predictions] == pytest.approx(truth.tolist(), abs=1e-5)
    assert artifact.manifest.golden.text == GOLDEN_TEXT
    assert artifact.manifest.golden.probabilities == pytest.approx([truth[0]], abs=1e-6)


def test_next_version(trained: Trained, tmp_path: Path) -> None:
    """An export never replaces a version, and creates the repository if it does not exist."""
    repository = tmp_path / "made" / "on the way"
    paths = [export(trained, "tiny", repository).artifact.path for _ in range(2)]
    assert paths == [repository / "tiny" / "1", repository / "tiny" / "2"]
    assert versions(repository, "tiny") == [1, 2]


def test_model_outside_the_family(recurrent: keras.Model, trained: Trained, tmp_path: Path) -> None:
    """A model that cannot be folded is exported with the reason, and reviews are padded in full."""
    recurrent.save(tmp_path / "recurrent.keras")
    (tmp_path / "tokenizer.json").write_text(trained.tokenizer.to_json())
    loaded = from_keras_file(tmp_path / "recurrent.keras", LABELS, tmp_path / "tokenizer.json")
    exported = export(loaded, "recurrent", tmp_path / "repository")
    manifest = exported.artifact.manifest
    [_, layer, _] = recurrent.layers
    assert exported.unfolded == f"layer {layer.name} is where a global pooling layer should be"
    assert (manifest.convolution_widths, manifest.leading_padding) == ((), None)
    assert (manifest.configuration, manifest.metrics) == (None, None)
    assert len(manifest.parity) == 3
    (prediction,) = Classifier(exported.artifact).predict([GOLDEN_TEXT])
    assert prediction.probabilities[1] == pytest.approx(manifest.golden.probabilities[0], abs=1e-5)


def test_three_labels(tmp_path: Path) -> None:
    """A model with a softmax of three labels is exported with three probabilities."""
    labels = ("bad", "fair", "good")
    exported = export(Trained(small(dense(3, "softmax")), tokenizer(), labels), "three", tmp_path)
    manifest = exported.artifact.manifest
    assert (manifest.activation, manifest.labels, len(manifest.golden.probabilities)) == ("softmax", labels, 3)
    (prediction,) = Classifier(exported.artifact).predict(["w0 w1"])
    assert sum(prediction.probabilities) == pytest.approx(1)


def test_accuracy_among_opinions(tmp_path: Path) -> None:
    """The manifest has the accuracy of positive against negative beside that of all labels, and the card repeats it."""
    labels, words = ("negative", "neutral", "positive"), tokenizer()
    model = Trained(small(dense(3, "softmax")), words, labels)
    texts = [f"w{number} w{number % 3}" for number in range(30)]
    rows = [words.encode(text).ids for text in texts]
    truth = np.arange(30) % 3
    inputs = LabelledInputs("30 texts", rows, truth, texts)
    artifact = export(model, "three", tmp_path, labelled=inputs, allow_poor_accuracy=True).artifact
    found = model.predict(model.input_shape.pad(rows))
    opinions = truth != 1
    right = (found[opinions, 2] > found[opinions, 0]) == (truth[opinions] == 2)
    assert artifact.manifest.metrics is not None
    values = artifact.manifest.metrics.values
    assert [*values][:2] == ["accuracy", "opinion_accuracy"]
    assert values["opinion_accuracy"] == right.mean()
    assert f"| opinion_accuracy | {right.mean():.4f} |" in (artifact.path / "README.md").read_text(encoding="utf-8")


def test_gelu_with_dilation(tmp_path: Path) -> None:
    """A model with a gelu and a dilated filter is folded for the tokenizer's length, with padding for the filter."""
    chain = [layers.Embedding(IDS, 3), layers.Conv1D(4, 3, padding="same", dilation_rate=2, activation="gelu")]
    head = [layers.BatchNormalization(), layers.GlobalMaxPooling1D(), dense(1, "sigmoid")]
    model = keras.Sequential([keras.Input((None,), dtype="int32"), *chain, *head])
    trained = Trained(model, tokenizer(), LABELS)
    exported = export(trained, "gelu", tmp_path)
    manifest = exported.artifact.manifest
    assert exported.unfolded == ""
    assert (manifest.max_tokens, manifest.convolution_widths, manifest.leading_padding) == (SEQUENCE_LENGTH, (3,), 5)
    classifier = Classifier(exported.artifact)
    for text in ("", "w0", "w0 w1 other w4", "w2 " * 9):
        [encoding] = classifier.encode((text,))
        explanation = classifier.explainer.explain(text, encoding, "yes")
        [probability] = trained.predict(trained.input_shape.pad([encoding.ids]))[0]
        shares = sum(word.share for word in explanation.words)
        assert explanation.bias + explanation.padding + shares == pytest.approx(explanation.logit, abs=1e-4)
        assert 1 / (1 + np.exp(-explanation.logit)) == pytest.approx(probability, abs=1e-5)


def test_softmax_of_two_labels(tmp_path: Path) -> None:
    """Two labels may have a softmax with two columns."""
    exported = export(Trained(small(dense(2, "softmax")), tokenizer(), LABELS), "two", tmp_path)
    assert exported.artifact.manifest.activation == "softmax"


def test_graph_that_differs_from_keras(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that differs from Keras is not published."""

    def tampered(model: keras.Model, *reading: int) -> tuple[Any, str]:
        family, reason = recognize(model, *reading)
        assert family is not None
        return replace(family, embedding=family.embedding * 1.01), reason

    monkeypatch.setattr(exporter, "recognize", tampered)
    with pytest.raises(ParityError, match="off by"):
        export(trained, "tiny", tmp_path / "repository")
    assert list(tmp_path.iterdir()) == []


def labelled(trained: Trained) -> LabelledInputs:
    """Return texts with the labels that the model predicts."""
    texts = ["A lovely and moving story.", "Awful, dull, clumsy. " * 30, "", "the film", "superb warm", "noisy town"]
    rows = [trained.tokenizer.encode(text).ids for text in texts]
    answers = trained.predict(trained.input_shape.pad(rows))[:, 0] >= 0.5
    return LabelledInputs("six texts", rows, answers.astype(np.int64))


def test_limits_of_confidence(trained: Trained, tmp_path: Path) -> None:
    """Labelled texts decide the limits if the training held out no texts, and otherwise the training decided them."""
    texts = load(write_reviews(tmp_path / "reviews.csv", count=200)).train.texts
    rows = [trained.tokenizer.encode(text).ids for text in texts]
    scores = trained.predict(trained.input_shape.pad(rows))[:, 0]
    middle = float(np.median(scores))
    inputs = LabelledInputs("200 texts", rows, (scores >= middle).astype(np.int64), texts)
    unmeasured = replace(trained, decision=DecisionRule(threshold=middle))
    limited = export(unmeasured, "limited", tmp_path, labelled=inputs, allow_poor_accuracy=True).artifact.manifest
    assert limited.decision.confident_from == {
        "negative": pytest.approx(1 - scores[scores < middle].max(), abs=1e-5),
        "positive": pytest.approx(scores[scores >= middle].min(), abs=1e-5),
    }
    assert (limited.decision.min_precision, limited.decision.chosen_on) == (0.9, "200 texts")
    held_out = DecisionRule(threshold=middle, chosen_on="3 held out of a.csv")
    decided = export(replace(trained, decision=held_out), "decided", tmp_path, labelled=inputs).artifact.manifest
    assert decided.decision == held_out
    measured = export(replace(trained, decision=limited.decision), "measured", tmp_path, labelled=inputs)
    assert measured.artifact.manifest.metrics is not None
    assert measured.artifact.manifest.metrics.values["confident_share"] == 1


def test_8_bit_artifact(trained: Trained, tmp_path: Path) -> None:
    """The metrics and the golden answer are those of the 8-bit graph, and the service returns that answer."""
    exported = export(trained, "tiny", tmp_path, quantize=True, labelled=labelled(trained))
    manifest = read_artifact(exported.artifact.path).manifest
    assert (manifest.precision, manifest.convolution_widths, manifest.leading_padding) == ("uint8", (2, 3), 3)
    assert [check.against for check in manifest.parity] == ["Keras' ONNX graph", *["Keras"] * 4, *["itself"] * 3]
    made_up, six = manifest.rounding
    assert (made_up.inputs, made_up.examples, made_up.accuracy) == ("generated ids", 256, None)
    assert 0 < made_up.mean_difference < made_up.largest_difference < 0.1
    assert (six.inputs, six.examples, six.accuracy, six.float32_accuracy) == ("six texts", 6, 1.0, 1.0)
    assert manifest.metrics is not None
    assert (manifest.metrics.measured_on, manifest.metrics.values["accuracy"]) == ("six texts", 1.0)
    (prediction,) = Classifier(exported.artifact).predict([GOLDEN_TEXT])
    assert prediction.probabilities[1] == pytest.approx(manifest.golden.probabilities[0], abs=1e-6)


def test_8_bit_artifact_without_data(trained: Trained, tmp_path: Path) -> None:
    """An 8-bit artifact does not contain the metrics of the run."""
    assert trained.metrics is not None
    manifest = export(trained, "tiny", tmp_path, quantize=True).artifact.manifest
    assert manifest.metrics is None
    assert [each.inputs for each in manifest.rounding] == ["generated ids"]


def test_8_bit_graph_that_is_less_accurate(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An 8-bit graph that loses accuracy, or changes a probability too much, is not published."""

    def turned(family: Family, *_: object) -> onnx.ModelProto:
        last = family.head[-1]
        return quantized_graph(replace(family, head=(*family.head[:-1], replace(last, kernel=-last.kernel))))

    monkeypatch.setattr(exporter, "quantized_graph", turned)
    monkeypatch.setattr("sentiment_conv1d.export.checks.quantization_error.MAX_DIFFERENCE", 1.0)
    with pytest.raises(QuantizationError, match=r"six texts: the accuracy is .* with 8 bits and 1.0000 in float32"):
        export(trained, "tiny", tmp_path / "repository", quantize=True, labelled=labelled(trained))
    monkeypatch.setattr("sentiment_conv1d.export.checks.quantization_error.MAX_DIFFERENCE", 1e-6)
    with pytest.raises(QuantizationError, match="generated ids: quantization changes a probability by"):
        export(trained, "tiny", tmp_path / "repository", quantize=True)
    assert list(tmp_path.iterdir()) == []


def test_8_bit_graph_that_is_wrong_for_expected_answers(tmp_path: Path) -> None:
    """The quantization error is measured on expected texts too: generated ids may not contain the words that matter."""
    words, length = 500, 20
    embedding, filters, answer = layers.Embedding(words + 3, 1), layers.Conv1D(1, 1), layers.Dense(1, "sigmoid")
    chain = [embedding, filters, layers.GlobalMaxPooling1D(), answer]
    model = keras.Sequential([keras.Input((length,), dtype="int32"), *chain])
    rows = np.full((words + 3, 1), 100, np.float32)  # all words but the first ones decide at once
    rows[:13, 0] = [0, 0, 0, *np.linspace(0, 0.5, 10)]
    for layer, weights in ((embedding, [rows]), (filters, [[[[1]]], [0]]), (answer, [[[40]], [-10]])):
        layer.set_weights([np.array(each, np.float32) for each in weights])
    trained = Trained(model, tokenizer(words, length), LABELS)
    texts = [f"w{number}" for number in range(10)]
    padded = trained.input_shape.pad([trained.tokenizer.encode(text).ids for text in texts])
    expected = Expected(texts, trained.predict(padded))
    with pytest.raises(QuantizationError, match=r"expected answers: quantization changes a probability by 0\.\d+"):
        export(trained, "tiny", tmp_path / "repository", quantize=True, expected=expected)
    assert list(tmp_path.iterdir()) == []


def test_8_bit_form_of_a_model_outside_the_family(recurrent: keras.Model, trained: Trained, tmp_path: Path) -> None:
    """The error contains the reason why the model cannot be folded."""
    other = Trained(recurrent, trained.tokenizer, LABELS)
    with pytest.raises(ExportError, match=r"only a model of the Conv1D family has an 8-bit form: layer .* is where"):
        export(other, "recurrent", tmp_path / "repository", quantize=True)
    assert list(tmp_path.iterdir()) == []


def unbuilt() -> keras.Model:
    return keras.Sequential([layers.Embedding(IDS, 3), layers.GlobalMaxPooling1D(), dense(1, "sigmoid")])


def over_vectors() -> keras.Model:
    return keras.Sequential([keras.Input((SEQUENCE_LENGTH, 2)), layers.GlobalMaxPooling1D(), dense(1, "sigmoid")])


def two_outputs() -> keras.Model:
    tokens = keras.Input((SEQUENCE_LENGTH,), dtype="int32")
    pooled = layers.GlobalMaxPooling1D()(layers.Embedding(IDS, 3)(tokens))
    return keras.Model(tokens, [dense(1, "sigmoid")(pooled), dense(1, "sigmoid")(pooled)])


def astray() -> keras.Model:
    return small(
        layers.BatchNormalization(moving_variance_initializer=keras.initializers.Constant(-1)), dense(1, "sigmoid")
    )


@pytest.mark.parametrize(
    ("build", "labels", "reading", "message"),
    [
        (
            lambda: small(dense(1, "sigmoid")),
            ("a", "b", "c"),
            tokenizer(),
            r"\(256, 1\), which does not match 3 labels",
        ),
        (lambda: small(dense(3, "softmax")), LABELS, tokenizer(), r"\(256, 3\), which does not match 2 labels"),
        (lambda: small(dense(1, None), layers.Rescaling(100.0)), LABELS, tokenizer(), "rescaling does not return"),
        (astray, LABELS, tokenizer(), "returns NaN"),
        (
            lambda: small(dense(1, "sigmoid")),
            LABELS,
            tokenizer(words=IDS - 2),
            "does not take all 9 ids of the tokenizer",
        ),
        (
            lambda: small(dense(1, "sigmoid")),
            LABELS,
            tokenizer(max_tokens=7),
            r"must take the tokenizer's ids \[batch, 7\]",
        ),
        (over_vectors, LABELS, tokenizer(), r"must take the tokenizer's ids \[batch, 6\]"),
        (unbuilt, LABELS, tokenizer(), "0 inputs and 0 outputs"),
        (two_outputs, LABELS, tokenizer(), "1 inputs and 2 outputs"),
    ],
    ids=[
        "too many labels",
        "too few labels",
        "logits",
        "nan",
        "vocabulary",
        "length",
        "rank",
        "unbuilt",
        "two outputs",
    ],
)
def test_invalid_models(
    build: Callable[[], keras.Model], labels: tuple[str, ...], reading: Tokenizer, message: str, tmp_path: Path
) -> None:
    """The message says what does not match, and nothing is written."""
    keras.utils.set_random_seed(4)
    with pytest.raises(ExportError, match=message):
        export(Trained(build(), reading, labels), "x", tmp_path / "repository")
    assert list(tmp_path.iterdir()) == []


def test_vocabulary_that_is_too_large(tmp_path: Path) -> None:
    """The highest id is always tested, even if random ids would rarely contain it."""
    model = keras.Sequential(
        [
            keras.Input((2,), dtype="int32"),
            layers.Embedding(50_000, 1),
            layers.GlobalAveragePooling1D(),
            dense(1, "sigmoid"),
        ]
    )
    with pytest.raises(ExportError, match="does not take all 50001 ids"):
        export(Trained(model, tokenizer(words=50_001 - 3, max_tokens=2), LABELS), "x", tmp_path)


def test_file_as_a_repository(trained: Trained, tmp_path: Path) -> None:
    """A repository that is a file is refused by name."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be written to"):
        export(trained, "tiny", tmp_path / "file")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("a",), "labels: .*at least 2 items"),
        (("a", ""), "labels.1: .*at least 1 character"),
        (("a", "a"), "labels repeat"),
        (("a", "b" * 201), "labels.1: .*at most 200 characters"),
    ],
    ids=["one", "empty", "twice", "long"],
)
def test_invalid_labels(labels: tuple[str, ...], message: str, tmp_path: Path) -> None:
    """Invalid labels are refused before the model is read."""
    with pytest.raises(ExportError, match=message):
        from_keras_file(tmp_path / "none.keras", labels, tmp_path / "none.json")


def test_invalid_files(run_path: Path, tmp_path: Path) -> None:
    """The message names a missing file and an invalid model, tokenizer or run."""
    model, reading = run_path / "model.keras", run_path / "tokenizer.json"
    (tmp_path / "bad.keras").write_bytes(b"no model")
    (tmp_path / "bad.json").write_text(json.dumps({"version": "1.0"}))
    for arguments, message in (
        ((tmp_path / "none.keras", reading), r"none\.keras: there is no such file"),
        ((model, tmp_path / "none.json"), r"none\.json: there is no such file"),
        ((tmp_path / "bad.keras", reading), r"bad\.keras: not a Keras model that can be loaded"),
        ((model, tmp_path / "bad.json"), r"bad\.json: neither a word index"),
    ):
        with pytest.raises(ExportError, match=message):
            from_keras_file(arguments[0], LABELS, arguments[1])
    broken = Path(shutil.copytree(run_path, tmp_path / "run"))
    (broken / "model.keras").write_bytes(b"no model")
    with pytest.raises(ExportError, match=r"model\.keras: not a Keras model"):
        from_run(read_run(broken))
