"""Labels that state an opinion, and labels that mean the same."""

import pytest

from sentiment_conv1d.model.data.opinions import opinions_of, places


@pytest.mark.parametrize(
    ("labels", "opinions"),
    [
        (("Negative", " pos "), ("negative", "positive")),
        (("bad", "neutral", "good"), ("negative", "neutral", "positive")),
        (("0", "1"), None),
        (("bad", "negative"), None),
        (("good", "spam"), None),
    ],
)
def test_opinions(labels: tuple[str, ...], opinions: tuple[str, ...] | None) -> None:
    """Labels are opinions if each is one of the names, and no two mean the same; numbers are none."""
    assert opinions_of(labels) == opinions


def test_places() -> None:
    """Opinions are found by their meaning, and other labels by their names."""
    known = ("negative", "neutral", "positive")
    assert places(("good", "bad"), known) == [2, 0]
    assert places(("positive", "spam"), known) == [2, None]
    assert places(("good", "spam"), known) == [None, None]
