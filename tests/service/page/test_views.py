"""The views and the address: tabs, links to a text, and requests to copy."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.processes import PATIENCE, ServerProcess
from tests.service.page.conftest import Open
from tests.service.page.test_page import PHONE, VIEWS, api, show_view, type_text

#: Characters that shells, Python, JSON or addresses treat specially.
ODD = (
    "It's \"great\" \\ \\n \\' $HOME `id` !! %s #1 & <b> \U0001f600 \u05d8\u05d5\u05d1 \u2028 \x7f\t100%25 +1 \\\\\n"
    "second 'line' ''' \"\"\" {x} \\u0041\n\n.\n"
)
CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}


class _Recorder(BaseHTTPRequestHandler):
    bodies: list[tuple[dict[str, Any], str | None]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.bodies.append((body, self.headers["x-api-key"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def recorder() -> Iterator[HTTPServer]:
    """Record the bodies and the API keys of requests."""
    _Recorder.bodies = []
    with HTTPServer(("127.0.0.1", 0), _Recorder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def copied(page: Page, button: str) -> str:
    """Press a button that copies, and return what it copied."""
    page.locator("#copied").evaluate("element => { element.textContent = ''; }")
    page.get_by_role("button", name=button).click()
    expect(page.locator("#copied")).to_contain_text("is copied")
    content: str = page.evaluate("navigator.clipboard.readText()")
    return content


def script(folder: Path, source: str) -> str:
    """Write a script, because a long one is no argument, and return its path."""
    path = folder / "script"
    path.write_text(source)
    return str(path)


def patient(program: str) -> str:
    """Give a copied program in Python a time limit that also holds for a slow machine."""
    assert program.count(" json=body") == 1
    return program.replace(" json=body", f" json=body, timeout={PATIENCE}")


def run(*command: str, **variables: str) -> str:
    """Run a command without the shell variables of a session and return its output."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, check=True, timeout=PATIENCE
    ).stdout


def test_tabs(open_page: Open) -> None:
    """One view is shown at a time, the address names it, and the back button returns to the one before."""
    page = open_page().page
    page.get_by_role("tab", name="Try it").focus()
    for view in VIEWS[1:]:
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tab", name=view)).to_be_focused()
        expect(page.get_by_role("tab", name=view)).to_have_attribute("aria-selected", "false")
        page.keyboard.press("Enter")
        expect(page.get_by_role("tabpanel")).to_have_count(1)
        expect(page.get_by_role("tabpanel", name=view)).to_be_visible()
        assert page.evaluate("scrollY") == 0
        assert page.title().startswith(view)
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Try it")).to_be_focused()
    expect(page).to_have_url(re.compile("#model$"))
    for view in VIEWS[2::-1]:
        page.go_back()
        expect(page.get_by_role("tabpanel", name=view)).to_be_visible()
        expect(page.locator("[role=tab][tabindex='0']")).to_have_text(view)


def test_the_model_that_answers_is_named(open_page: Open) -> None:
    """Every view names the model that answers, whatever "How it works" shows, and the whole name fits a phone."""
    opened = open_page()
    page = opened.page
    for name in ("imdb-cnn-8bit, version 1", "accurate, version 1"):
        show_view(page, "Try it")
        page.locator("#model-choice").select_option(label=name)
        for view in VIEWS:
            show_view(page, view)
            expect(page.locator("#answering")).to_have_text(name)
            for size in (PHONE, {"width": 1280, "height": 900}):
                page.set_viewport_size({"width": size["width"], "height": size["height"]})
                expect(page.locator("#answering")).to_be_visible()
                assert page.locator(".answering").evaluate("link => link.scrollWidth <= link.clientWidth")
    page.context.set_offline(True)
    show_view(page, "Try it")
    page.get_by_label("Your text").fill("superb")
    expect(page.locator(".answering")).to_be_hidden()
    assert all("Failed to load resource" in error for error in opened.errors)
    opened.errors.clear()


def test_an_address_inside_a_view(open_page: Open) -> None:
    """An address with the id of an element opens its view and scrolls to the element."""
    page = open_page(path="/#step-pool", answer=False).page
    expect(page.get_by_role("tabpanel", name="How it works")).to_be_visible()
    expect(page.locator("#step-pool")).to_be_in_viewport()
    page.get_by_role("link", name="Skip to the text").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your text")).to_be_focused()


def test_a_short_page_on_a_phone(open_page: Open) -> None:
    """A short review with its answer is at most two screens of a phone high."""
    page = open_page(viewport=PHONE).page
    assert page.evaluate("document.documentElement.scrollHeight") <= 2 * PHONE["height"]


def test_a_link_to_a_text(open_page: Open, server: ServerProcess) -> None:
    """A copied link opens with its text and model, and no request contains the text in its address."""
    page = open_page(**CLIPBOARD).page
    page.locator("#model-choice").select_option(label="accurate, version 1")
    type_text(page, ODD)
    expect(page.locator("#answered-by")).to_have_text("accurate, version 1")
    link = copied(page, "Copy link")
    assert link.startswith(server.url + "/#text=")
    opened = open_page(path=link.removeprefix(server.url))
    expect(opened.page.get_by_label("Your text")).to_have_value(ODD)
    expect(opened.page.locator("#answered-by")).to_have_text("accurate, version 1")
    expect(opened.page.locator("#counts")).to_have_text(page.locator("#counts").inner_text())
    assert opened.requests and all("great" not in url.partition("#")[0] for url in opened.requests)
    opened.page.get_by_label("Your text").press("End")
    opened.page.get_by_label("Your text").press_sequentially("!")
    expect(opened.page).to_have_url(re.compile("/#try$"))


def test_a_link_to_a_model_that_is_not_loaded(open_page: Open, server: ServerProcess) -> None:
    """The default model answers, and the page says so. A link in an open page replaces the text."""
    page = open_page(path=f"/#text={quote('A superb film')}&model=other&version=7").page
    expect(page.locator("#shared-note")).to_contain_text("other, version 7, which is not loaded here")
    expect(page.locator("#label")).to_have_text("positive")
    page.goto(f"{server.url}/#text=Awful")
    expect(page.locator("#label")).to_have_text("negative")
    expect(page.locator("#shared-note")).to_be_hidden()


def test_copied_requests_send_the_text(
    open_page: Open, server: ServerProcess, recorder: HTTPServer, tmp_path: Path
) -> None:
    """The copied command and program send exactly the typed text, also if it is longer than an argument can be."""
    page = open_page(**CLIPBOARD).page
    here = f"http://127.0.0.1:{recorder.server_port}"
    for text in (ODD, "it's " * 30_000):
        page.get_by_label("Your text").evaluate("(field, text) => { field.value = text; }", text)
        command, program = copied(page, "Copy as curl"), copied(page, "Copy as Python")
        for interpreter, source in (("bash", command), ("sh", command), (sys.executable, patient(program))):
            run(interpreter, script(tmp_path, source.replace(server.url, here)))
        assert [body for body, _ in _Recorder.bodies[-3:]] == 3 * [{"text": text}]


def test_copied_requests_answer_what_the_page_shows(open_page: Open, server: ServerProcess) -> None:
    """The copied command and program name the chosen model and threshold and get the answer of the page."""
    page = open_page(**CLIPBOARD).page
    page.locator("#model-choice").select_option(label="accurate, version 1")
    type_text(page, "Not good, not bad; it's a film.")
    expect(page.locator("#answered-by")).to_have_text("accurate, version 1")
    page.get_by_label("Threshold for positive").fill("0.02")
    answer = api(
        server, "predict", text="Not good, not bad; it's a film.", model="accurate", version="1", threshold=0.02
    )
    assert json.loads(run("sh", "-c", copied(page, "Copy as curl"))) == answer
    assert run(sys.executable, "-c", patient(copied(page, "Copy as Python"))).strip() == str(answer)
    expect(page.locator("#label")).to_have_text(answer["label"])


def test_copied_requests_take_the_key_from_the_environment(open_page: Open, recorder: HTTPServer) -> None:
    """The API key is not copied: the command and the program read it from a variable."""
    key = "a-key-of-some-length"
    with ServerProcess("--workers", "1", "--open-page", SENTIMENT_API_KEYS=key) as server:
        opened = open_page(server, answer=False, **CLIPBOARD)
        page = opened.page
        page.get_by_label("API key").fill(key)
        page.get_by_label("API key").press("Enter")
        expect(page.locator("#label")).to_have_text("positive")
        opened.errors.clear()
        here = f"http://127.0.0.1:{recorder.server_port}"
        command, program = copied(page, "Copy as curl"), copied(page, "Copy as Python")
        assert key not in command + program
        run("sh", "-c", command.replace(server.url, here), API_KEY=key)
        run(sys.executable, "-c", patient(program).replace(server.url, here), API_KEY=key)
        assert [sent for _, sent in _Recorder.bodies] == [key, key]
        page.context.close()


def test_copying_by_hand(open_page: Open) -> None:
    """If the browser does not let the page copy, the page shows and selects what to copy."""
    page = open_page().page
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.get_by_role("button", name="Copy as curl").click()
    expect(page.locator("#copied")).to_contain_text("Copy it yourself")
    field = page.get_by_label("What to copy")
    expect(field).to_be_focused()
    assert field.input_value().startswith("curl ")
    assert field.evaluate("field => field.selectionEnd - field.selectionStart === field.value.length")
