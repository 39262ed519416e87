"""The texts that the trained model answers."""

import numpy as np

from research.mixture.stored_answers import StoredAnswers
from research.transformer.__main__ import to_answer
from sentiment_conv1d.model.data.training_texts import digests_of


def test_texts_to_answer() -> None:
    """Sentences and short texts without a label are answered once, those first of which only the opinion is known."""
    labelled = ["One is good here. Two is bad here.", "Three is fine here. Two is bad here.", "A single sentence."]
    unlabelled = ["Four.", "Five.", "word " * 50]
    stored = StoredAnswers.of(["Three is fine here.", "Five."], np.zeros((2, 3), np.float32))
    stored.log_odds[stored.digests == digests_of(["Three is fine here."]), 0] = np.nan
    found = to_answer(labelled, unlabelled, stored, np.random.default_rng(0))
    assert found[0] == "Three is fine here."
    assert sorted(found[1:]) == ["Four.", "One is good here.", "Two is bad here."]
