"""The comparison of two models or versions on the typed text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.inference.explaining import families
from tests.processes import ServerProcess
from tests.service import artifacts
from tests.service.page.conftest import Open
from tests.service.page.test_page import PHONE, accessible, api, shown_percent, type_text

#: `imdb-cnn` and `accurate` agree on the first text and disagree on the second.
AGREED = "A gripping, beautifully acted film."
DISPUTED = "It is predictable, and yet I recommend it."


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serve two versions of a model without explanations, and a model with explanations."""
    repository = tmp_path_factory.mktemp("versions")
    artifacts.publish_strength(repository, 2)
    artifacts.publish_strength(repository, -1)
    families.publish(repository, families.several_widths(), "explained")
    options = ("--workers", "1", "--versions", "all", "--default-model", "explained")
    with ServerProcess(*options, repository=repository) as server:
        yield server


def compare_with(page: Page, choice: str) -> None:
    """Choose what to compare with."""
    page.get_by_label("Compare with").select_option(label=choice)


def cells(page: Page, table: str) -> list[list[str]]:
    """Return the text of a table's cells by row, with a minus that Python reads."""
    rows = page.locator(f"{table} tbody tr").all()
    return [[text.replace("\u2212", "-") for text in row.locator("td").all_inner_texts()] for row in rows]


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[float]:
    """Return the ten largest differences between the shares of the same words, second minus first."""
    pairs = zip(first["words"], second["words"], strict=True)
    by_word = [other["share"] - one["share"] for one, other in pairs]
    return sorted(by_word, key=abs, reverse=True)[:10]


@pytest.mark.parametrize(
    ("text", "agreement"),
    [
        (AGREED, "Both predict positive."),
        (DISPUTED, "They disagree: imdb-cnn, version 1 predicts negative, and accurate, version 1 predicts positive."),
    ],
)
def test_predictions_side_by_side(open_page: Open, server: ServerProcess, text: str, agreement: str) -> None:
    """The page shows the answers of `/v1/predict` for both models, and says whether their labels agree."""
    page = open_page().page
    compare_with(page, "accurate, version 1")
    type_text(page, text)
    expect(page.locator("#agreement")).to_have_text(agreement)
    answers = [api(server, "predict", text=text, model=model) for model in ("imdb-cnn", "accurate")]
    labels, *probabilities = cells(page, "#probabilities-table")
    assert labels == ["label", *(answer["label"] for answer in answers)]
    for name, *shown in probabilities:
        expected = [answer["probabilities"][name.removeprefix("probability of ")] for answer in answers]
        assert [shown_percent(each) for each in shown] == pytest.approx(expected, abs=0.0005)
    expect(page.locator("#announcement")).to_contain_text(agreement)


def test_words_whose_shares_differ_most(open_page: Open, server: ServerProcess) -> None:
    """The ten words with the largest differences come first, with the share in each model."""
    page = open_page().page
    text = "Not bad, but dull \U0001f600 and awful; flumberous! A superb, superb ending, and I liked the music."
    type_text(page, text)
    compare_with(page, "imdb-cnn-8bit, version 1")
    expect(page.locator("#differences-title")).to_contain_text("the logit of positive differs most")
    first, second = (api(server, "explain", text=text, model=model) for model in ("imdb-cnn", "imdb-cnn-8bit"))
    rows = cells(page, "#differences")
    assert [float(row[3]) for row in rows] == pytest.approx(differences(first, second), abs=5.1e-3)
    words = {
        (one["text"], f"{one['share']:+.2f}", f"{two['share']:+.2f}")
        for one, two in zip(first["words"], second["words"], strict=True)
    }
    assert all((word, one, other) in words for word, one, other, _ in rows)


def test_no_request_without_a_choice(open_page: Open, server: ServerProcess) -> None:
    """Until a model is chosen, and after "none", the comparison is hidden and each text causes one request."""
    opened = open_page()
    page = opened.page

    def requests() -> int:
        return sum(url.endswith(("/v1/explain", "/v1/predict")) for url in opened.requests)

    expect(page.locator("#comparison")).to_be_hidden()
    before = requests()
    type_text(page, "superb")
    expect(page.locator("#counts")).to_have_text("1 word")
    assert requests() == before + 1
    compare_with(page, "accurate, version 1")
    expect(page.locator("#agreement")).to_have_text("Both predict positive.")
    assert requests() == before + 2
    compare_with(page, "none")
    expect(page.locator("#comparison")).to_be_hidden()
    type_text(page, "superb superb")
    expect(page.locator("#counts")).to_have_text("2 words")
    assert requests() == before + 3


def test_versions_without_explanations(open_page: Open, versions: ServerProcess) -> None:
    """Two versions are compared by `/v1/predict` alone, and the page says why it compares no words."""
    opened = open_page(versions)
    page = opened.page
    page.locator("#model-choice").select_option(label="tickets, version 2")
    expect(page.locator("#answered-by")).to_have_text("tickets, version 2")
    opened.requests.clear()
    type_text(page, "praise praise question")
    compare_with(page, "tickets, version 1")
    expect(page.locator("#agreement")).to_have_text(
        "They disagree: tickets, version 2 predicts complains, and tickets, version 1 predicts thanks."
    )
    compare_with(page, "explained, version 1")
    expect(page.locator("#probabilities-table th").last).to_have_text("explained, version 1")
    expect(page.locator("#differences-title")).to_contain_text("The words are not compared.")
    expect(page.locator("#differences")).to_be_hidden()
    assert not any(url.endswith("/v1/explain") for url in opened.requests)


def test_the_chosen_label_is_compared(open_page: Open, versions: ServerProcess) -> None:
    """Both models explain the label of the picker, and equal shares are not listed."""
    page = open_page(versions).page
    compare_with(page, "explained, version 1")
    type_text(page, "praise question")
    for label in artifacts.LABELS:
        page.locator("#label-choice").select_option(label)
        expect(page.locator("#differences-title")).to_have_text(
            f"Every word has the same share of the logit of {label} in both."
        )


def test_failed_comparison(open_page: Open, server: ServerProcess) -> None:
    """An error of the second request appears in the comparison, which can be requested again."""
    opened = open_page()
    page = opened.page

    def refuse(route: Route) -> None:
        if (route.request.post_data_json or {}).get("model") == "accurate":
            error = {"code": "not_found", "message": "version 1 is not served", "request_id": "x"}
            route.fulfill(status=404, json={"error": error})
        else:
            route.continue_()

    page.route("**/v1/*", refuse)
    compare_with(page, "accurate, version 1")
    type_text(page, "awful")
    expect(page.get_by_role("alert")).to_have_text("The comparison failed. version 1 is not served")
    expect(page.locator("#comparison-answer")).to_be_hidden()
    expect(page.locator("#trouble")).to_be_hidden()
    expect(page.locator("#label")).to_have_text("negative")
    expect(page.locator("#words .word")).to_have_text(["awful"])
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#agreement")).to_have_text("Both predict negative.")
    expect(page.locator("#comparison-trouble")).to_be_hidden()
    assert all("Failed to load resource" in error for error in opened.errors)
    opened.errors.clear()


def test_single_model(open_page: Open, tmp_path: Path) -> None:
    """With one version of one model, there is no picker for the comparison."""
    families.publish(tmp_path, families.several_widths())
    with ServerProcess("--workers", "1", repository=tmp_path) as server:
        page = open_page(server).page
        expect(page.get_by_label("Explain")).to_be_visible()
        expect(page.locator("#comparison-field")).to_be_hidden()


def test_the_comparison_on_a_phone(open_page: Open, server: ServerProcess) -> None:
    """Nothing is wider than a phone, and axe-core finds no serious problem in either colour scheme."""
    page = open_page(viewport=PHONE).page
    type_text(page, "unbreakable" * 20 + " A superb, superb film, but an awful, boring ending.")
    compare_with(page, "imdb-cnn-8bit, version 1")
    expect(page.locator("#differences tbody tr")).to_have_count(10)
    for width in (320, PHONE["width"]):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    accessible(page)
