"""Shares add up to the logit for every text, label and network of the family, and agree with the gradient."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import parquet

from sentiment_conv1d.artifact.artifact import Artifact, read_artifact
from sentiment_conv1d.artifact.explaining.attribution import attribute
from sentiment_conv1d.artifact.explaining.forward import forward
from sentiment_conv1d.artifact.explaining.network import Network
from sentiment_conv1d.artifact.tokenizer import WordTokenizer
from sentiment_conv1d.export.graphs.onnx_file import folded_graph
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.errors import NotExplainable, UnknownName
from sentiment_conv1d.inference.explaining.explainer import Explanation
from sentiment_conv1d.inference.graph_file import read_network
from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.training.network import build
from tests.ids import pad
from tests.inference.explaining.families import OPINIONS, draw, publish, several_widths
from tests.processes import MODEL_REPOSITORY, PROJECT
from tests.service import artifacts
from tests.service.reviews import reviews

IMDB = PROJECT.parent / "shared" / "imdb" / "test.parquet"

#: No word, one word, unknown words, repeated words, unusual Unicode, and more words than the model reads.
TEXTS = [
    "",
    "!?",
    "great",
    "qwertz asdf",
    "great " * 7,
    "Éblouissant ΣΑΣ İ film\r\vtoo \U0001f600 good",
    "bad film " * 400,
]


def explained(classifier: Classifier, text: str, label: str | None = None) -> tuple[Prediction, Explanation]:
    [encoding] = classifier.encode((text,))
    [prediction], _ = classifier.classify((encoding,))
    return prediction, classifier.explainer.explain(text, encoding, label or prediction.label)


def assert_adds_up(explanation: Explanation, tolerance: float = 1e-4) -> None:
    parts = [explanation.bias, explanation.padding, *(word.share for word in explanation.words)]
    assert sum(parts) == pytest.approx(explanation.logit, abs=tolerance, rel=0)


def assert_explains(classifier: Classifier, text: str) -> None:
    """Assert that the shares add up to the logit, the logit gives the probability, and words have the right offsets."""
    prediction, explanation = explained(classifier, text)
    assert_adds_up(explanation)
    assert 1 / (1 + np.exp(-explanation.logit)) == pytest.approx(prediction.probabilities[1], abs=1e-5)
    assert len(explanation.words) == min(prediction.tokens - 1, classifier.manifest.max_tokens)
    assert [word.text for word in explanation.words] == [text[word.start : word.end] for word in explanation.words]
    read = WordTokenizer.split(text)[max(0, prediction.tokens - 1 - len(explanation.words)) :]
    assert [WordTokenizer.split(word.text) for word in explanation.words] == [[word] for word in read]
    if not prediction.truncated:
        assert sum(not word.known for word in explanation.words) == prediction.unknown_tokens


@pytest.fixture(scope="module")
def network(artifact: Artifact) -> Network:
    network = read_network(artifact.graph)
    assert network is not None
    return network


def test_generated_reviews(classifier: Classifier) -> None:
    """The shares, the padding and the bias of 1,000 reviews as long as IMDB's add up to their logits."""
    for review in reviews(1000, seed=5):
        assert_explains(classifier, review)


@pytest.mark.skipif(not IMDB.exists(), reason="the IMDB reviews are not there")
def test_imdb_reviews(classifier: Classifier) -> None:
    """The shares of 1,000 real reviews add up to their logits."""
    for review in parquet.read_table(IMDB, columns=["text"])["text"].slice(0, 1000).to_pylist():
        assert_explains(classifier, review)


@given(st.text(max_size=300))
@example("\ud800 lone \udfff surrogates")
@example("A.B-c'd\x00e\x85f\u00a0g")
def test_any_text(classifier: Classifier, text: str) -> None:
    """The shares of any text add up to its logit."""
    assert_explains(classifier, text)


@given(st.lists(st.sampled_from([*TEXTS, "not", "bad", "a", ",", "the the the"]), max_size=30).map(" ".join))
def test_any_words(classifier: Classifier, text: str) -> None:
    """The shares of known words in any order add up to the logit, even if windows repeat."""
    assert_explains(classifier, text)


@given(st.text())
def test_spans(text: str) -> None:
    """The tokenizer returns a span for every word."""
    assert len(list(WordTokenizer([], 1).spans(text))) == len(WordTokenizer.split(text))


def test_truncated_text(classifier: Classifier) -> None:
    """In a text that is too long, the words that the model read have shares, and the start id is not among them."""
    text = "unread " * 50 + "great " * 400
    prediction, explanation = explained(classifier, text)
    assert prediction.truncated
    assert [word.text for word in explanation.words] == ["great"] * 400
    assert explanation.words[0].start == len("unread ") * 50
    assert explanation.padding == 0


def test_filters(classifier: Classifier, network: Network) -> None:
    """The filters that move the logit most come first, with the words where they are highest."""
    assert network.embedding is not None
    text = "I did not like it, but the ending: simply wonderful!"
    [encoding] = classifier.encode((text,))
    everything = classifier.explainer.explain(text, encoding, "positive", 250).filters
    assert classifier.explainer.explain(text, encoding, "positive").filters == everything[:10]
    assert classifier.explainer.explain(text, encoding, "positive", 0).filters == []
    moves = [abs(each.activation * each.weight) for each in everything]
    assert moves == sorted(moves, reverse=True) and moves[-1] > 0
    for each in everything[:10]:
        bank = network.banks[0]
        rows = network.embedding[pad([encoding.ids], 400)[0]]
        curve = [float((rows[t : t + 3] * bank.kernel[:, :, each.index]).sum()) for t in range(398)]
        assert each.activation == pytest.approx(max(0, max(curve) + bank.bias[each.index]), abs=1e-5)
        best = int(np.argmax(curve)) - (400 - len(list(WordTokenizer([], 1).spans(text))))
        words = list(WordTokenizer([], 1).spans(text))[max(best, 0) : best + 3]
        assert (each.start, each.end) == ((words[0][0], words[-1][1]) if words else (0, 0))


def test_ties_go_to_the_first(classifier: Classifier) -> None:
    """If a window occurs twice, the first one gets the whole share."""
    _, explanation = explained(
        classifier, "qqq qqq simply wonderful acting qqq qqq qqq simply wonderful acting qqq qqq"
    )
    shares = [word.share for word in explanation.words]
    first, second = shares[2:5], shares[8:11]
    assert sum(map(abs, first)) > 1
    assert np.abs(second).max() < np.abs(first).max() / 10
    assert all(each.end <= len("qqq qqq simply wonderful acting qqq qqq qqq") for each in explanation.filters)


@pytest.mark.parametrize("label", artifacts.LABELS)
def test_several_widths_and_labels(tmp_path: Path, label: str) -> None:
    """The shares of filters of several widths add up to the logit of every label."""
    classifier = Classifier(publish(tmp_path, several_widths()))
    for text in ("", "praise", "praise question nothing complaint", "question " * 20):
        _, explanation = explained(classifier, text, label)
        assert_adds_up(explanation)
        assert explanation.label == label
        assert {each.width for each in explanation.filters} <= {2, 3, 4}
    logits = np.array([explained(classifier, "praise", each)[1].logit for each in artifacts.LABELS])
    assert np.exp(logits) / np.exp(logits).sum() == pytest.approx(explained(classifier, "praise")[0].probabilities)


@pytest.mark.parametrize("label", OPINIONS)
def test_contrast(tmp_path: Path, label: str) -> None:
    """Whichever label is explained, the contrast is the explanation of positive minus that of negative."""
    classifier = Classifier(publish(tmp_path, several_widths(), labels=OPINIONS))
    for text in ("", "praise", "praise question nothing complaint", "question " * 20):
        prediction, explanation = explained(classifier, text, label)
        assert_adds_up(explanation)
        contrast = explanation.contrast
        assert contrast is not None
        assert (contrast.label, contrast.against) == ("positive", "negative")
        assert contrast.bias + contrast.padding + sum(contrast.shares) == pytest.approx(contrast.log_odds, abs=1e-4)
        _, positive, negative = prediction.probabilities
        assert contrast.log_odds == pytest.approx(float(np.log(positive / negative)), abs=1e-4)
        (_, one), (_, other) = explained(classifier, text, "positive"), explained(classifier, text, "negative")
        assert contrast.padding == pytest.approx(one.padding - other.padding, abs=1e-5)
        differences = [first.share - second.share for first, second in zip(one.words, other.words, strict=True)]
        assert contrast.shares == pytest.approx(differences, abs=1e-5)


@pytest.mark.parametrize(
    "labels", [artifacts.LABELS, ("negative", "positive", "mixed"), ("Negative", "neutral", "positive")]
)
def test_labels_without_a_contrast(tmp_path: Path, labels: tuple[str, ...]) -> None:
    """Without the labels negative, neutral and positive, an explanation has no contrast."""
    classifier = Classifier(publish(tmp_path, several_widths(), labels=labels))
    assert explained(classifier, "praise question")[1].contrast is None


_BANKS = st.tuples(st.integers(1, 4), st.integers(1, 4), st.sampled_from(["Relu", "Identity", "Tanh", "Softplus"]))
_HIDDEN = st.tuples(st.integers(1, 4), st.sampled_from(["Relu", "Identity", "Sigmoid", "Softsign"]))


@given(
    seed=st.integers(0, 2**32 - 1),
    banks=st.lists(_BANKS, min_size=1, max_size=3),
    hidden=st.lists(_HIDDEN, max_size=2),
    outputs=st.integers(1, 4),
    bias=st.booleans(),
    tokens=st.lists(st.integers(0, 5), min_size=4, max_size=8),
)
def test_any_network(
    seed: int,
    banks: list[tuple[int, int, str]],
    hidden: list[tuple[int, str]],
    outputs: int,
    bias: bool,
    tokens: list[int],
) -> None:
    """Shares add up for every label and every contrast of any folded graph, for all widths, layers and activations."""
    network = read_network(
        folded_graph(draw(seed, banks=banks, hidden=hidden, outputs=outputs, bias=bias)).SerializeToString()
    )
    assert network is not None
    taken = forward(network, np.array(tokens, np.int32))
    for unit in range(outputs):
        attribution = attribute(network, taken, unit)
        parts = attribution.bias + attribution.shares.sum()
        scale = abs(attribution.bias) + np.abs(attribution.shares).sum()
        assert parts == pytest.approx(attribution.logit, abs=1e-4 + 1e-6 * scale)
        if outputs > 1:
            other = attribute(network, taken, unit - 1)
            difference = attribute(network, taken, unit, unit - 1)
            scale += abs(other.bias) + np.abs(other.shares).sum()
            assert difference.logit == pytest.approx(attribution.logit - other.logit)
            assert difference.bias == pytest.approx(attribution.bias - other.bias, abs=1e-4 + 1e-6 * scale)
            assert difference.shares == pytest.approx(attribution.shares - other.shares, abs=1e-4 + 1e-6 * scale)


@pytest.fixture(scope="module")
def keras_model(artifact: Artifact, network: Network) -> keras.Model:
    """Build the Keras network with the served weights, from the pooled values and the embedding to the logit."""
    configuration = Configuration.model_validate(artifact.manifest.configuration)
    model = build(configuration, artifact.manifest.vocabulary_size)
    weights = [network.embedding, network.banks[0].kernel, network.banks[0].bias]
    model.set_weights([*weights, *(part for dense in network.head for part in (dense.kernel, dense.bias))])
    model.get_layer("probabilities").activation = keras.activations.linear
    return model


def test_gradient_times_input(classifier: Classifier, network: Network, keras_model: keras.Model) -> None:
    """For 100 reviews, a filter's weight is Keras' gradient at its pooled value, and the shares follow from it.

    Gradient times input on the pooled layer is what each filter moves; on the embedding it is what each word adds.
    TensorFlow shares a tie among all places, so words are compared where each filter that counts has one highest place.
    """
    inner = keras.Model(
        keras_model.inputs[0], [keras_model.get_layer(name).output for name in ("embedding", "pool_3", "probabilities")]
    )
    after_embedding = keras.Sequential([keras_model.get_layer("convolution_3"), keras_model.get_layer("pool_3")])
    after_pooling = keras.Sequential(
        [keras_model.get_layer(name) for name in ("hidden", "hidden_relu", "probabilities")]
    )
    compared = 0
    for review in reviews(100, seed=6):
        [encoding] = classifier.encode((review,))
        explanation = classifier.explainer.explain(review, encoding, "positive", 250)
        _, inspection = classifier.explainer.inspect(review, encoding, "positive")
        [bank] = inspection.banks
        ids = pad([encoding.ids], 400)
        embedded, pooled, logit = inner(ids)
        with tf.GradientTape() as tape:
            tape.watch(pooled)
            answer = after_pooling(pooled)
        gradient = tape.gradient(answer, pooled).numpy()[0]
        assert float(logit[0, 0]) == pytest.approx(explanation.logit, abs=1e-4)
        assert bank.pooled == pytest.approx(pooled.numpy()[0], abs=1e-5)
        assert bank.weights == pytest.approx(gradient, abs=1e-5)
        moved = {each.index: each.activation * each.weight for each in explanation.filters}
        product = gradient * pooled.numpy()[0]
        assert [moved.get(index, 0.0) for index in range(250)] == pytest.approx(product, abs=1e-5)

        with tf.GradientTape() as tape:
            tape.watch(embedded)
            answer = after_pooling(after_embedding(embedded))
        shares = (tape.gradient(answer, embedded) * embedded).numpy()[0].sum(axis=1)
        if not _has_ties(network, ids[0], gradient):
            compared += 1
            first = len(shares) - len(explanation.words)
            assert [word.share for word in explanation.words] == pytest.approx(shares[first:], abs=1e-4)
            assert explanation.padding == pytest.approx(shares[:first].sum(), abs=1e-4)
    assert compared >= 20


def _has_ties(network: Network, ids: npt.NDArray[np.int32], gradient: npt.NDArray[np.float32]) -> bool:
    """Whether a filter with a weight is highest in two places that are not both padding."""
    [pooled] = forward(network, ids).pooled
    places = pooled.feature_map >= pooled.feature_map.max(axis=0) - 1e-6
    counting = (pooled.values > 0) & (gradient != 0)
    words = int(np.flatnonzero(ids)[0])
    several = places[: max(words - 2, 0)].any(axis=0) + places[max(words - 2, 0) :].sum(axis=0) > 1
    return bool((several & counting).any())


def test_other_models(tmp_path: Path) -> None:
    """A model outside the family raises `NotExplainable`."""
    for graph in [artifacts.publish_table(tmp_path / "table").graph, b"no graph", b""]:
        assert read_network(graph) is None
    table = Classifier(artifacts.publish_table(tmp_path))
    with pytest.raises(NotExplainable, match="no exact explanation for model 'tickets'"):
        explained(table, "praise")


def test_unknown_label(classifier: Classifier) -> None:
    """An unknown label is refused, and the message lists the labels."""
    with pytest.raises(UnknownName, match="there is no 'neutral'; the labels are negative, positive"):
        explained(classifier, "fine", "neutral")


def test_inspection(classifier: Classifier, network: Network) -> None:
    """The numbers of an inspection follow from each other, from the ids to the logit."""
    assert network.embedding is not None
    text = "Warm, funny and wise."
    [encoding] = classifier.encode((text,))
    explainer = classifier.explainer
    explanation, shown = explainer.inspect(text, encoding, "positive", (3, 17), feature_map=True)
    assert len(shown.ids) == 400 and shown.first_word == 396
    assert shown.ids[shown.first_word :].tolist() == [word.id for word in explanation.words]
    assert np.array_equal(shown.embedding, network.embedding[shown.ids])
    [bank] = shown.banks
    assert bank.feature_map is not None and bank.feature_map.shape == (398, 250)
    assert np.array_equal(bank.feature_map[:, 17], shown.filter.curve)
    expected = [(shown.embedding[t : t + 3] * shown.filter.kernel).sum() for t in range(398)]
    assert shown.filter.curve == pytest.approx(expected, abs=1e-5)
    assert shown.filter.position == int(shown.filter.curve.argmax()) == bank.positions[17]
    assert shown.filter.activation == pytest.approx(max(0.0, shown.filter.curve.max() + shown.filter.bias))
    hidden, last = shown.layers
    assert (hidden.units, hidden.activations, last.units, last.activations) == (250, ("Relu",), 1, ())
    assert last.values[0] == pytest.approx(explanation.logit, abs=1e-5)
    assert float(hidden.values @ hidden.weights) == pytest.approx(
        explanation.logit - network.head[-1].bias[0], abs=1e-5
    )
    strongest = explainer.inspect(text, encoding, "positive")[1]
    assert strongest.filter.index == explanation.filters[0].index and strongest.banks[0].feature_map is None


def numbers(value: object) -> int:
    """Return how many numbers the arrays in a value have."""
    if isinstance(value, np.ndarray):
        return value.size
    if isinstance(value, list):
        return sum(map(numbers, value))
    fields = getattr(type(value), "__dataclass_fields__", ())
    return sum(numbers(getattr(value, name)) for name in fields)


@pytest.mark.parametrize("feature_map", [False, True])
@pytest.mark.parametrize("model", ["imdb-cnn", "imdb-cnn-8bit"])
def test_numbers_of_an_inspection(model: str, feature_map: bool) -> None:
    """How many numbers an inspection has is known before it is computed."""
    classifier = Classifier(read_artifact(MODEL_REPOSITORY / model / "1"))
    [encoding] = classifier.encode(("fine",))
    _, shown = classifier.explainer.inspect("fine", encoding, "positive", feature_map=feature_map)
    assert numbers(shown) == classifier.explainer.count_numbers(feature_map=feature_map)


def test_numbers_of_an_inspection_of_several_widths(tmp_path: Path) -> None:
    """Whichever filter is shown in full, the number is enough for it."""
    classifier = Classifier(publish(tmp_path, several_widths()))
    [encoding] = classifier.encode(("praise",))
    label = artifacts.LABELS[0]
    counted = classifier.explainer.count_numbers(feature_map=True)
    for chosen, spare in (((2, 0), 6), ((3, 0), 4), ((4, 0), 2)):  # a wider filter has more weights and fewer positions
        _, shown = classifier.explainer.inspect("praise", encoding, label, chosen, feature_map=True)
        assert counted - numbers(shown) == spare


@pytest.mark.parametrize("chosen", [(3, 250), (3, -1), (4, 0)])
def test_unknown_filter(classifier: Classifier, chosen: tuple[int, int]) -> None:
    """An unknown filter is refused, and the message lists the filters."""
    with pytest.raises(UnknownName, match="there are 250 of width 3"):
        classifier.explainer.inspect("x", classifier.encode(("x",))[0], "positive", chosen)
