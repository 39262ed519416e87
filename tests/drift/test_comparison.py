"""Two sets of texts are compared property by property."""

import pytest

from sentiment_conv1d.artifact.text_statistics import Distribution, TextStatistics
from sentiment_conv1d.drift.comparison import Bin, Comparison, compare, label_shares
from sentiment_conv1d.drift.stability import chance_index, stability_index

BEFORE = TextStatistics(
    source="before",
    texts=4,
    labels={"no": 3, "yes": 2},
    scores=Distribution(bounds=(0.5, 0.75), counts=(1, 1, 2), mean=0.7),
    tokens=Distribution(bounds=(20, 999.4, 1000), counts=(1, 1, 1, 1), mean=900),
    unknown_words=Distribution(bounds=(), counts=(4,), mean=0.25),
)
NOW = TextStatistics(
    source="now",
    texts=10,
    labels={"new": 1, "yes": 9},
    scores=Distribution(bounds=(0.5, 0.75), counts=(2, 3, 5), mean=0.8),
    tokens=Distribution(bounds=(20, 999.4, 1000), counts=(1, 2, 3, 4), mean=1200),
    unknown_words=Distribution(bounds=(), counts=(10,), mean=0.5),
)


def by_name(reference: TextStatistics, observed: TextStatistics) -> dict[str, Comparison]:
    """Return the comparisons by the names of their properties."""
    return {each.name: each for each in compare(reference, observed)}


def test_means() -> None:
    """The mean before comes first, and then the mean now; labels have none."""
    means = {name: each.means for name, each in by_name(BEFORE, NOW).items()}
    assert means == {"score": (0.7, 0.8), "label": None, "tokens": (900, 1200), "unknown words": (0.25, 0.5)}


def test_bins() -> None:
    """Each bin has its bounds as a name, and its shares before and now."""
    found = by_name(BEFORE, NOW)
    assert found["score"].bins == [("≤ 0.5", 0.25, 0.2), ("0.5 \N{EN DASH} 0.75", 0.25, 0.3), ("> 0.75", 0.5, 0.5)]
    assert [each.name for each in found["tokens"].bins] == [
        "≤ 20",
        "20 \N{EN DASH} 999.4",
        "999.4 \N{EN DASH} 1,000",
        "> 1,000",
    ]
    assert found["unknown words"].bins == [("all", 1.0, 1.0)]


def test_indices() -> None:
    """The indices are those of the counts before and now."""
    tokens = by_name(BEFORE, NOW)["tokens"]
    assert tokens.psi == stability_index([1, 1, 1, 1], [1, 2, 3, 4]) > 0
    assert tokens.chance == chance_index([1, 1, 1, 1], [1, 2, 3, 4]) > 0


def test_one_label_a_text() -> None:
    """If a text has one label, all labels are compared together, also those that only one side has."""
    before = BEFORE.model_copy(update={"texts": 5})
    label = by_name(before, NOW)["label"]
    assert label.bins == [("no", 0.6, 0.0), ("yes", 0.4, 0.9), ("new", 0.0, 0.1)]
    assert label.psi == stability_index([3, 2, 0], [0, 9, 1])
    assert label_shares(before, NOW) == label.bins


@pytest.mark.parametrize("several", [(True, False), (False, True), (True, True)])
def test_several_labels_a_text(several: tuple[bool, bool]) -> None:
    """If a text can have several labels, each is compared by the texts with it and without it."""
    before, now = (
        each.model_copy(update={"multilabel": multilabel})
        for each, multilabel in zip((BEFORE, NOW), several, strict=True)
    )
    found = {name: each.bins for name, each in by_name(before, now).items() if name.startswith("label")}
    assert found == {
        "label no": [("with it", 0.75, 0.0), ("without it", 0.25, 1.0)],
        "label yes": [("with it", 0.5, 0.9), ("without it", 0.5, 0.1)],
        "label new": [("with it", 0.0, 0.1), ("without it", 1.0, 0.9)],
    }
    assert label_shares(before, now) == [Bin("no", 0.75, 0.0), Bin("yes", 0.5, 0.9), Bin("new", 0.0, 0.1)]


@pytest.mark.parametrize("side", [0, 1])
def test_unknown_words_of_one_side(side: int) -> None:
    """Unknown words are compared only if both sides have counted them."""
    sides = [BEFORE, NOW]
    sides[side] = sides[side].model_copy(update={"unknown_words": None})
    assert [*by_name(*sides)] == ["score", "label", "tokens"]
