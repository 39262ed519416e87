"""Texts are split into sentences, and the shares of the sentences add up to the logit of the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.stops import hostile_texts
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.inference import sentences as rule
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.errors import NotExplainable
from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.inference.sentences import Span, split
from tests.processes import PROJECT, SHIPPED_MODELS
from tests.service import artifacts

#: Texts whose sentences are separated by vertical bars. docs/decisions/sentences.md states the rule.
CASES = PROJECT / "tests" / "inference" / "sentences.txt"

#: What separates, joins or ends sentences, and what does not.
PIECES = st.sampled_from(
    [
        *"aIB7.!?…。\uff61\n\r \t\xa0\x85\u2028\"'()[]-,:;<>/😀\u200d؟",
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

#: The whole rule for a possible end of a sentence, without a limit on what one match reads.
WHOLE_RULE = re.compile(
    r"""
    (?:
        (?<! [.!?\u2026\u203c\u203d\u2047\u2048\u2049\u061f\u06d4\u0964\u0965] )
        (?P<marks> [.!?\u2026\u203c\u203d\u2047\u2048\u2049\u061f\u06d4\u0964\u0965]++ )
        (?:
            (?P<closing> ["'\u2019\u201d\xbb\u203a)\]}] )
          | [^\S\n\r]*+ (?:[\u2600-\u27bf\u200d\ufe0f\U0001f000-\U0001faff]|[:;=]-?(?:[()]|[DPp]\b)|<3)
        )*+
      | (?P<wide> [\u3002\uff01\uff1f\uff61]++ ) ["'\u2019\u201d\xbb\u203a)\]}]*+
      | (?P<tag> (?: < [bB] [rR] \s*+ /?+ > \s*+ )++ )
      | (?P<line> (?:\r\n|[\n\r\x85\u2028\u2029])
            (?P<blank> [^\S\n\r]*+ (?:\r\n|[\n\r\x85\u2028\u2029]) )?+ \s*+ )
    )
    (?=
        (?P<space> \s*+ ) ["'\u2018\u201c\u201e\xab\u2039(\[{\xbf\xa1]*+ (?P<next> \w*+ )
        (?P<joined> [.,;:!?\u2026)\]}]?+ )
    )
    """,
    re.VERBOSE,
)

#: Texts below the limit, in which pieces can repeat hundreds of times.
below_the_limit = st.lists(
    st.one_of(PIECES, st.text(max_size=5), st.builds(lambda piece, count: piece * count, PIECES, st.integers(2, 900))),
    max_size=40,
).map(lambda pieces: "".join(pieces)[: rule._READ])


def split_whole(text: str) -> Iterator[Span]:
    """Split a text with one search of `WHOLE_RULE` over all of it."""
    start = len(text) - len(text.lstrip())
    for boundary in WHOLE_RULE.finditer(text):
        if boundary.start() > start and rule._ends(text, start, boundary):
            yield start, start + len(text[start : boundary.end()].rstrip())
            start = boundary.end("space")
    if rest := text[start:].rstrip():
        yield start, start + len(rest)


class Bounded:
    """A regular expression whose calls must not read more than `most` characters."""

    def __init__(self, pattern: re.Pattern[str], most: int) -> None:
        self._pattern, self._most = pattern, most

    def search(self, text: str, start: int, end: int) -> re.Match[str] | None:
        assert end - start <= self._most
        return self._pattern.search(text, start, end)

    def match(self, text: str, start: int, end: int) -> re.Match[str] | None:
        assert end - start <= self._most
        return self._pattern.match(text, start, end)


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in split(text)]


@pytest.mark.parametrize("case", CASES.read_text(encoding="utf-8").splitlines())
def test_hard_cases(case: str) -> None:
    """Sentences end where a reader expects it."""
    parts = [part.replace("\\n", "\n") for part in case.split("|")]
    assert sentences("".join(parts)) == [part.strip() for part in parts]


@given(below_the_limit, st.sampled_from([1, 2, 65_536]))
@example("Dr. A U.S. b\u200d", 1)
def test_equal_to_the_whole_rule(text: str, searched: int) -> None:
    """Below the limit, sentences are those of one search over the whole text, whatever a search reads at once."""
    with patch.object(rule, "_SEARCHED", searched):
        assert list(split(text)) == list(split_whole(text))


@given(st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=40).map("".join), st.sampled_from([1, 3, 10_000]))
@example("\ud800. \udfff", 10_000)
@example(". A. <br>", 10_000)
@example("a.\n\n\n\n\n\nb", 3)
def test_any_text(text: str, read: int) -> None:
    """Sentences are in order, do not overlap, begin and end with no space, and contain everything but space.

    This is so with any limit.
    """
    end = 0
    with patch.object(rule, "_READ", read):
        spans = list(split(text))
    for start, stop in spans:
        assert end <= start < stop and not text[end:start].strip()
        assert text[start:stop] == text[start:stop].strip()
        end = stop
    assert not text[end:].strip()


@pytest.mark.parametrize("text", ["", " ", "\n\t\u2028 "])
def test_no_sentence(text: str) -> None:
    """White space has no sentence."""
    assert sentences(text) == []


@pytest.mark.parametrize(
    ("run", "found"),
    [("." * 25_000, 2), (". " + " " * 25_000, 2), (".\n" + "\n" * 25_000, 2), ('."' + '"' * 25_000, 1)],
)
def test_beyond_the_limit(run: str, found: int) -> None:
    """Any number of marks, spaces or lines ends a sentence, and more quotation marks than the limit do not."""
    assert len(sentences(f"One{run} Two.")) == found


@pytest.mark.parametrize("text", hostile_texts(200_000).values(), ids=hostile_texts(1))
def test_other_threads_run(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call of `re`, which keeps the interpreter lock, reads more than a part of a text."""
    for name, most in (("_CANDIDATE", 65_536), ("_SPACE", 65_536), ("_BOUNDARY", 10_000)):
        monkeypatch.setattr(rule, name, Bounded(getattr(rule, name), most))
    assert sum(1 for _ in split(text)) >= bool(text.strip())


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


@pytest.mark.parametrize(
    ("shares", "one", "several"),
    [
        ([0.5, -2.0, 1.0], (1, 2), 2),
        ([0.2, 0.2], (None, 0), 0),
        ([0.0, 0.0], (None, None), None),
        ([], (None, None), None),
    ],
)
def test_deciding_sentence(shares: list[float], one: tuple[int | None, int | None], several: int | None) -> None:
    """The sentence that adds most to a label decides, the first of equal ones, or none if all count against it.

    The shares of a model with a single sigmoid are those of its second label.
    """
    prediction = cast(Prediction, None)
    found = [rule.Sentence(0, 1, share, prediction) for share in shares]
    sigmoid = cast(Manifest, SimpleNamespace(outputs=1, labels=("bad", "good")))
    softmax = cast(Manifest, SimpleNamespace(outputs=3, labels=("bad", "fair", "good")))
    assert tuple(rule.deciding(found, sigmoid, label) for label in ("bad", "good")) == one
    assert [rule.deciding(found, softmax, label) for label in softmax.labels] == [several] * 3


def test_no_exact_explanation(tmp_path: Path) -> None:
    """A model without exact explanations has no shares of sentences."""
    classifier = Classifier(artifacts.publish_table(tmp_path))
    with pytest.raises(NotExplainable):
        classifier.explain("Praise. Praise.", sentences=True)
