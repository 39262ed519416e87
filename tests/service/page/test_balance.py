"""What the words add to a logit or to a contrast: one band, one equation, and the probabilities that follow from it."""

from __future__ import annotations

import math

import pytest
from playwright.sync_api import Page, expect

from tests.processes import ServerProcess
from tests.service.page.conftest import Open
from tests.service.page.test_page import PHONE, accessible, api, shown_percent, tint, type_text

TEXTS = [
    "Lovely rooms, but the breakfast was cold and the staff were rude.",
    "A superb, superb ending; flumberous, though!",
    "The blue one arrived on Tuesday.",
    "It was fine.",
    "awful " * 60,
    "",
]
VERSUS = "positive against negative"


def minus(text: str) -> str:
    """Return a text with a minus that Python reads."""
    return text.replace("\u2212", "-")


def equation(page: Page) -> list[str]:
    """Return the numbers of the equation."""
    return [minus(text) for text in page.locator("#sum b").all_inner_texts()]


def explain_by(page: Page, choice: str) -> None:
    """Choose what to explain, and wait for it."""
    page.get_by_label("Explain").select_option(label=choice)
    expect(page.locator("#why")).not_to_have_class("waiting")


def test_one_band_follows_the_choice(open_page: Open, reviews: ServerProcess) -> None:
    """Words, legend, card, equation and table show the logit of the chosen label, or positive against negative."""
    page = open_page(reviews).page
    text = TEXTS[0]
    type_text(page, text)
    predicted = api(reviews, "explain", text=text)
    contrast = predicted["contrast"]
    choices = page.locator("#label-choice option")
    expect(choices).to_have_text(["predicted label", "negative", "neutral", "positive", VERSUS])
    expect(page.locator("#why .words")).to_have_count(1)
    expect(page.locator("#why .sum")).to_have_count(1)
    for choice in ("neutral", VERSUS, "positive", "predicted label"):
        explain_by(page, choice)
        label = predicted["label"] if choice == "predicted label" else choice
        if choice == VERSUS:
            shares, rest = contrast["shares"], [contrast[name] for name in ("padding", "bias", "log_odds")]
            legend, name = ("for positive", "for negative"), f"log-odds of {VERSUS}"
        else:
            answer = api(reviews, "explain", text=text, label=label)
            shares = [word["share"] for word in answer["words"]]
            rest = [answer[name] for name in ("padding", "bias", "logit")]
            legend, name = (f"for {label}", f"against {label}"), f"logit of {label}"
        expect(page.locator("#sum")).to_contain_text(name)
        expect(page.locator("#legend-for")).to_have_text(legend[0])
        expect(page.locator("#legend-against")).to_have_text(legend[1])
        assert equation(page) == [f"{number:+.4f}" for number in (sum(shares), *rest)]
        largest = max(1, *map(abs, shares))
        words = page.locator("#words .word")
        expect(words).to_have_count(len(shares))
        effects = [f"{share:+.2f} {legend[share < 0]}" for share in shares]
        for word, share, effect in zip(words.all(), shares, effects, strict=True):
            assert tint(word) == pytest.approx(0.52 * abs(share) / largest, abs=0.005)
            assert minus(word.get_attribute("aria-label") or "") == f"{word.inner_text()}, {effect}"
        words.nth(2).click()
        expect(page.locator("#card-share")).to_have_text(effects[2].replace("-", "\u2212"))
        page.keyboard.press("Escape")
        assert page.locator("#words").inner_text() == text
        assert page.locator("#words-table th").all_text_contents() == ["word", "id", f"share of the {name}"]
        cells = page.locator("#words-table td:last-child").all_text_contents()
        assert [minus(cell) for cell in cells] == [f"{share:+.2f}" for share in shares]
    expect(page.locator("#label")).to_have_text(predicted["prediction"]["label"])


def test_the_contrast_needs_one(open_page: Open, reviews: ServerProcess) -> None:
    """The contrast is chosen for every text, is no label of a request, and goes with a model that has none."""
    opened = open_page(reviews)
    page = opened.page
    explain_by(page, VERSUS)
    with page.expect_request("**/v1/explain") as sent:
        type_text(page, "A lovely film.")
    assert sent.value.post_data_json == {"text": "A lovely film.", "sentences": True}
    expect(page.locator("#sum")).to_contain_text(VERSUS)
    page.locator("#model-choice").select_option(label="imdb-cnn, version 1")
    expect(page.locator("#sum")).to_contain_text("logit of positive")
    expect(page.locator("#label-field")).to_be_hidden()


@pytest.mark.parametrize("choice", ["predicted label", "neutral", VERSUS])
def test_the_softmax_of_the_numbers(open_page: Open, reviews: ServerProcess, choice: str) -> None:
    """The logits as displayed give the percentages as displayed, and both are those of the answer."""
    page = open_page(reviews).page
    explain_by(page, choice)
    for text in TEXTS:
        type_text(page, text)
        answer = api(reviews, "explain", text=text, **({"label": choice} if choice == "neutral" else {}))
        probabilities = answer["prediction"]["probabilities"]
        expect(page.locator("#softmax tbody td:first-child")).to_have_text([*probabilities], use_inner_text=True)
        rows = [
            [minus(cell) for cell in row.locator("td").all_inner_texts()]
            for row in page.locator("#softmax tbody tr").all()
        ]
        logits = {label: float(logit) for label, logit, *_ in rows}
        assert all(len(logit.partition(".")[2]) == 4 for _, logit, *_ in rows)
        assert logits[answer["label"]] == pytest.approx(answer["logit"], abs=5.1e-5)
        if choice != VERSUS:
            assert f"{logits[answer['label']]:+.4f}" == equation(page)[-1]
        total = sum(map(math.exp, logits.values()))
        for label, logit, power, percentage in rows:
            assert float(power) == pytest.approx(math.exp(float(logit)), rel=1e-4)
            digits = len(percentage.partition(".")[2].removesuffix("\u202f%"))
            assert percentage == f"{100 * math.exp(float(logit)) / total:.{digits}f}\u202f%"
            assert shown_percent(percentage) == pytest.approx(probabilities[label], abs=5.5e-4)
    expect(page.locator("#outcome")).to_contain_text("The softmax turns the logits of all labels into probabilities")
    expect(page.locator("#sigmoid")).to_have_count(0)


def test_the_sigmoid_of_the_number(open_page: Open, server: ServerProcess) -> None:
    """The logit of a model with one output gives the percentage of its second label, which is that of the answer."""
    page = open_page().page
    for text in TEXTS:
        type_text(page, text)
        probability = api(server, "predict", text=text)["probabilities"]["positive"]
        percentage = page.locator("#sigmoid").inner_text()
        logit = float(equation(page)[-1])
        digits = len(percentage.partition(".")[2].removesuffix("\u202f%"))
        assert percentage == f"{100 / (1 + math.exp(-logit)):.{digits}f}\u202f%"
        assert shown_percent(percentage) == pytest.approx(probability, abs=5.5e-4)
        assert minus(page.locator("#outcome sup").inner_text()) == f"{-logit:.4f}"
    expect(page.locator("#softmax")).to_be_hidden()


def test_one_of_several_labels(open_page: Open, toxic: ServerProcess) -> None:
    """Each label of a model that gives several has a sigmoid of its own."""
    page = open_page(toxic).page
    type_text(page, "question complaint")
    for label in ("thanks", "asks", "complains"):
        explain_by(page, label)
        expect(page.locator("#sum")).to_contain_text(f"logit of {label}")
        expect(page.locator("#outcome")).to_contain_text(f"the probability of {label}:")
        probability = api(toxic, "predict", text="question complaint")["probabilities"][label]
        assert shown_percent(page.locator("#sigmoid").inner_text()) == pytest.approx(probability, abs=5.5e-4)


def test_every_number_has_a_sentence(open_page: Open, reviews: ServerProcess) -> None:
    """The padding, the constant, the logit and the log-odds are explained, and everything fits on a phone."""
    page = open_page(reviews, viewport=PHONE).page
    type_text(page, "unbreakable" * 20 + TEXTS[0])
    page.get_by_text("What these numbers are").click()
    for choice, last in (("predicted label", "logit"), (VERSUS, "log-odds")):
        explain_by(page, choice)
        terms = page.locator("#terms dt")
        expect(terms).to_have_text(["padding and start", "constant", last])
        for text in page.locator("#terms dd").all_inner_texts():
            assert text.endswith(".") and len(text.split()) > 5
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    accessible(page)
