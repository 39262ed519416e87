"""Document vectors: reviews of the same n-grams point in the same direction."""

import numpy as np
import pytest

from sentiment_conv1d.model.training.document_vectors import DocumentVectors, Floats
from sentiment_conv1d.model.training.ngrams import Ids

WORDS = {"space": range(3, 13), "horses": range(13, 23)}


def reviews(topic: str, count: int, seed: int) -> list[Ids]:
    """Reviews of eight words of a topic each."""
    generator = np.random.default_rng(seed)
    return [np.array([1, *generator.choice(WORDS[topic], 8)], np.int32) for _ in range(count)]


def learned(texts: list[Ids], epochs: int = 3) -> Floats:
    documents = DocumentVectors(texts, np.random.default_rng(0))
    assert list(documents.fit(epochs)) == list(range(epochs))
    return documents.vectors


@pytest.fixture(scope="module")
def vectors() -> Floats:
    """Of fifty reviews about space, followed by fifty about horses."""
    return learned([*reviews("space", 50, 1), *reviews("horses", 50, 2)])


def test_reviews_of_the_same_words_have_similar_vectors(vectors: Floats) -> None:
    """Every review is closer to the mean of its topic than to that of the other."""
    means = np.stack([vectors[:50].mean(axis=0), vectors[50:].mean(axis=0)])
    assert (vectors @ means.T).argmax(axis=1).tolist() == [0] * 50 + [1] * 50


def test_the_vectors_have_unit_length(vectors: Floats) -> None:
    """So that their dot product is the cosine."""
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(100), abs=1e-5)


def test_the_generator_decides(vectors: Floats) -> None:
    """The same reviews and the same generator give the same vectors."""
    again = learned([*reviews("space", 50, 1), *reviews("horses", 50, 2)])
    assert np.array_equal(again, vectors)


def test_a_review_of_rare_words_keeps_its_vector() -> None:
    """No other review has its n-grams, so there is nothing to learn."""
    rare = np.array([900, 901, 902], np.int32)
    texts = [*reviews("space", 50, 1), rare]
    assert learned(texts)[-1] == pytest.approx(learned(texts, epochs=0)[-1], abs=1e-5)


def test_reviews_without_common_words() -> None:
    """Nothing is learned, and nothing fails."""
    texts = [np.array([word], np.int32) for word in range(3, 40)]
    assert np.isfinite(learned(texts)).all()
