"""Texts are split into sentences, and the shares of the sentences add up to the logit of the text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.errors import NotExplainable
from sentiment_conv1d.inference.sentences import split
from tests.processes import PROJECT, SHIPPED_MODELS
from tests.service import artifacts

#: Texts whose sentences are separated by vertical bars. docs/decisions/sentences.md states the rule.
CASES = PROJECT / "tests" / "inference" / "sentences.txt"

#: What separates, joins or ends sentences, and what does not.
PIECES = st.sampled_from(
    [
        *"aIB7.!?…。\n\r \t\xa0\u2028\"'()[]-,:;<>/😀\u200d؟",
        "Dr.",
        "U.S. ",
        "e.g. ",
        "etc. ",
        "No. 5",
        "<br />",
        ":)",
        ". The",
        "A",
    ]
)


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in split(text)]


@pytest.mark.parametrize("case", CASES.read_text(encoding="utf-8").splitlines())
def test_hard_cases(case: str) -> None:
    """Sentences end where a reader expects it."""
    parts = [part.replace("\\n", "\n") for part in case.split("|")]
    assert sentences("".join(parts)) == [part.strip() for part in parts]


@given(st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=40).map("".join))
@example("\ud800. \udfff")
@example(". A. <br>")
def test_any_text(text: str) -> None:
    """Sentences are in order, do not overlap, begin and end with no space, and contain everything but space."""
    end = 0
    for start, stop in split(text):
        assert end <= start < stop and not text[end:start].strip()
        assert text[start:stop] == text[start:stop].strip()
        end = stop
    assert not text[end:].strip()


@pytest.mark.parametrize("text", ["", " ", "\n\t\u2028 "])
def test_no_sentence(text: str) -> None:
    """White space has no sentence."""
    assert sentences(text) == []


@pytest.mark.parametrize("piece", [*". \n'(😀a", "! ", "Dr. ", ".\n", '."', "<br ", "<br>", ". 😀"])
def test_long_text(piece: str) -> None:
    """Splitting takes linear time: with quadratic time, each of these texts would take minutes."""
    text = f"A.{piece * (300_000 // len(piece))}b. C"
    spans = list(split(text))
    assert (spans[0][0], spans[-1][1]) == (0, len(text))


@pytest.mark.parametrize("name", ["reviews", "imdb-cnn", "imdb-cnn-8bit"])
def test_shares(name: str) -> None:
    """The shares of the sentences add up to the logit with bias and padding, and each has its own answer."""
    classifier = Classifier(read_artifact(SHIPPED_MODELS[name]))
    text = "The food was wonderful, a delight.  The waiter was terrible!\nOn Sunday it was closed, e.g. in May."
    prediction, explanation, found = classifier.explain(text, sentences=True)
    assert [each.prediction for each in found] == classifier.predict(sentences(text))
    assert prediction == classifier.predict([text])[0]
    parts = [explanation.bias, explanation.padding, *(each.share for each in found)]
    assert sum(parts) == pytest.approx(explanation.logit, abs=1e-4)
    for each in found:
        words = [word.share for word in explanation.words if each.start <= word.start < each.end]
        assert words and each.share == pytest.approx(sum(words))


def test_unread_sentences(classifier: Classifier) -> None:
    """A sentence that the model did not read, because the text is too long, has an answer of its own and no share."""
    text = f"Great. {'bad ' * 399}bad."
    _, explanation, [unread, read] = classifier.explain(text, sentences=True)
    assert (unread.share, unread.prediction.label) == (0, "positive")
    assert read.share == pytest.approx(sum(word.share for word in explanation.words))


def test_words_across_sentences(classifier: Classifier) -> None:
    """A word belongs to the sentence in which it begins, also if it begins with what is white space elsewhere."""
    _, explanation, found = classifier.explain("\xa0great. Bad\r\n\r\nGood", sentences=True)
    assert [word.text for word in explanation.words] == ["\xa0great", "Bad\r", "\r", "Good"]
    first, second, third, fourth = (word.share for word in explanation.words)
    assert [each.share for each in found] == pytest.approx([first, second + third, fourth])


def test_no_exact_explanation(tmp_path: Path) -> None:
    """A model without exact explanations has no shares of sentences."""
    classifier = Classifier(artifacts.publish_table(tmp_path))
    with pytest.raises(NotExplainable):
        classifier.explain("Praise. Praise.", sentences=True)
