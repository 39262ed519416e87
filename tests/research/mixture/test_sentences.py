"""The sentences of a text."""

import pytest

from research.mixture.sentences import is_short, sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The room was clean. But nobody helped us! Why was that so?",
         ["The room was clean.", "But nobody helped us!", "Why was that so?"]),
        ("It broke after 2.5 days.<br /><br />I want my money back.",
         ["It broke after 2.5 days.", "I want my money back."]),
        ("Good. It works as it should. I would buy this again.",
         ["It works as it should.", "I would buy this again."]),
        ("A single sentence has no others.", []),
        (f"{'word ' * 41}. And this one is short. It is another one.",
         ["And this one is short.", "It is another one."]),
        ("", []),
    ],
)  # fmt: skip
def test_sentences(text: str, expected: list[str]) -> None:
    """Sentences of 4 to 40 words are found, if there are several."""
    assert sentences(text) == expected


def test_short_texts() -> None:
    """A text with as many words as a sentence can have is short."""
    assert is_short("word " * 40) and not is_short("word " * 41)
