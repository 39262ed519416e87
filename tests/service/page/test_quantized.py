"""The page of an 8-bit model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.processes import MODEL_REPOSITORY, ServerProcess
from tests.service.page.conftest import Open
from tests.service.page.test_page import show_reading, type_text


@pytest.fixture(scope="module")
def quantized() -> Iterator[ServerProcess]:
    """Serve all shipped models, by default the 8-bit one."""
    with ServerProcess("--workers", "1", "--default-model", "imdb-cnn-8bit", repository=MODEL_REPOSITORY) as server:
        yield server


def show_answering(page: Page) -> None:
    """Show how the model that answers works."""
    show_reading(page)
    page.get_by_label("The steps of").select_option("")
    expect(page.locator("#reads")).to_have_attribute("aria-busy", "false")


def test_how_it_works_begins_with_the_classic_network(open_page: Open, quantized: ServerProcess) -> None:
    """The steps are those of `imdb-cnn`, with its own answer, until the reader chooses another model."""
    page = open_page(quantized).page
    text = "Warm, funny and wise."
    type_text(page, text)
    show_reading(page)
    expect(page.locator("#matrix-caption")).to_contain_text("400 words across, 50 numbers down")
    expect(page.locator("#matrix-tables")).to_be_hidden()
    answer = quantized.client.post("/v1/predict", json={"text": text, "model": "imdb-cnn"}).json()
    expect(page.locator("#reads-label")).to_contain_text(f"{answer['label']}, {100 * answer['score']:.1f}")
    show_answering(page)
    expect(page.locator("#matrix-tables")).to_be_visible()
    expect(page.locator("#matrix-learned")).to_be_hidden()


def test_why_another_model_is_shown(open_page: Open, reviews: ServerProcess) -> None:
    """Beside the selector, the page says why it shows the steps of another model, with both answers if they differ."""
    page = open_page(reviews).page
    why = page.locator("#reads-why")
    for text, differ in (("The blue one arrived on Tuesday.", True), ("A superb, wonderful film.", False)):
        type_text(page, text)
        show_reading(page)
        expect(why).to_contain_text(
            "imdb-cnn is the classic example: it turns a text into a matrix of 400\u2009\u00d7\u200950"
        )
        expect(why).to_contain_text("The model that answers under Try it is reviews, version 2.")
        shown, answers = (
            reviews.client.post("/v1/predict", json={"text": text, "model": model}).json()
            for model in ("imdb-cnn", "reviews")
        )
        assert (shown["label"] != answers["label"]) is differ
        if differ:
            expect(why).to_contain_text(
                f"They differ: imdb-cnn, version 1 says {shown['label']}, {100 * shown['score']:.1f}\u202f%, "
                f"and reviews, version 2 says {answers['label']}, {100 * answers['score']:.1f}\u202f%."
            )
        else:
            expect(page.locator("#reads-label")).to_contain_text("positive")
            expect(why).not_to_contain_text("differ")
    page.get_by_label("The steps of").select_option(label="accurate, version 1")
    expect(why).to_contain_text("The model that answers under Try it is reviews, version 2.")
    expect(why).not_to_contain_text("classic")
    show_answering(page)
    expect(why).to_be_empty()


def test_a_filter_of_the_answer(open_page: Open, quantized: ServerProcess) -> None:
    """A filter that is chosen under the answer is shown as a filter of the model that answered."""
    page = open_page(quantized).page
    type_text(page, "Warm, funny and wise.")
    page.get_by_text("The filters that mattered most").click()
    page.locator("#filters button").first.click()
    expect(page.locator("#reads")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#matrix-caption")).to_contain_text("3 numbers down")


def test_the_reading_has_a_number_for_each_place(open_page: Open, quantized: ServerProcess) -> None:
    """The filter reads one number of a word for each tap, and the curve is the sum of these numbers."""
    page = open_page(quantized).page
    text = "Warm, funny and wise."
    type_text(page, text)
    show_answering(page)
    expect(page.locator("#label")).to_have_text("positive")
    expect(page.locator("#matrix-caption")).to_contain_text("400 words across, 3 numbers down")
    curve = quantized.client.post("/v1/inspect", json={"text": text}).json()["filter"]["curve"]
    expect(page.locator("#curve-caption")).to_contain_text(f"{len(curve)} places")


def test_another_filter_reads_its_own_numbers(open_page: Open, quantized: ServerProcess) -> None:
    """After another filter is chosen, the products of its numbers add up to the value of its curve."""
    page = open_page(quantized).page
    text = "Warm, funny and wise."
    type_text(page, text)
    show_answering(page)
    expect(page.locator("#chips")).to_contain_text("warm")
    page.locator("#filter-number").fill("17")
    page.locator("#filter-number").press("Enter")
    expect(page.locator("#pooled-text")).to_contain_text("Filter no. 17 ")
    body = {"text": text, "filter": {"width": 3, "index": 17}}
    shown = quantized.client.post("/v1/inspect", json=body).json()["filter"]
    parts = [float(part.replace("\u2212", "-")) for part in page.locator("#taps .part").all_inner_texts()[1:]]
    assert len(parts) == 3
    assert sum(parts) == pytest.approx(shown["curve"][shown["position"]], abs=2e-4)
