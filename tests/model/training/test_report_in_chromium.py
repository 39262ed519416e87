"""The training report in a browser, on a desktop and on a phone."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from sentiment_conv1d.model.__main__ import main
from tests.chromium import browser
from tests.tiny import FLAGS, write_reviews

__all__ = ["browser"]

LABELS = ("bad", "good", "a label as long as labels may be, " + "x" * 30)
WIDTHS = (320, 390, 1280)

#: The elements beyond the right edge, except those in a table that scrolls by itself.
WIDER_THAN_THE_SCREEN = """() => [...document.querySelectorAll("body *")]
    .filter(element => !element.closest(".scroll") && element.getBoundingClientRect().right > innerWidth + 1)
    .map(element => element.outerHTML)"""

HEADINGS = (
    *("Confusion", "Worst errors", "Data", "Network", "Training", "Labels", "Thresholds", "Confident predictions"),
    *("Plots", "Configuration", "Versions"),
)


@pytest.fixture(scope="module")
def long_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train on a very long label and on texts with a word that is longer than a line. Returns the report."""
    folder = tmp_path_factory.mktemp("long")
    data = write_reviews(folder / "reviews.csv", LABELS)
    with data.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows((f"{'w' * 200} {number}", LABELS[number % 3]) for number in range(30))
    assert main(["train", "--data", str(data), "--out", str(folder / "run"), *FLAGS, "--epochs", "1"]) == 0
    return folder / "run" / "report.html"


def opened(browser: Browser, report: Path, width: int) -> tuple[Page, list[str]]:
    """Open a report. Returns the page, with its console messages and requests."""
    page = browser.new_page(viewport={"width": width, "height": 800})
    noticed: list[str] = []
    page.on("console", lambda message: noticed.append(message.text))
    page.on("request", lambda request: noticed.append(request.url))
    page.goto(report.as_uri())
    return page, [each for each in noticed if each != report.as_uri() and not each.startswith("data:")]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["run_path", "long_words"])
def test_width(name: str, width: int, browser: Browser, request: pytest.FixtureRequest) -> None:
    """The page never scrolls sideways: wide tables scroll by themselves, images shrink, and long words break."""
    found = request.getfixturevalue(name)
    page, noticed = opened(browser, found if found.is_file() else found / "report.html", width)
    assert noticed == []
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(WIDER_THAN_THE_SCREEN) == []
    page.close()


def test_sections(run_path: Path, browser: Browser) -> None:
    """All sections have a heading, all plots are loaded, and the worst errors are explained."""
    page, _ = opened(browser, run_path / "report.html", 1280)
    assert page.locator("h2").all_inner_texts() == list(HEADINGS)
    titles = ["Learning curves", "ROC", "Precision and recall", "Calibration", "Confusion matrix"]
    assert page.locator("figcaption h3").all_inner_texts() == titles
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    errors = page.locator("section", has=page.get_by_role("heading", name="Worst errors")).locator("table").first
    assert errors.locator("thead th").all_inner_texts() == [
        "Text",
        "Words",
        "Probability of its label",
    ]
    assert errors.locator("tbody tr").count() > 0
    for words in errors.locator("tbody td:nth-child(2)").all_inner_texts():
        assert "\xa0+" in words or "\xa0\N{MINUS SIGN}" in words
    page.close()
