"""The classifier: from texts to predictions, and the checks of a model when it is opened."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.artifact import Artifact, ArtifactError
from sentiment_conv1d.artifact.input_shape import Rows
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.engine import Engine
from sentiment_conv1d.inference.length_buckets import cuda_buckets
from sentiment_conv1d.inference.prediction import Prediction
from tests.service.artifacts import LABELS, MAX_TOKENS, WEIGHTS, WORDS, probabilities, publish_table, table_graph

#: Any text, and texts of words that the shipped model knows.
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(["a", "great", "film,", "the", "worst", "plot!"])).map(" ".join))


def assert_same(first: Prediction, second: Prediction) -> None:
    """Assert that predictions are equal except for the last bits, which depend on the shape of a run."""
    assert first.label == second.label
    assert first[3:] == second[3:]
    np.testing.assert_allclose(first.probabilities, second.probabilities, atol=1e-6)


@given(texts=st.lists(TEXTS, max_size=65))
def test_batch_equals_singles(classifier: Classifier, texts: list[str]) -> None:
    """The predictions of a batch equal those of single texts, in the same order."""
    together = classifier.predict(texts)
    assert len(together) == len(texts)
    for text, prediction in zip(texts, together, strict=True):
        assert_same(prediction, classifier.predict([text])[0])


def test_run_by_run(classifier: Classifier) -> None:
    """Predictions are the same if a batch runs in steps or at once."""
    encodings = classifier.encode(["film", *("film " * 380 for _ in range(33))])
    runs = list(classifier.runs(encodings))
    predictions, count = classifier.classify(encodings)
    assert len(runs) == count > 1
    assert sorted(text for some in runs for text in some) == list(range(34))
    assert {text: each for some in runs for text, each in some.items()} == dict(enumerate(predictions))


def test_one_string(classifier: Classifier) -> None:
    """One string is refused, because its characters would be taken for texts."""
    for method in (classifier.predict, classifier.encode):
        with pytest.raises(TypeError, match="texts: several strings are needed, not one: put it into a list"):
            method("A gripping film.")


@given(text=TEXTS)
def test_prediction(classifier: Classifier, text: str) -> None:
    """The label is the more probable one, the score is its probability, and the probabilities add up to 1."""
    [prediction] = classifier.predict([text])
    assert prediction.score == max(prediction.probabilities)
    assert prediction.label == classifier.labels[int(np.argmax(prediction.probabilities))]
    assert sum(prediction.probabilities) == pytest.approx(1, abs=1e-6)
    assert prediction.unknown_tokens is not None and prediction.tokens >= 1 + prediction.unknown_tokens
    assert prediction.truncated == (prediction.tokens > classifier.manifest.max_tokens)


def test_sentiment(classifier: Classifier) -> None:
    """Positive reviews are positive, and negative ones negative."""
    praise, blame = classifier.predict(["A wonderful, moving film. Perfect!", "The worst film ever: dull and awful."])
    assert (praise.label, blame.label) == ("positive", "negative")
    assert min(praise.score, blame.score) > 0.9


def test_golden(classifier: Classifier) -> None:
    """The golden text gets the golden answer."""
    golden = classifier.manifest.golden
    [prediction] = classifier.predict([golden.text])
    assert prediction.probabilities[1] == pytest.approx(golden.probabilities[0], abs=1e-5)


def test_long_review_is_truncated(classifier: Classifier) -> None:
    """A model reads the last ids of a long review; the whole review is counted."""
    ending = "wonderful " * (classifier.manifest.max_tokens - 1)
    fits, [cut] = classifier.predict([ending])[0], classifier.predict(["awful " * 100 + "qwertyuiop " + ending])
    assert (fits.tokens, fits.truncated) == (400, False)
    assert (cut.tokens, cut.unknown_tokens, cut.truncated) == (501, 1, True)
    assert cut.label == "positive"
    beginnings = [f"{beginning} {'wonderful ' * 400}" for beginning in ("awful", "great", "")]
    assert len({prediction.probabilities for prediction in classifier.predict(beginnings)}) == 1


def test_unknown_words(classifier: Classifier) -> None:
    """Unknown words are counted, without the start id."""
    [prediction] = classifier.predict(["qwertyuiop film asdfghjkl"])
    assert (prediction.tokens, prediction.unknown_tokens) == (4, 2)


@given(words=st.lists(st.sampled_from([*WORDS, "unheard"]), max_size=MAX_TOKENS - 1))
def test_several_labels(tickets: Classifier, words: list[str]) -> None:
    """A softmax model returns its most probable label and a probability for each label, in their order."""
    [prediction] = tickets.predict([" ".join(words)])
    expected = probabilities(words)
    np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-6)
    assert prediction.label == LABELS[int(np.argmax(prediction.probabilities))]
    assert prediction.score == max(prediction.probabilities)


@pytest.fixture(scope="module")
def tickets(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """Return a model of three labels."""
    return Classifier(publish_table(tmp_path_factory.mktemp("repository")))


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Record the rows and columns of every run."""
    found = []
    run = Engine.run

    def recording(engine: Engine, rows: Rows, sequence_length: int, height: int = 0) -> npt.NDArray[np.float32]:
        found.append((max(len(rows), height), sequence_length))
        return run(engine, rows, sequence_length, height)

    monkeypatch.setattr(Engine, "run", recording)
    return found


def test_graph_of_one_length(tmp_path: Path, shapes: list[tuple[int, int]]) -> None:
    """If the graph accepts only its full length, every review is padded to it."""
    graph = table_graph(shape=("batch", MAX_TOKENS))
    classifier = Classifier(publish_table(tmp_path, graph, leading_padding=None))
    shapes.clear()
    predictions = classifier.predict(["", "praise", "question " * 20])
    assert [prediction.label for prediction in predictions][1:] == ["thanks", "asks"]
    assert shapes == [(3, MAX_TOKENS)]


@pytest.fixture(scope="module")
def padded(artifact: Artifact) -> Classifier:
    """Return the shipped model with the length buckets of a GPU."""
    classifier = Classifier(artifact)
    classifier.buckets = cuda_buckets(4, artifact.manifest.max_tokens)
    return classifier


@given(texts=st.lists(TEXTS, max_size=20))
def test_length_buckets_of_a_gpu(padded: Classifier, classifier: Classifier, texts: list[str]) -> None:
    """With few shapes, and therefore rows and columns of padding, the answers are the same."""
    for prediction, expected in zip(padded.predict(texts), classifier.predict(texts), strict=True):
        assert_same(prediction, expected)


def test_shapes_of_a_gpu_are_warm(
    artifact: Artifact, shapes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If an execution provider needs fixed shapes, each is warmed up before the first request, and no other runs."""
    buckets = cuda_buckets(4, artifact.manifest.max_tokens)
    monkeypatch.setattr("sentiment_conv1d.inference.classifier.CPU_BUCKETS", buckets)
    monkeypatch.setattr("sentiment_conv1d.inference.classifier.native_buckets", lambda max_tokens: buckets)
    classifier = Classifier(artifact)
    assert set(shapes[1:]) == set(buckets.shapes())
    shapes.clear()
    classifier.predict(["word " * number for number in range(0, 500, 30)])
    assert set(shapes) <= set(buckets.shapes())


def refusal(artifact: Artifact) -> str:
    with pytest.raises(ArtifactError) as error:
        Classifier(artifact)
    assert str(artifact.path / "model.onnx") in str(error.value)
    return str(error.value)


def test_wrong_golden_answer(artifact: Artifact) -> None:
    """A graph with a wrong golden answer is refused, and the message names the model."""
    wrong = artifact.manifest.golden.probabilities[0] - 0.001
    golden = artifact.manifest.golden.model_copy(update={"probabilities": (wrong,)})
    changed = replace(artifact, manifest=artifact.manifest.model_copy(update={"golden": golden}))
    assert f"instead of [{wrong}]" in refusal(changed)


def test_graph_of_another_model(artifact: Artifact) -> None:
    """A graph with a wrong number of probabilities is refused."""
    many = np.zeros((artifact.manifest.vocabulary_size, 3), np.float32)
    assert "golden text" in refusal(replace(artifact, contents={"model.onnx": table_graph(many)}))


def test_graph_of_another_length(tmp_path: Path) -> None:
    """A graph of a fixed length is refused if its manifest states short padding or another length."""
    short = publish_table(tmp_path, table_graph(shape=("batch", MAX_TOKENS)), leading_padding=0)
    other = publish_table(tmp_path, table_graph(shape=("batch", MAX_TOKENS + 1)), leading_padding=None)
    assert f"takes {MAX_TOKENS} tokens" in refusal(short)
    assert f"takes {MAX_TOKENS + 1} tokens, not {MAX_TOKENS}" in refusal(other)


def test_graph_of_one_review(tmp_path: Path) -> None:
    """A graph without a batch dimension is refused when it is loaded."""
    refusal(publish_table(tmp_path, table_graph(shape=(1, "time"))))


def test_graph_with_too_few_words(tmp_path: Path) -> None:
    """A graph that does not accept every id of the vocabulary is refused when it is loaded."""
    refusal(publish_table(tmp_path, table_graph(WEIGHTS[:-1])))
