"""The view "The model": every number of a manifest has a name and a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.processes import MODEL_REPOSITORY, ServerProcess
from tests.service import artifacts
from tests.service.page.conftest import Open
from tests.service.page.test_page import show_view

#: The names of the metrics that this project measures.
NAMES = {
    "accuracy": "Accuracy",
    "opinion_accuracy": "Accuracy, positive against negative",
    "micro_f1": "Micro F1",
    "macro_f1": "Macro F1",
    "average_precision": "Average precision",
    "roc_auc": "Area under the ROC curve",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "expected_calibration_error": "Calibration error",
    "confident_share": "Confident answers",
    "confident_accuracy": "Accuracy of confident answers",
    "other_accuracy": "Accuracy of the other answers",
}


@pytest.fixture(scope="module")
def shipped() -> Iterator[ServerProcess]:
    """Serve all shipped models, by default `reviews`."""
    with ServerProcess("--workers", "1", "--default-model", "reviews", repository=MODEL_REPOSITORY) as server:
        yield server


def numbers(section: Locator) -> dict[str, tuple[str, str]]:
    """Return the numbers with a bar, and the sentence below each, by their names."""
    found = {}
    for each in section.locator("figure div:has(> .measure)").all():
        name, value = each.locator(".measure span").inner_text(), each.locator(".measure b").inner_text()
        found[name] = (value, each.locator("p").inner_text())
    return found


def test_every_number_has_a_name_and_a_sentence(open_page: Open, shipped: ServerProcess) -> None:
    """No number of a shipped model is only a key of its manifest, and each is followed by what it means."""
    page = open_page(shipped).page
    show_view(page, "The model")
    page.locator("#models details").evaluate_all("all => all.forEach((each) => { each.open = true; })")
    for model in shipped.client.get("/v1/models").json()["models"]:
        section = page.locator(f"[data-model='{model['name']}/{model['version']}']")
        shown = numbers(section)
        for name, value in model["metrics"]["values"].items():
            assert shown[NAMES[name]][0] == f"{value:.4f}"
        assert all(name[0].isupper() or name.startswith("against ") for name in shown)
        assert all(re.fullmatch(r"\S.*\.", sentence) for _, sentence in shown.values())
        facts = section.locator(".facts > div").all()
        assert {each.locator("dt").inner_text() for each in facts if each.locator("dd.small").count() == 0} <= {
            "Labels",
            "Answer",
        }
        assert not re.search(r"\b[a-z]+_[a-z]+\b", section.inner_text().replace("neutral_test.parquet", ""))
        assert (model["precision"] == "uint8") is ("Whole numbers from 0 to 255" in section.inner_text())
    reviews = page.locator("[data-model='reviews/2']")
    expect(reviews.locator(".purpose")).to_contain_text("It was confident of 57.9\u202f% of the answers.")
    expect(reviews.locator(".facts div", has_text="Confident of neutral").locator("dd").first).to_have_text("never")
    expect(reviews.locator(".facts div", has_text="Confident of positive")).to_contain_text(
        "at least 95\u202f% of such"
    )
    (neutral,) = reviews.locator("figure tbody tr", has_text="0.3493").all()
    assert neutral.locator("td").all_inner_texts() == [
        "neutral",
        "2,634",
        "0.3493",
        "0.6925",
        "0.4644",
        "469",
        "1,824",
        "341",
    ]


def test_the_numbers_of_any_manifest(open_page: Open, tmp_path: Path) -> None:
    """All metrics of this project have names, and a number that the page does not know is shown as it is."""
    values = {name: 0.5 + place / 100 for place, name in enumerate([*NAMES, "<b>own</b>"])}
    artifacts.publish_table(tmp_path, metrics={"measured_on": "7 texts of a.csv", "examples": 7, "values": values})
    with ServerProcess("--workers", "1", repository=tmp_path) as server:
        page = open_page(server).page
        show_view(page, "The model")
        shown = numbers(page.locator("#models"))
        assert {name: value for name, (value, _) in shown.items() if not name.startswith("against ")} == {
            NAMES.get(name, name): f"{value:.4f}" for name, value in values.items()
        }
        assert shown["<b>own</b>"][1].startswith("Its manifest has this number")
        expect(page.locator(".purpose")).to_contain_text("51.0\u202f% were right among the texts that people labelled")
        expect(page.locator("#models")).to_contain_text("It has no limits")
        page.context.close()
