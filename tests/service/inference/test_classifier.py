"""The classifier: texts in, predictions out, and no model that is not the one its manifest speaks of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.model.artifact import Artifact, ArtifactError
from sentiment_conv1d.model.input_shape import Rows
from sentiment_conv1d.service.inference.classifier import Classifier
from sentiment_conv1d.service.inference.engine import Engine
from sentiment_conv1d.service.inference.length_buckets import cuda_buckets
from sentiment_conv1d.service.inference.prediction import Prediction
from tests.service.artifacts import LABELS, MAX_TOKENS, WEIGHTS, WORDS, probabilities, publish_table, table_graph

#: Any text, and texts of words that the shipped model knows.
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(["a", "great", "film,", "the", "worst", "plot!"])).map(" ".join))


def assert_same(first: Prediction, second: Prediction) -> None:
    """Equal up to the last bits of the probabilities, which a run's shape may change."""
    assert first.label == second.label
    assert first[3:] == second[3:]
    np.testing.assert_allclose(first.probabilities, second.probabilities, atol=1e-6)


@given(texts=st.lists(TEXTS, max_size=65))
def test_batch_equals_singles(classifier: Classifier, texts: list[str]) -> None:
    """A batch gets what its texts would get one by one, in their order."""
    together = classifier.predict(texts)
    assert len(together) == len(texts)
    for text, prediction in zip(texts, together, strict=True):
        assert_same(prediction, classifier.predict([text])[0])


def test_run_by_run(classifier: Classifier) -> None:
    """Run by run of the graph, several texts have the predictions that they have at once."""
    encodings = classifier.encode(["film", "film " * 100, "film " * 300, "film " * 301])
    runs = list(classifier.runs(encodings))
    predictions, count = classifier.classify(encodings)
    assert len(runs) == count == 3
    assert sorted(text for some in runs for text in some) == [0, 1, 2, 3]
    assert {text: each for some in runs for text, each in some.items()} == dict(enumerate(predictions))


@given(text=TEXTS)
def test_prediction(classifier: Classifier, text: str) -> None:
    """The label is the likelier one, the score is its probability, and the probabilities are one in all."""
    [prediction] = classifier.predict([text])
    assert prediction.score == max(prediction.probabilities)
    assert prediction.label == classifier.labels[int(np.argmax(prediction.probabilities))]
    assert sum(prediction.probabilities) == pytest.approx(1, abs=1e-6)
    assert prediction.tokens >= 1 + prediction.unknown_tokens
    assert prediction.truncated == (prediction.tokens > classifier.manifest.max_tokens)


def test_sentiment(classifier: Classifier) -> None:
    """Praise is positive, blame is negative."""
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
    """Unknown words are counted, the start id is not one of them."""
    [prediction] = classifier.predict(["qwertyuiop film asdfghjkl"])
    assert (prediction.tokens, prediction.unknown_tokens) == (4, 2)


@given(words=st.lists(st.sampled_from([*WORDS, "unheard"]), max_size=MAX_TOKENS - 1))
def test_several_labels(tickets: Classifier, words: list[str]) -> None:
    """A softmax model answers with the likeliest of its labels and a probability for each, in their order."""
    [prediction] = tickets.predict([" ".join(words)])
    expected = probabilities(words)
    np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-6)
    assert prediction.label == LABELS[int(np.argmax(prediction.probabilities))]
    assert prediction.score == max(prediction.probabilities)


@pytest.fixture(scope="module")
def tickets(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """A model of three labels."""
    return Classifier(publish_table(tmp_path_factory.mktemp("repository")))


def test_graph_of_one_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the graph takes only its full length, every review is padded to it."""
    graph = table_graph(shape=("batch", MAX_TOKENS))
    classifier = Classifier(publish_table(tmp_path, graph, leading_padding=None))
    shapes = []
    run = Engine.run

    def recording(engine: Engine, rows: Rows, sequence_length: int, height: int = 0) -> npt.NDArray[np.float32]:
        shapes.append((max(len(rows), height), sequence_length))
        return run(engine, rows, sequence_length, height)

    monkeypatch.setattr(Engine, "run", recording)
    predictions = classifier.predict(["", "praise", "question " * 20])
    assert [prediction.label for prediction in predictions][1:] == ["thanks", "asks"]
    assert shapes == [(3, MAX_TOKENS)]


@pytest.fixture(scope="module")
def padded(artifact: Artifact) -> Classifier:
    """The shipped model with the buckets of a GPU."""
    return Classifier(artifact, buckets=cuda_buckets(4, artifact.manifest.max_tokens))


@given(texts=st.lists(TEXTS, max_size=20))
def test_length_buckets_of_a_gpu(padded: Classifier, classifier: Classifier, texts: list[str]) -> None:
    """With few shapes, rows and columns of padding among them, the answers are the same."""
    for prediction, expected in zip(padded.predict(texts), classifier.predict(texts), strict=True):
        assert_same(prediction, expected)


def test_shapes_of_a_gpu_are_warm(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are only certain shapes, each has memory and has run before the first request; no other ever runs."""
    shapes = []
    run = Engine.run

    def recording(engine: Engine, rows: Rows, sequence_length: int, height: int = 0) -> npt.NDArray[np.float32]:
        shapes.append((max(len(rows), height), sequence_length))
        return run(engine, rows, sequence_length, height)

    monkeypatch.setattr(Engine, "run", recording)
    buckets = cuda_buckets(4, artifact.manifest.max_tokens)
    classifier = Classifier(artifact, buckets=buckets)
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
    """A graph that answers the golden text otherwise than its manifest says is refused by name."""
    golden = artifact.manifest.golden.model_copy(update={"probabilities": (0.5,)})
    changed = replace(artifact, manifest=artifact.manifest.model_copy(update={"golden": golden}))
    assert "instead of [0.5]" in refusal(changed)


def test_graph_of_another_model(artifact: Artifact) -> None:
    """A graph that answers with another number of probabilities is refused."""
    many = np.zeros((artifact.manifest.vocabulary_size, 3), np.float32)
    assert "golden text" in refusal(replace(artifact, contents={"model.onnx": table_graph(many)}))


def test_graph_of_another_length(tmp_path: Path) -> None:
    """A graph that takes only one length is refused where the manifest promises short reviews, or another length."""
    short = publish_table(tmp_path, table_graph(shape=("batch", MAX_TOKENS)), leading_padding=0)
    other = publish_table(tmp_path, table_graph(shape=("batch", MAX_TOKENS + 1)), leading_padding=None)
    assert f"takes {MAX_TOKENS} tokens" in refusal(short)
    assert f"takes {MAX_TOKENS + 1} tokens, not {MAX_TOKENS}" in refusal(other)


def test_graph_of_one_review(tmp_path: Path) -> None:
    """A graph that takes no batches is refused when it is loaded, not when a batch comes."""
    refusal(publish_table(tmp_path, table_graph(shape=(1, "time"))))


def test_graph_with_too_few_words(tmp_path: Path) -> None:
    """A graph that does not know every id of the vocabulary is refused when it is loaded, not when the word comes."""
    refusal(publish_table(tmp_path, table_graph(WEIGHTS[:-1])))
