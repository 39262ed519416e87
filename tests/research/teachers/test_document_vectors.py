"""Document vectors of reviews with the same n-grams have similar directions."""

import numpy as np
import pytest

from research.teachers.document_vectors import DocumentVectors, Floats
from research.teachers.ngrams import Ids

WORDS = {"space": range(3, 13), "horses": range(13, 23)}


def reviews(topic: str, count: int, seed: int) -> list[Ids]:
    """Generate reviews of eight words of one topic."""
    generator = np.random.default_rng(seed)
    return [np.array([1, *generator.choice(WORDS[topic], 8)], np.int32) for _ in range(count)]


def learned(texts: list[Ids], epochs: int = 3) -> Floats:
    documents = DocumentVectors(texts, np.random.default_rng(0))
    assert list(documents.fit(epochs)) == list(range(epochs))
    return documents.vectors


@pytest.fixture(scope="module")
def vectors() -> Floats:
    """Return the vectors of fifty reviews about space, followed by fifty about horses."""
    return learned([*reviews("space", 50, 1), *reviews("horses", 50, 2)])


def test_similar_reviews(vectors: Floats) -> None:
    """Every review is closer to the mean of its topic than to that of the other topic."""
    means = np.stack([vectors[:50].mean(axis=0), vectors[50:].mean(axis=0)])
    assert (vectors @ means.T).argmax(axis=1).tolist() == [0] * 50 + [1] * 50


def test_unit_length(vectors: Floats) -> None:
    """Vectors have unit length, so that their dot product is the cosine."""
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(100), abs=1e-5)


def test_reproducible_vectors(vectors: Floats) -> None:
    """The same reviews and the same random generator give the same vectors."""
    again = learned([*reviews("space", 50, 1), *reviews("horses", 50, 2)])
    assert np.array_equal(again, vectors)


def test_rare_words() -> None:
    """The vector of a review whose n-grams occur in no other review does not change."""
    rare = np.array([900, 901, 902], np.int32)
    texts = [*reviews("space", 50, 1), rare]
    assert learned(texts)[-1] == pytest.approx(learned(texts, epochs=0)[-1], abs=1e-5)


def test_reviews_without_common_words() -> None:
    """Reviews without common n-grams keep their vectors, without an error."""
    texts = [np.array([word], np.int32) for word in range(3, 40)]
    assert np.isfinite(learned(texts)).all()
