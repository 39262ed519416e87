"""The last texts of the reader: they survive a reload in the session storage of the tab, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.processes import ServerProcess
from tests.service.page.conftest import Open
from tests.service.page.test_page import KEY, PHONE, accessible, type_text

#: Scripts after which the browser refuses to store anything.
REFUSALS = {
    "no access": """Object.defineProperty(window, "sessionStorage", {
        get() { throw new DOMException("", "SecurityError"); },
    })""",
    "full": "Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError'); }",
}


def stored(page: Page) -> dict[str, Any]:
    """Return what the session storage contains."""
    contents: dict[str, Any] = page.evaluate("({ ...sessionStorage })")
    return contents


def kept(page: Page, server: ServerProcess) -> list[str]:
    """Return the kept texts of the page of a server, from the newest to the oldest."""
    texts: list[str] = json.loads(stored(page)[f"texts {server.url}/"])
    return texts


def reload(page: Page) -> None:
    page.reload()
    page.locator("#probabilities .measure").first.wait_for()


def test_the_text_survives_a_reload(open_page: Open, server: ServerProcess) -> None:
    """A reload shows the last text and its answer. Neither the address nor a request for a file contains it."""
    opened = open_page()
    page = opened.page
    expect(page.locator("#recent")).to_be_hidden()
    assert stored(page) == {}  # what the page shows at first is no text of the reader
    type_text(page, "A dreadful, awful film.")
    opened.requests.clear()
    reload(page)
    expect(page.get_by_label("Your text")).to_have_value("A dreadful, awful film.")
    expect(page.locator("#label")).to_have_text("negative")
    assert all("dreadful" not in url for url in [page.url, *opened.requests])
    page.get_by_role("button", name="Complaint").click()
    expect(page.locator("#counts")).to_have_text("27 words")
    reload(page)
    expect(page.get_by_label("Your text")).to_have_value(kept(page, server)[0])
    assert kept(page, server)[1] == "A dreadful, awful film."


def test_the_last_ten_texts(open_page: Open, server: ServerProcess) -> None:
    """Ten texts are kept, each once, without blank and long ones, and each can be shown again."""
    page = open_page().page
    for number in range(12):
        type_text(page, f"{number} films, all superb.")
    type_text(page, "5 films, all superb.")
    newest = [5, 11, 10, 9, 8, 7, 6, 4, 3, 2]
    assert kept(page, server) == [f"{number} films, all superb." for number in newest]
    type_text(page, " \n")
    type_text(page, "\U0001f600" * 10_001)
    assert len(kept(page, server)) == 10 and kept(page, server)[0] == "5 films, all superb."
    type_text(page, "\U0001f600" * 10_000)
    assert kept(page, server)[0] == "\U0001f600" * 10_000
    expect(page.locator("#recent-choice option")).to_have_count(11)
    page.get_by_label("Last texts").select_option(label="9 films, all superb.")
    expect(page.get_by_label("Your text")).to_have_value("9 films, all superb.")
    expect(page.locator("#counts")).to_have_text("4 words")
    assert kept(page, server)[:2] == ["9 films, all superb.", "\U0001f600" * 10_000]
    assert len(kept(page, server)) == 10


def test_a_text_that_is_continued(open_page: Open, server: ServerProcess) -> None:
    """A text that grows stays one text."""
    page = open_page().page
    for text in ("A superb", "A superb film", "A superb film.", "Awful."):
        type_text(page, text)
    assert kept(page, server) == ["Awful.", "A superb film."]


def test_a_link_wins(open_page: Open, server: ServerProcess) -> None:
    """The text of a link is shown in place of the last text."""
    page = open_page().page
    type_text(page, "A dreadful, awful film.")
    page.goto("about:blank")
    page.goto(f"{server.url}/#text=A+superb+film")
    expect(page.get_by_label("Your text")).to_have_value("A superb film")
    expect(page.locator("#label")).to_have_text("positive")
    assert kept(page, server) == ["A superb film", "A dreadful, awful film."]


def test_forget(open_page: Open) -> None:
    """After "Forget" nothing is kept, until the reader changes the text."""
    page = open_page().page
    type_text(page, "A dreadful, awful film.")
    page.get_by_role("button", name="Forget").click()
    expect(page.locator("#recent")).to_be_hidden()
    expect(page.get_by_label("Your text")).to_be_focused()
    assert stored(page) == {}
    page.locator("#model-choice").select_option(label="accurate, version 1")
    expect(page.locator("#answered-by")).to_have_text("accurate, version 1")
    assert stored(page) == {}
    reload(page)
    expect(page.get_by_label("Your text")).not_to_have_value("A dreadful, awful film.")


def test_services_under_other_paths(open_page: Open, server: ServerProcess) -> None:
    """A page of the same host under another path has texts of its own, and contents of others do no harm."""
    page = open_page().page
    type_text(page, "A dreadful, awful film.")
    page.evaluate(
        "Object.keys(sessionStorage).forEach((key) => sessionStorage.setItem(`${key}other/`, sessionStorage[key]))"
    )
    page.evaluate(f"sessionStorage.setItem('texts {server.url}/', '{{')")
    reload(page)
    expect(page.get_by_label("Your text")).not_to_have_value("A dreadful, awful film.")
    page.get_by_label("Your text").fill("superb")
    expect(page.locator("#counts")).to_have_text("1 word")
    page.get_by_role("button", name="Forget").click()
    assert list(stored(page)) == [f"texts {server.url}/other/"]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_browser_that_stores_nothing(open_page: Open, refusal: str) -> None:
    """Without storage the page answers, lists the last texts until it is left, and remembers an API key."""
    with ServerProcess("--workers", "1", "--open-page", SENTIMENT_API_KEYS=KEY) as server:
        opened = open_page(server, answer=False)
        page = opened.page
        page.add_init_script(REFUSALS[refusal])
        page.reload()
        page.get_by_label("API key").fill(KEY)
        page.get_by_label("API key").press("Enter")
        expect(page.locator("#label")).to_have_text("positive")
        opened.errors.clear()
        type_text(page, "A dreadful, awful film.")
        expect(page.locator("#label")).to_have_text("negative")
        type_text(page, "A superb film.")
        expect(page.locator("#recent-choice option")).to_have_count(3)
        page.get_by_role("button", name="Forget").click()
        expect(page.locator("#recent")).to_be_hidden()
        page.context.close()


def test_the_list_on_a_phone(open_page: Open) -> None:
    """The list fits a phone, also with a long text."""
    page = open_page(viewport=PHONE).page
    type_text(page, "unbreakable" * 20)
    expect(page.locator("#recent")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    accessible(page)
