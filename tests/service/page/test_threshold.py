"""The threshold slider, why a model is not confident, and what the page says about models."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.processes import SHIPPED_MODELS, ServerProcess
from tests.service.artifacts import publish_limits
from tests.service.page.conftest import Open
from tests.service.page.test_page import api, show_view, type_text

WORDS = "fewer than half of the words are known"

#: Texts of which some shipped model is not confident, and some of which all are.
DOUBTED = [
    "A gripping, beautifully acted film.",
    "Two dull hours that I will never get back.",
    "The blue one arrived on Tuesday.",
    "It was fine.",
    "Great phone, but the battery is bad.",
    "Questo film e terribile",
    "flumberous zorptastic kwisatz superb",
    "flumberous zorptastic superb wonderful kwisatz",
    "Good food, slow service.",
    "Not great, not terrible.",
    "I would not buy it again.",
    "It stopped.",
]

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


def test_no_threshold_of_a_softmax(open_page: Open, several: ServerProcess) -> None:
    """A model that chooses the most probable label has no threshold, as its requests have none."""
    page = open_page(several).page
    type_text(page, "praise question nothing")
    expect(page.locator("#label")).to_have_text(api(several, "predict", text="praise question nothing")["label"])
    expect(page.locator("#threshold")).to_be_hidden()
    expect(page.locator("#label-note")).to_be_hidden()


def test_not_confident(open_page: Open, doubtful: ServerProcess) -> None:
    """The page says why the model is not confident, also of a label that follows from a threshold of the reader."""
    page = open_page(doubtful).page
    type_text(page, "A gripping, beautifully acted film.")
    expect(page.locator("#label")).to_have_text("positive")
    expect(page.locator("#label-note")).to_be_hidden()
    type_text(page, TEXT)
    expect(page.locator("#label")).to_have_text("negative")
    expect(page.locator("#label-note")).to_have_text("Not confident: never for negative.")
    expect(page.locator("#announcement")).to_contain_text("Not confident: never for negative.")
    page.get_by_label("Threshold for positive").fill("0.01")
    expect(page.locator("#label")).to_have_text("positive")
    expect(page.locator("#label-note")).to_have_text("Not confident: below 0.90 for positive.")
    type_text(page, "A gripping, beautifully acted film.")
    expect(page.locator("#label-note")).to_be_hidden()
    show_view(page, "Many texts")
    page.get_by_label("Texts", exact=True).fill(TEXT)
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#predictions tbody td").nth(2)).to_have_text("positive not sure")


@pytest.mark.parametrize("model", ["reviews", "accurate", "imdb-cnn"])
def test_reasons_are_those_of_the_service(open_page: Open, server: ServerProcess, model: str) -> None:
    """The page names a reason for exactly the texts of which the service is not confident, and each reason is true."""
    page = open_page().page
    page.locator("#model-choice").select_option(label=f"{model}, version {SHIPPED_MODELS[model].name}")
    expect(page.locator("#answered-by")).to_contain_text(model)
    [listed] = [each for each in server.client.get("/v1/models").json()["models"] if each["name"] == model]
    limits, seen = listed["decision"]["confident_from"], set()
    for text in DOUBTED:
        type_text(page, text)
        answer = api(server, "predict", text=text, model=model)
        expect(page.locator("#label")).to_have_text(answer["label"])
        reasons = expected_reasons(answer, limits[answer["label"]])
        assert bool(reasons) is (answer["confident"] is False)
        if reasons:
            expect(page.locator("#label-note")).to_have_text(f"Not confident: {', and '.join(reasons)}.")
        else:
            expect(page.locator("#label-note")).to_be_hidden()
        seen.update(reasons)
    assert any(reason.startswith("below") for reason in seen) and WORDS in seen
    assert ("never for neutral" in seen) is (model == "reviews")


def expected_reasons(answer: dict[str, Any], limit: float | None) -> list[str]:
    """Return why a model is not confident of an answer, with the two decimals that are enough for these texts."""
    reasons = []
    if limit is None:
        reasons.append(f"never for {answer['label']}")
    elif answer["score"] < limit:
        reasons.append(f"below {limit:.2f} for {answer['label']}")
    if answer["tokens"] - 1 < 2 * answer["unknown_tokens"]:
        reasons.append(WORDS)
    return reasons


def test_limits_close_to_the_score(open_page: Open, server: ServerProcess, tmp_path: Path) -> None:
    """A score that is a limit reaches it, and a limit above a score has so many digits that it is above it."""
    text = "A superb film"
    score = float(np.float32(api(server, "predict", text=text)["score"]))
    limits: dict[str, float] = {"reached": score, "missed": math.nextafter(score, 1), "near": 0.9999}
    for name, limit in limits.items():
        publish_limits(tmp_path, name, {"positive": limit})
    with ServerProcess("--workers", "1", "--default-model", "near", repository=tmp_path) as own:
        page = open_page(own).page
        for name, limit in limits.items():
            page.locator("#model-choice").select_option(label=f"{name}, version 1")
            type_text(page, text)
            expect(page.locator("#answered-by")).to_have_text(f"{name}, version 1")
            note = page.locator("#label-note")
            if api(own, "predict", text=text, model=name)["confident"]:
                assert name == "reached"
                expect(note).to_be_hidden()
                page.get_by_label("Threshold for positive").fill("0.99")  # decided by the page, for the same label
                expect(page.locator("#threshold-reset")).to_be_visible()
                expect(note).to_be_hidden()
                continue
            expect(note).to_be_visible()
            shown = float(re.fullmatch(r"Not confident: below ([0-9.]+) for positive\.", note.inner_text())[1])  # type: ignore[index]
            assert score < shown < 1 and shown == pytest.approx(limit, abs=0.005)
        page.context.close()


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
    expect(page.locator("#announcement")).not_to_contain_text("Not confident")
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
