"""The words of a text: their order, the card with the share of one word, and texts without a known word."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.processes import ServerProcess
from tests.service import artifacts
from tests.service.page.conftest import Open
from tests.service.page.test_page import PHONE, api, show_view, type_text

TEXT = "A superb but flumberous film"
THIS, FILM, GREAT = "\u05d6\u05d4", "\u05e1\u05e8\u05d8", "\u05e0\u05d4\u05d3\u05e8"  # in Hebrew


def share(number: float) -> str:
    return f"{number:+.2f}".replace("-", "\u2212")


def left(page: Page, word: str) -> float:
    """Return the left edge of a word in CSS pixels."""
    box = page.locator("#words .word", has_text=word).bounding_box()
    assert box is not None
    return box["x"]


def test_the_card_of_a_word(open_page: Open, server: ServerProcess) -> None:
    """The mouse, a click and the keyboard open a card with the share, the id and the filters of a word."""
    page = open_page().page
    type_text(page, TEXT)
    explanation = api(server, "explain", text=TEXT)
    words = explanation["words"]
    card = page.locator("#card")
    expect(card).to_be_hidden()
    page.locator("#words .word").nth(1).hover()
    expect(card).to_contain_text(f"superb {share(words[1]['share'])} for positive")
    expect(card).to_contain_text(f"Known, id {words[1]['id']:,}.")
    read = [each for each in explanation["filters"] if each["start"] < 8 and each["end"] > 2]
    assert read
    expect(card).to_contain_text(", ".join(f"no. {each['index']}" for each in read))
    page.get_by_label("Your text").hover()
    expect(card).to_be_hidden()
    page.locator("#words .word").nth(3).click()
    expect(card).to_contain_text("Unknown. All unknown words have the same id.")
    page.get_by_label("Your text").hover()
    page.locator("#words .word").first.hover()
    expect(page.locator("#card-word")).to_have_text("A")
    page.get_by_label("Your text").hover()
    expect(page.locator("#card-word")).to_have_text("flumberous")
    for key, place in (("ArrowRight", 4), ("Home", 0), ("ArrowRight", 1), ("End", 4), ("ArrowLeft", 3)):
        page.keyboard.press(key)
        expect(page.locator("#words .word").nth(place)).to_be_focused()
        expect(card).to_contain_text(f"{words[place]['text']} {share(words[place]['share'])}")
    assert page.locator("#words .word[tabindex='0']").count() == 1


def test_escape_closes_the_card(open_page: Open) -> None:
    """Escape closes the card, and the focus returns from the card to the word."""
    page = open_page().page
    type_text(page, TEXT)
    card, word = page.locator("#card"), page.locator("#words .word").nth(1)
    word.focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="See a filter read it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    expect(word).to_be_focused()
    page.keyboard.press("Enter")
    expect(card).to_be_visible()
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    word.hover()
    expect(card).to_be_visible()
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    word.press(" ")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(card).to_be_hidden()


def test_a_tap_opens_the_card(open_page: Open) -> None:
    """On a phone a tap opens the card within the screen and stays in the view, and a tap elsewhere closes it."""
    page = open_page(viewport=PHONE, has_touch=True).page
    type_text(page, TEXT)
    page.locator("#words .word").last.tap()
    expect(page.locator("#card")).to_contain_text("film")
    expect(page.get_by_role("tab", name="Try it")).to_have_attribute("aria-selected", "true")
    box = page.locator("#card").bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
    page.locator("#words-title").tap()
    expect(page.locator("#card")).to_be_hidden()


def test_a_filter_reads_the_word(open_page: Open) -> None:
    """The button of the card goes to "How it works" with the filter on the word, and the back button returns."""
    page = open_page().page
    type_text(page, TEXT)
    page.locator("#words .word").nth(2).click()
    page.get_by_role("button", name="See a filter read it").click()
    expect(page.locator("#play")).to_be_focused()
    expect(page.locator("#taps .name")).to_have_text(["superb", "but", "flumberous"])
    page.go_back()
    expect(page.locator("#words")).to_be_visible()


@pytest.mark.parametrize(
    ("text", "order"),
    [
        (f"{THIS} {FILM} {GREAT}", f"{GREAT} {FILM} {THIS}"),
        (f"{THIS} great film {GREAT}", f"{GREAT} great film {THIS}"),
        (f"great {FILM} {GREAT} film", f"great {GREAT} {FILM} film"),
    ],
    ids=["hebrew", "english in hebrew", "hebrew in english"],
)
def test_words_from_right_to_left(open_page: Open, text: str, order: str) -> None:
    """Words stand where the bidirectional algorithm places those of the text, and the arrow keys follow the screen."""
    page = open_page().page
    type_text(page, text)
    expect(page.locator("#words .word")).to_have_text(text.split())
    assert sorted(text.split(), key=lambda word: left(page, word)) == order.split()
    page.locator("#words .word").first.focus()
    page.keyboard.press("ArrowRight" if text.startswith("great") else "ArrowLeft")
    expect(page.locator("#words .word").nth(1)).to_be_focused()


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("flumberous zorptastic", "The model knows none of these words."), ("?!", "There are no words to read.")],
)
def test_no_known_word_is_no_verdict(open_page: Open, server: ServerProcess, text: str, verdict: str) -> None:
    """If the model knows no word of a text, the page says so in place of the label, and what the API answers."""
    page = open_page().page
    large = page.locator("#label").evaluate("element => getComputedStyle(element).fontSize")
    type_text(page, text)
    expect(page.locator("#label")).to_have_text(verdict)
    assert page.locator("#label").evaluate("element => getComputedStyle(element).fontSize") < large
    answer = api(server, "predict", text=text)
    shown = f"The API answers {answer['label']}, {100 * answer['score']:.1f}"
    expect(page.locator("#label-note")).to_contain_text(shown)
    expect(page.locator("#announcement")).to_have_text(page.locator("#label").inner_text())
    type_text(page, "A superb film")
    expect(page.locator("#label")).to_have_text("positive")
    expect(page.locator("#label-note")).to_be_hidden()


def test_the_words_that_are_read_count(open_page: Open) -> None:
    """A known word in the part that the model does not read is no known word."""
    page = open_page().page
    type_text(page, "superb " + "flumberous " * 400)
    expect(page.locator("#label")).to_have_text("The model knows none of these words.")


@pytest.mark.parametrize("samples", [[], [{"label": "thanks", "text": "praise praise"}]], ids=["no samples", "samples"])
def test_a_foreign_model_opens_with_its_own_text(
    open_page: Open, tmp_path: Path, samples: list[dict[str, str]]
) -> None:
    """The page begins with a sample of the manifest, or with an empty field, and never with a film review."""
    artifacts.publish_table(tmp_path, samples=samples)
    with ServerProcess("--workers", "1", repository=tmp_path) as server:
        page = open_page(server).page
        expect(page.get_by_label("Your text")).to_have_value("praise praise" if samples else "")
        expect(page.locator("#samples button")).to_have_text([each["label"] for each in samples])
        expect(page.locator("#label")).to_have_text("thanks" if samples else "There are no words to read.")
        show_view(page, "The model")
        purpose = page.locator(".purpose")
        expect(purpose).to_contain_text("Its manifest does not say. It gives each text one of the labels thanks, asks,")
        expect(purpose).to_contain_text("It was not measured.")
