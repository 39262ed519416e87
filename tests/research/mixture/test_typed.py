"""Texts with placeholders, the table of words that replace them, and the texts of `research/contrast/typed`."""

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from research.mixture import typed
from research.mixture.added_emojis import AddedEmojis
from research.mixture.labels import NEGATIVE, NEUTRAL, POSITIVE
from research.mixture.typed import Typed
from research.mixture.typed_words import KEYS, SENSES, TypedWords, ratings, stars
from sentiment_conv1d.tables import DataError
from tests.processes import PROJECT

CONTRAST = PROJECT / "research" / "contrast"
PARTS = ("learned", "deciding", "final")

#: The families whose texts are read by key words, of which every part has others.
FAMILIES = {
    "idiom": ("praise by idiom", "complaint by idiom"),
    "answer": ("short answers",),
    "negation": ("negation near", "negation far"),
    "turn": ("long turns",),
}
RATING = re.compile(r"(?<![\d.,])(\d+)(?:[.,](5))?/(5|10)\b|(?<![\d.,])\d[★⭐]|[★⭐☆]+")

WORDS = [
    *((emoji, "emoji", "for") for emoji in "😍👍🎉🥰🔥💯🤩😊👏"),
    *((emoji, "emoji", "against") for emoji in "😡👎💩"),
    ("🤖", "emoji", "neither"),
    ("🙏", "emoji", "either"),
    ("deaf", "identity", ""),
    ("tall", "control", ""),
    ("the bee's knees", "idiom", "for"),
]


def write(folder: Path, *rows: Sequence[str], words: Sequence[Sequence[str]] = WORDS) -> Path:
    """Write texts and the table of words beside them."""
    for name, head, lines in (("words", "word,kind,sense", words), ("texts", "text,label,family", rows)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([head.split(","), *lines])
    return folder / "texts.csv"


def test_texts_without_placeholders(tmp_path: Path) -> None:
    """A text is what the file says, also with spaces at its end, other braces, or braces of another family."""
    rows = [("awful\N{NO-BREAK SPACE}", "negative", "spaces"), ("{smile} 🤖", "neutral", "emoji alone")]
    assert typed.read(write(tmp_path, *rows)) == [
        Typed("awful\N{NO-BREAK SPACE}", NEGATIVE, "spaces", 0),
        Typed("{smile} 🤖", NEUTRAL, "emoji alone", 1),
    ]


def test_emojis(tmp_path: Path) -> None:
    """A row gives several texts with emojis of its sense, and the rows use all of them about equally often."""
    path = write(tmp_path, *[(f"{number} {{emoji:for}}{{emoji:for}}", "positive", "emoji") for number in range(9)])
    found = typed.read(path)
    assert found == typed.read(path)
    assert {(each.label, each.family, each.word) for each in found} == {(POSITIVE, "emoji", "")}
    assert [each.row for each in found] == [row for row in range(9) for _ in range(8)]
    used = [each.text.split()[1] for each in found]
    assert all(len({*pair}) == 2 for pair in used)
    assert set(Counter("".join(used)).values()) == {16}


def test_texts_of_a_row_differ(tmp_path: Path) -> None:
    """A row gives no text twice, even if there are few emojis."""
    found = typed.read(write(tmp_path, ("No. {emoji:against}", "negative", "emoji")))
    assert sorted(each.text for each in found) == ["No. 👎", "No. 💩", "No. 😡"]


def test_identity(tmp_path: Path) -> None:
    """A text is there with every word for people, and with every word that has nothing to do with them."""
    found = typed.read(write(tmp_path, ("A {identity} man. Yes, {identity}.", "neutral", "identity without opinion")))
    assert [(each.text, each.word) for each in found] == [
        ("A deaf man. Yes, deaf.", "deaf"),
        ("A tall man. Yes, tall.", "tall"),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("{identity}", "neutral", "praise"), "line 3: there are no words for {identity} in the family 'praise'"),
        (("{emoji:good}", "neutral", "emoji"), "line 3: there are no words for {emoji:good} in the family"),
        (("{emoji", "neutral", "emoji"), "line 3: there are no words for {emoji in the family"),
        (("Good.", "good", "short"), "line 3: the label is 'good', not negative, neutral or positive"),
        ((" ", "neutral", "short"), "line 3: the text or the family is empty"),
        (("Good.", "positive", ""), "line 3: the text or the family is empty"),
    ],
)
def test_faulty_rows(row: tuple[str, str, str], message: str, tmp_path: Path) -> None:
    """A row that cannot be used is named."""
    with pytest.raises(DataError, match=message):
        typed.read(write(tmp_path, ("Fine.", "positive", "short"), row))


def test_missing_words(tmp_path: Path) -> None:
    """A placeholder without words is an error, and so is a missing table."""
    for text in ("{emoji:for}", "{identity}"):
        with pytest.raises(DataError, match=f"there are no words for {text}"):
            typed.read(write(tmp_path, (text, "positive", "identity"), words=[]))
    (tmp_path / "words.csv").unlink()
    with pytest.raises(DataError, match=r"words\.csv"):
        typed.read(tmp_path / "texts.csv")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("😀", "emoji", ""), "line 3: '😀' of the kind 'emoji' has no sense ''"),
        (("deaf", "identity", "for"), "has no sense 'for'"),
        (("deaf", "people", ""), "of the kind 'people'"),
        (("", "control", ""), "line 3: ''"),
        (("😍", "emoji", "against"), "line 3: the emoji '😍' is there twice"),
    ],
)
def test_faulty_words(row: tuple[str, str, str], message: str, tmp_path: Path) -> None:
    """A word that cannot be used is named. One emoji has one sense."""
    write(tmp_path, words=[WORDS[0], row])
    with pytest.raises(DataError, match=message):
        TypedWords.read(tmp_path / "words.csv")


def test_keys(tmp_path: Path) -> None:
    """A vocabulary should contain every emoji, rating and run of stars, and no words."""
    write(tmp_path)
    keys = [*TypedWords.read(tmp_path / "words.csv").keys()]
    assert len(keys) == len({*keys})
    assert {*"😍💩🤖🙏", "10/10", "0/10", "9.5/10", "9,5/10", "3/5", "4.5/5", "5★", "★", "⭐⭐⭐⭐⭐", "★★★☆☆"} <= {
        *keys
    }
    assert not {"deaf", "tall", "10.5/10", "5.5/5", "11/10"} & {*keys}
    assert len([*ratings()]) == 11 + 2 * 10 + 6 + 2 * 5 + 2 * 5
    assert len([*stars()]) == 3 * 5 + 2 * 4


def test_added_emojis(tmp_path: Path) -> None:
    """A share of the texts gets an emoji that says the same as the label, half of them without a space."""
    write(tmp_path)
    added = AddedEmojis.of(TypedWords.read(tmp_path / "words.csv"), 0.5)
    generator = np.random.default_rng(0)
    for label, emojis in ((NEGATIVE, "😡👎💩🙏"), (NEUTRAL, "🤖"), (POSITIVE, "😍👍🎉🥰🔥💯🤩😊👏🙏")):
        found = [added.to("Text.", label, generator) for _ in range(2000)]
        changed = Counter(text for text in found if text is not None)
        assert {*changed} == {f"Text.{space}{emoji}" for emoji in emojis for space in ("", " ")}
        assert changed.total() == pytest.approx(1000, abs=100)
        glued = sum(count for text, count in changed.items() if " " not in text)
        assert glued == pytest.approx(changed.total() / 2, abs=80)


def test_no_added_emojis(tmp_path: Path) -> None:
    """With the share 0, without a table and without emojis of a label, no text changes, and no number is drawn."""
    write(tmp_path, words=WORDS[:1])
    words, generator = TypedWords.read(tmp_path / "words.csv"), np.random.default_rng(0)
    before = generator.bit_generator.state
    for added in (AddedEmojis.of(words, 0), AddedEmojis.of(None, 0.5)):
        assert added.to("Text.", POSITIVE, generator) is None
    assert AddedEmojis.of(words, 1).to("Text.", NEUTRAL, generator) is None
    assert generator.bit_generator.state == before


@cache
def part(name: str) -> list[Typed]:
    """Return the texts of a part."""
    return typed.read(CONTRAST / "typed" / f"{name}.csv")


def words() -> TypedWords:
    """Return the table of words of the typed texts."""
    return TypedWords.read(CONTRAST / "typed" / "words.csv")


def bare(text: str) -> str:
    """Return the letters, digits and symbols of a text."""
    return "".join(each for each in text.casefold() if each.isalnum() or unicodedata.category(each)[0] == "S")


def test_parts_share_no_text() -> None:
    """No part has a text of another one, however spaced and marked, and no other contrast texts have its sentences."""
    found = {name: {bare(each.text) for each in part(name)} for name in PARTS}
    for one, other in combinations(PARTS, 2):
        assert not found[one] & found[other]
    with (CONTRAST / "held_out.csv").open(encoding="utf-8", newline="") as file:
        held_out = {bare(row["text"]) for row in csv.DictReader(file)}
    assert not {text for name in PARTS for text in found[name] & held_out if any(map(str.isalnum, text))}
    for name in ("learned", "styles"):
        with (CONTRAST / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            assert not {bare(row["text"]) for row in csv.DictReader(file)} & (found["deciding"] | found["final"])


def test_families_of_parts() -> None:
    """Every family has at least twelve rows in each part, and a part has texts of every label."""
    rows = {name: Counter(family for family, _ in {(each.family, each.row) for each in part(name)}) for name in PARTS}
    assert {*rows["learned"]} == {*rows["deciding"]} == {*rows["final"]}
    assert len(rows["learned"]) >= 15
    assert min(count for counts in rows.values() for count in counts.values()) >= 12
    sizes = {name: Counter(each.label for each in part(name) if not each.word) for name in PARTS}
    assert sizes["learned"].total() >= 1500
    assert 600 <= sizes["deciding"].total() <= 800 <= sizes["final"].total() <= 1000
    assert all(count >= 0.1 * labels.total() for labels in sizes.values() for count in labels.values())


def test_words_that_are_learned() -> None:
    """Every emoji, word for people, rating and run of stars is learned, and no other rating is in any part."""
    table, texts = words(), [each.text for each in part("learned")]
    assert len(table.emojis()) >= 150
    assert all(table.emojis(sense) for sense in SENSES)
    assert not [emoji for emoji in table.emojis() if not any(emoji in text for text in texts)]
    assert len(table.words["identity", ""]) >= 30
    for label in (NEGATIVE, NEUTRAL, POSITIVE):
        assert {each.word for each in part("learned") if each.label == label and each.word} == {*table.people}
    used = {name: {found[0] for each in part(name) for found in ratings_of(each.text)} for name in PARTS}
    known = {*ratings(), *(run for run in stars() if {*run} != {"☆"})}
    assert used["learned"] == known
    assert used["deciding"] | used["final"] <= known


def ratings_of(text: str) -> list[re.Match[str]]:
    """Return the ratings and the runs of stars in a text."""
    return [*RATING.finditer(text.replace("\N{VARIATION SELECTOR-16}", ""))]


def test_labels_of_ratings() -> None:
    """Less than half of the points is a complaint, seven tenths and more are praise, and others are neutral."""
    for each in (each for name in PARTS for each in part(name) if each.family == "ratings"):
        for found in ratings_of(each.text):
            if found[3] is not None:
                share = (int(found[1]) + (found[2] is not None) / 2) / int(found[3])
                assert each.label == (NEGATIVE if share < 0.5 else NEUTRAL if share < 0.7 else POSITIVE), each.text


@pytest.mark.parametrize("kind", KEYS)
def test_key_words(kind: str) -> None:
    """Every text of these families has a key word of its label, and a key word is in one part only."""
    table = words().words
    keys = {word: sense for (other, sense), found in table.items() if other == kind for word in found}
    parts: dict[str, set[str]] = {key: set() for key in keys}
    for name in PARTS:
        for each in (each for each in part(name) if each.family in FAMILIES[kind]):
            text = each.text.casefold()
            found = [key for key in keys if re.search(rf"(?<!\w){re.escape(key)}(?!\w)", text)]
            assert ("against", "neither", "for")[each.label] in {keys[key] for key in found}, each.text
            for key in found:
                parts[key].add(name)
    assert {key: sorted(names) for key, names in parts.items() if len(names) != 1} == {}
    assert kind != "idiom" or len(keys) >= 60


def test_long_turns() -> None:
    """Long turns have 60 to 200 words, and as often praise first as a complaint."""
    for name in PARTS:
        turns = [each for each in part(name) if each.family == "long turns"]
        assert all(60 <= len(each.text.split()) <= 200 for each in turns)
        assert 0.4 <= np.mean([each.label == POSITIVE for each in turns]) <= 0.6
