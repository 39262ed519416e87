"""Pages in Chromium that record every error and every request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.chromium import MILLISECONDS, browser
from tests.processes import MODEL_REPOSITORY, ServerProcess

__all__ = ["browser"]


@dataclass
class Opened:
    """A page with its console errors and its requests."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        """Return the text of every matching element."""
        return self.page.locator(selector).all_inner_texts()


@pytest.fixture(scope="module")
def reviews() -> Iterator[ServerProcess]:
    """Serve all shipped models, by default the one with the labels negative, neutral and positive."""
    with ServerProcess("--workers", "1", "--default-model", "reviews", repository=MODEL_REPOSITORY) as server:
        yield server


Open = Callable[..., Opened]


@pytest.fixture
def open_page(browser: Browser, server: ServerProcess) -> Iterator[Open]:
    """Open the page of a server, by default with the shipped model, and wait for its first answer.

    Fails the test if a page logged an error that the test has not removed from `errors`, or requested another host.
    """
    opened: list[tuple[str, Opened]] = []

    def open_(of: ServerProcess = server, *, path: str = "/", answer: bool = True, **options: Any) -> Opened:
        context = browser.new_context(**options)
        page = context.new_page()
        page.set_default_timeout(MILLISECONDS)
        watched = Opened(page)
        page.on("console", lambda message: watched.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.on("request", lambda request: watched.requests.append(request.url))
        opened.append((of.url, watched))
        page.goto(of.url + path)
        if answer:
            page.locator("#probabilities .measure").first.wait_for()
        return watched

    yield open_
    for url, watched in opened:
        watched.page.context.close()
        assert watched.errors == []
        assert [request for request in watched.requests if not request.startswith(url + "/")] == []
