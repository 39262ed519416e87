"""The contrast texts of `research/contrast`."""

import csv

import pytest

from tests.processes import PROJECT

_NAMES = ("learned", "held_out", "styles")


def _rows(name: str) -> list[dict[str, str]]:
    with (PROJECT / "research" / "contrast" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", _NAMES)
def test_rows_have_a_text_a_label_and_a_family(name: str) -> None:
    """Every row states a text without spaces around it, one of three labels and a family."""
    for row in _rows(name):
        assert list(row) == ["text", "label", "family"]
        assert row["text"] == row["text"].strip()
        assert row["text"]
        assert row["label"] in {"negative", "neutral", "positive"}
        assert row["family"]


def test_no_text_is_there_twice() -> None:
    """A text that is trained on is not measured, in whatever case it is written."""
    texts = [row["text"].casefold() for name in _NAMES for row in _rows(name)]
    assert len(texts) == len(set(texts))


def test_families_are_held_out_as_a_whole() -> None:
    """The measured families share nothing with the learned ones, and both together are large enough to tell."""
    learned, held_out = _rows("learned"), _rows("held_out")
    families = [{row["family"] for row in rows} for rows in (learned, held_out)]
    assert not families[0] & families[1]
    assert abs(len(families[0]) - len(families[1])) <= 1
    assert len(learned) + len(held_out) >= 300
