"""The page asks whether its label is right if the service takes feedback, and sends the right label."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.processes import ServerProcess
from tests.service.artifacts import publish_table
from tests.service.page.conftest import Open
from tests.service.page.test_page import accessible, type_text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a folder with the log and a repository."""
    return tmp_path_factory.mktemp("feedback")


@pytest.fixture(scope="module")
def tickets(folder: Path) -> Iterator[ServerProcess]:
    """Take feedback on a model of three labels, without explanations."""
    publish_table(folder / "repository")
    flags = ("--workers", "2", "--feedback-log", str(folder / "log"))
    with ServerProcess(*flags, repository=folder / "repository") as server:
        yield server


def stored(folder: Path) -> list[tuple[str, str]]:
    """Return the predicted and the right labels in a log, oldest first."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]
    records: list[dict[str, Any]] = sorted(map(json.loads, lines), key=lambda record: str(record["time"]))
    return [(record["predicted"], record["label"]) for record in records]


def test_two_labels(open_page: Open, tmp_path: Path) -> None:
    """Yes sends the label of the answer, No the other one, and each new answer has the question again."""
    with ServerProcess("--workers", "1", "--feedback-log", str(tmp_path)) as server:
        page = open_page(server).page
        line, said = page.locator("#feedback"), page.locator("#feedback-said")
        for answer in ("Yes", "No"):
            type_text(page, f"A gripping, beautifully acted film. {answer}")
            expect(page.locator("#feedback-question")).to_have_text("Was this right? Yes / No", use_inner_text=True)
            accessible(page)
            line.get_by_role("button", name=answer).click()
            expect(said).to_have_text("Thank you.")
            expect(said).to_be_focused()
            expect(page.locator("#feedback-question")).to_be_hidden()
        assert stored(tmp_path) == [("positive", "positive"), ("positive", "negative")]
        type_text(page, "")
        expect(line).to_be_hidden()  # there is no verdict


def test_threshold(open_page: Open, tmp_path: Path) -> None:
    """The question is about the label that the page shows, which can follow another threshold."""
    with ServerProcess("--workers", "1", "--feedback-log", str(tmp_path)) as server:
        page = open_page(server).page
        type_text(page, "It was fine, in its way.")
        shown = page.locator("#label").inner_text()
        page.locator("#threshold-choice").fill("0.99" if shown == "positive" else "0.01")
        other = "negative" if shown == "positive" else "positive"
        expect(page.locator("#label")).to_have_text(other)
        page.get_by_role("button", name="Yes").click()
        expect(page.locator("#feedback-said")).to_have_text("Thank you.")
        assert stored(tmp_path) == [(shown, other)]


def test_three_labels(open_page: Open, tickets: ServerProcess, folder: Path) -> None:
    """With more labels, No offers the others."""
    page = open_page(tickets).page
    type_text(page, "praise")
    expect(page.get_by_label("The right one is")).to_be_hidden()
    page.get_by_role("button", name="No", exact=True).click()
    choice = page.get_by_label("The right one is")
    expect(choice).to_be_focused()
    assert choice.locator("option").all_inner_texts() == ["asks", "complains"]
    choice.select_option("complains")
    accessible(page)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#feedback-said")).to_have_text("Thank you.")
    assert stored(folder / "log") == [("thanks", "complains")]


def test_refusal(open_page: Open, tickets: ServerProcess) -> None:
    """If the service refuses feedback, the page says why, and the reader can answer again."""
    opened = open_page(tickets)
    page = opened.page
    page.route("**/v1/feedback", lambda route: route.fulfill(status=429, json={"error": {"message": "Too much."}}))
    type_text(page, "question")
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("#feedback-said")).to_have_text(
        "Your answer was not stored. The service is busy at the moment. The service says: Too much."
    )
    expect(page.get_by_role("button", name="Yes")).to_be_visible()
    opened.errors.clear()  # Chromium logs the refusal


def test_late_answer(open_page: Open, tickets: ServerProcess) -> None:
    """A late answer of the service does not end the question about another text."""
    page = open_page(tickets).page
    held: list[Route] = []
    page.route("**/v1/feedback", lambda route: held.append(route))
    type_text(page, "complaint")
    with page.expect_request("**/v1/feedback"):
        page.get_by_role("button", name="Yes").click()
    type_text(page, "praise praise")
    expect(page.locator("#counts")).to_have_text("2 words")
    with page.expect_request_finished(lambda request: request.url.endswith("/v1/feedback")):
        held[0].continue_()
    page.evaluate("() => new Promise((done) => setTimeout(done))")  # the page has seen the answer
    expect(page.locator("#feedback-said")).to_have_text("")
    expect(page.locator("#feedback-question")).to_be_visible()


def test_off(open_page: Open) -> None:
    """By default, the page does not ask."""
    page = open_page().page
    type_text(page, "A gripping film.")
    expect(page.locator("#feedback")).to_be_hidden()
