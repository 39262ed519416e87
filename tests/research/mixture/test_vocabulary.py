"""A vocabulary with the key words of typed texts."""

import pytest

from research.mixture.vocabulary import check_keys, with_keys
from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.artifact.tokenizer import learn
from sentiment_conv1d.model.training.fitting import TrainingError

SMALL = BaseConfiguration(vocabulary_size=7)


def test_keys_replace_the_least_frequent_words() -> None:
    """A key that is no frequent word takes the place of another word, and a key that is one stays where it is."""
    tokenizer = learn(SMALL, ["a a a a 💩 💩 💩 b b c"])
    assert tokenizer.words == ("a", "💩", "b", "c")
    assert with_keys(SMALL, tokenizer, ["💩", "😍", "★★"]).words == ("a", "💩", "😍", "★★")
    assert with_keys(SMALL, tokenizer, []).words == tokenizer.words


def test_keys_that_the_rule_splits() -> None:
    """A key of which the rule makes several words, even the same word twice, or none, is left out."""
    tokenizer = learn(SMALL, ["a b"])
    assert with_keys(SMALL, tokenizer, ["9/10", "5/5", ":)", "😍"]).words == ("a", "b", "😍")


def test_keys_of_marks() -> None:
    """The rule `words:marks` reads ratings and emoticons as one word, and emojis without what modifies them."""
    configuration = BaseConfiguration(tokenizer="words:marks", vocabulary_size=9)
    known = with_keys(configuration, learn(configuration, ["a"]), ["9/10", "5⭐️", ":)", "👍🏽", "a b"])
    assert known.words == ("a", "9/10", "5⭐", ":)", "👍")
    check_keys(known, ["So 9/10, 5⭐️, good👍🏿!?"])
    with pytest.raises(TrainingError, match=r"no '4\.5/5'"):
        check_keys(known, ["It gets 4.5/5."])


def test_more_keys_than_room() -> None:
    """The vocabulary keeps its size, and no other words, if there are more keys than it can contain."""
    assert with_keys(SMALL, learn(SMALL, ["a b"]), [*"😍👍🎉🥰🔥"]).words == tuple("😍👍🎉🥰")


@pytest.mark.parametrize("word", ["💩", "❤️", "★★", "☆"])
def test_unknown_keys(word: str) -> None:
    """An unknown emoji, or unknown stars, are an error that names them and the text."""
    tokenizer = learn(SMALL, ["this song"])
    with pytest.raises(TrainingError, match=f"no '{word}', which decides the label of the text 'Ah, song {word}'"):
        check_keys(tokenizer, ["This song.", f"Ah, song {word}"])
    check_keys(learn(SMALL, [f"this {word}"]), [f"Ah, song {word}"])


def test_unknown_ratings() -> None:
    """An unknown rating is an error if the rule reads it as one word."""
    check_keys(learn(SMALL, ["this song"]), ["This song: 9/10 or 4.5/5."])


def test_other_unknown_words() -> None:
    """Other unknown words, also with an emoji that the rule does not separate, are no error."""
    check_keys(learn(SMALL, ["this song"]), ["A 24-7 café, fantastic❤ ... !!"])
