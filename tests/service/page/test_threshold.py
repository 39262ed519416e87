"""The threshold slider, and what the page says about models."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.processes import ServerProcess
from tests.service.page.conftest import Open
from tests.service.page.test_page import api, show_view, type_text

NOT_SURE = "The model is not sure about this text."

TEXT = "It is not bad, but the story never comes to life."


def test_threshold_of_two_labels(open_page: Open, server: ServerProcess) -> None:
    """The label is that of the API's `threshold`, also in the table of many texts, and no request carries it."""
    opened = open_page()
    page = opened.page
    type_text(page, TEXT)
    expect(page.locator("#label")).to_have_text("negative")
    show_view(page, "Many texts")
    page.get_by_label("Texts", exact=True).fill(TEXT)
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#predictions tbody td").nth(2)).to_have_text("negative")
    show_view(page, "Try it")
    opened.requests.clear()
    page.get_by_label("Threshold for positive").fill("0.01")
    answer = api(server, "predict", text=TEXT, threshold=0.01)
    expect(page.locator("#label")).to_have_text(answer["label"])
    expect(page.locator("#announcement")).to_contain_text(answer["label"])
    expect(page.locator("#threshold-note")).to_contain_text("Changes only what this page displays.")
    show_view(page, "Many texts")
    expect(page.locator("#predictions tbody td").nth(2)).to_have_text("positive not sure")
    expect(page.locator("#batch-note")).to_contain_text("The labels follow the threshold")
    assert not any("/v1/" in url for url in opened.requests)
    show_view(page, "Try it")
    page.get_by_role("button", name="Reset").click()
    expect(page.locator("#label")).to_have_text("negative")
    expect(page.locator("#threshold-value")).to_contain_text("50.0")


def test_threshold_of_several_labels(open_page: Open, several: ServerProcess) -> None:
    """Below the least probability the page is unsure, and names the most probable label."""
    page = open_page(several).page
    type_text(page, "praise question nothing")
    answer = api(several, "predict", text="praise question nothing")
    slider = page.get_by_label("Unsure below")
    slider.fill(f"{answer['score'] - 0.01:.2f}")
    expect(page.locator("#label")).to_have_text(answer["label"])
    slider.fill(f"{answer['score'] + 0.01:.2f}")
    expect(page.locator("#label")).to_have_text("unsure")
    expect(page.locator("#label-note")).to_have_text(f"The most probable label is {answer['label']}.")


def test_not_confident(open_page: Open, doubtful: ServerProcess) -> None:
    """The page says that the model is not sure, also of a label that follows from a threshold of the reader."""
    page = open_page(doubtful).page
    type_text(page, "A gripping, beautifully acted film.")
    expect(page.locator("#label")).to_have_text("positive")
    expect(page.locator("#label-note")).to_be_hidden()
    type_text(page, TEXT)
    expect(page.locator("#label")).to_have_text("negative")
    expect(page.locator("#label-note")).to_have_text(NOT_SURE)
    expect(page.locator("#announcement")).to_contain_text(NOT_SURE)
    page.get_by_label("Threshold for positive").fill("0.01")
    expect(page.locator("#label")).to_have_text("positive")
    expect(page.locator("#label-note")).to_have_text(NOT_SURE)
    type_text(page, "A gripping, beautifully acted film.")
    expect(page.locator("#label-note")).to_be_hidden()
    show_view(page, "Many texts")
    page.get_by_label("Texts", exact=True).fill(TEXT)
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#predictions tbody td").nth(2)).to_have_text("positive not sure")


def test_model_without_limits(open_page: Open, doubtful: ServerProcess) -> None:
    """The page says nothing about the confidence of a model that has no limits, whatever threshold the reader sets."""
    page = open_page(doubtful).page
    page.locator("#model-choice").select_option(label="unmeasured, version 1")
    type_text(page, TEXT)
    expect(page.locator("#answered-by")).to_have_text("unmeasured, version 1")
    expect(page.locator("#label")).to_have_text("negative")
    expect(page.locator("#label-note")).to_be_hidden()
    page.get_by_label("Threshold for positive").fill("0.01")
    expect(page.locator("#label")).to_have_text("positive")
    expect(page.locator("#label-note")).to_be_hidden()
    expect(page.locator("#announcement")).not_to_contain_text(NOT_SURE)
    show_view(page, "Many texts")
    page.get_by_label("Texts", exact=True).fill(TEXT)
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#predictions tbody td").nth(2)).to_have_text("positive ")


def test_what_shipped_models_are_for(open_page: Open, server: ServerProcess) -> None:
    """Each shipped model has a card with its purpose, its measured accuracy and texts that it really gets wrong."""
    page = open_page().page
    for model in server.client.get("/v1/models").json()["models"]:
        show_view(page, "The model")
        section = page.locator(f"[data-model='{model['name']}/{model['version']}']")
        if section.get_attribute("open") is None:
            section.locator("summary").click()
        expect(section).to_contain_text("To tell whether an English ")
        expect(section).to_contain_text(f"{100 * model['metrics']['values']['accuracy']:.1f}")
        failures = section.locator(".purpose p:has(button)")
        assert failures.count() >= 3
        for line in failures.all():
            text = line.locator("button").inner_text().strip("\u201c\u201d")
            answer = api(server, "predict", text=text, model=model["name"])
            assert line.inner_text().endswith(f"gets {answer['label']}.")
        failures.last.locator("button").click()
        expect(page.get_by_label("Your text")).to_have_value(text)
        expect(page.locator("#answered-by")).to_have_text(f"{model['name']}, version {model['version']}")
        expect(page.locator("#label")).to_have_text(answer["label"])


def test_labels_with_thresholds_of_their_own(open_page: Open, toxic: ServerProcess) -> None:
    """A text shows all of its labels, and the page offers no single threshold, but an explanation of every label."""
    page = open_page(toxic).page
    for text in ("question", "complaint", "question complaint", "praise"):
        answer = api(toxic, "predict", text=text)
        type_text(page, text)
        expect(page.locator("#label")).to_have_text(", ".join(answer["labels"]) or "no label")
        expect(page.locator("#label-note")).to_contain_text(f"The most probable label is {answer['label']}, ")
    expect(page.locator("#threshold")).to_be_hidden()
    page.locator("#label-choice").select_option("asks")
    expect(page.locator("#sum")).to_contain_text("logit of asks")
