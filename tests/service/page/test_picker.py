"""The picker of model, version and label, samples from the artifact, and the phone and print layouts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.inference.explaining import families
from tests.processes import ServerProcess
from tests.service import artifacts
from tests.service.page.conftest import Open
from tests.service.page.test_page import PHONE, accessible, api, show_reading, type_text

SAMPLES = [{"label": "thanks", "text": "praise praise"}, {"label": "asks", "text": "question praise"}]


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serve a model of three labels with explanations, and a model with samples and without explanations."""
    repository = tmp_path_factory.mktemp("two")
    families.publish(repository, families.several_widths(), "explained")
    artifacts.publish_table(repository, name="sampled", samples=SAMPLES)
    with ServerProcess("--workers", "1", "--default-model", "explained", repository=repository) as server:
        yield server


def test_a_model_is_picked(open_page: Open, two_models: ServerProcess) -> None:
    """The chosen model answers, and its samples are offered."""
    page = open_page(two_models).page
    type_text(page, "complaint complaint")
    expect(page.locator("#answered-by")).to_contain_text("explained")
    page.locator("#model-choice").select_option(label="sampled, version 1")
    expect(page.locator("#answered-by")).to_contain_text("sampled")
    expect(page.locator("#label")).to_have_text("complains")
    expect(page.locator("#samples button")).to_have_text(["thanks", "asks"])
    page.locator("#samples button").first.click()
    expect(page.get_by_label("Your text")).to_have_value("praise praise")
    expect(page.locator("#label")).to_have_text("thanks")
    page.locator("#model-choice").select_option(label="default model")
    expect(page.locator("#answered-by")).to_contain_text("explained")
    expect(page.locator("#samples button")).to_have_count(0)
    expect(page.get_by_label("Your text")).to_have_value("")


def test_a_label_is_picked(open_page: Open, two_models: ServerProcess) -> None:
    """The words and the steps explain the chosen label, and the prediction does not change."""
    page = open_page(two_models).page
    text = "praise question complaint"
    type_text(page, text)
    predicted = page.locator("#label").inner_text()
    for label in artifacts.LABELS:
        page.locator("#label-choice").select_option(label)
        expect(page.locator("#legend-for")).to_have_text(f"for {label}")
        assert page.locator("#label").inner_text() == predicted
        answer = api(two_models, "explain", text=text, label=label)
        expect(page.locator("#sum")).to_contain_text(f"{abs(answer['logit']):.4f}")
    show_reading(page)
    expect(page.locator("#legend-for")).to_have_text(f"for {artifacts.LABELS[-1]}")


def test_one_model_of_two_labels_has_no_picker(open_page: Open, tmp_path: Path) -> None:
    """With one model and one logit, the picker is hidden."""
    artifacts.shipped_copy(tmp_path)
    with ServerProcess("--workers", "1", repository=tmp_path) as server:
        expect(open_page(server).page.locator("#picker")).to_be_hidden()


def test_filters_on_a_phone_are_cards(open_page: Open) -> None:
    """Every number has its title beside it, and nothing scrolls sideways."""
    page = open_page(viewport=PHONE).page
    type_text(page, "A gripping, beautifully acted film.")
    page.get_by_text("The filters that mattered most").click()
    table = page.locator("#filters")
    expect(table.locator("thead")).to_be_hidden()
    assert table.evaluate("element => element.scrollWidth <= element.clientWidth + 1")
    titles = (
        table.locator("tbody tr").first.locator("td").evaluate_all("cells => cells.map(each => each.dataset.title)")
    )
    assert titles == ["best match", "value", "weight", "moves the logit by", "filter"]
    accessible(page)


def test_steps_are_printed(open_page: Open) -> None:
    """The print layout has the answer and the steps, without controls and scroll bars."""
    page = open_page().page
    type_text(page, "A gripping, beautifully acted film.")
    show_reading(page)
    page.emulate_media(media="print")
    for hidden in (".bar", "#samples", "#scrub", "#play"):
        expect(page.locator(hidden)).to_be_hidden()
    for shown in ("#label", "#words", "#matrix", "#map", "#final-numbers"):
        expect(page.locator(shown)).to_be_visible()
    assert page.locator("#words").evaluate("element => getComputedStyle(element).overflowY") == "visible"


def test_the_dark_scheme_is_printed_light(open_page: Open) -> None:
    """In the print layout every colour is that of the light scheme, whatever the system prefers."""
    page = open_page(color_scheme="dark").page
    colour = "element => getComputedStyle(element).backgroundColor"
    assert page.locator("#verdict").evaluate(colour) != "rgb(255, 255, 255)"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("#verdict").evaluate(colour) == "rgb(255, 255, 255)"


def test_the_page_and_the_reference_link_to_each_other(open_page: Open) -> None:
    """Links lead from the page to /docs and back."""
    page = open_page().page
    page.get_by_role("link", name="API").click()
    expect(page).to_have_url(re.compile(r"/docs$"))
    page.get_by_role("link", name="Try a text").click()
    expect(page.locator("#probabilities .measure").first).to_be_visible()
