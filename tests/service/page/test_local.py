""" "Run in this browser": the answers of the service without the service."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from sentiment_conv1d.export.checks.text_graph import TOLERANCE
from sentiment_conv1d.model.artifact import read_artifact
from sentiment_conv1d.model.graphs.text.file import text_graph
from tests.processes import ServerProcess
from tests.service.artifacts import publish_table, shipped_copy
from tests.service.page.conftest import Open, Opened
from tests.service.page.test_page import PHONE, accessible, show_view, type_text

KEY = "a-key-of-some-length"

ANSWERED = re.compile(r"^Answered in [\d.]+ ms\.")

#: What only the answers of the service have.
EXPLANATION = ("#why", "#details", "#counts", "#threshold", "#steps")

#: Texts with odd characters, spaces and lengths, which a field of a page can contain.
TEXTS = [
    "",
    " ",
    "\n\n",
    "...!?",
    "good",
    "GOOD film",
    "A gripping, beautifully acted film.",
    "Two dull hours that I will never get back.",
    "don't can't won't it's",
    "na\u00efve caf\u00e9 \u2014 \u201cbrilliant\u201d\u2026",
    "nai\u0308ve cafe\u0301",
    "\u0130stanbul \u0131 \u017f \u1e9e \ufb01lm",
    "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2 \u039f\u0394\u039f\u03a3",
    "\u05d4\u05e1\u05e8\u05d8 \u05d4\u05d6\u05d4 \u05e0\u05d4\u05d3\u05e8",
    "\u0641\u064a\u0644\u0645 \u0631\u0627\u0626\u0639",
    "\u7d20\u6674\u3089\u3057\u3044\u6620\u753b",
    "\U0001f600 good \U0001f468\u200d\U0001f469\u200d\U0001f467 bad",
    "a\u00a0b\u2003c\u3000d\u200be",
    "good\u2028bad\u2029worse\u0085best",
    "tab\tand\vvertical\fform",
    "<b>bold</b> <br /><br /> & &amp; \\ \" '",
    "5/10 100% $20 #1",
    "x" * 5000,
    "good " * 1200,
    "bad good " * 700 + "wonderful",
    "\ufffd\ufeff\u200e\u202egood",
    "\x01\x02\x1f\x7f good",
    "U.S.A. e.g. i.e. etc.",
    "snake_case kebab-case CamelCase",
    "\U0001d54f\U0001d556 good \U00010400",
]


def run_here(page: Page) -> Locator:
    """Run the model in the browser, and return the line about its answers."""
    page.get_by_role("button", name="Run in this browser").click()
    note = page.locator("#local-note")
    expect(note).to_have_text(ANSWERED)
    return note


def shown(page: Page) -> tuple[str, list[float]]:
    """Return the label and the probabilities that the page shows, with all digits."""
    widths = "bars => bars.map(bar => Number(bar.style.getPropertyValue('--part')))"
    return page.locator("#label").inner_text(), page.locator("#probabilities i").evaluate_all(widths)


def paths(opened: Opened, since: int = 0) -> list[str]:
    """Return the paths that a page has requested, without its icon."""
    found = [request.split("/", 3)[3] for request in opened.requests[since:]]
    return [path for path in found if path != "page/icon.svg"]


def test_answers(open_page: Open, server: ServerProcess) -> None:
    """The runtime and the model are loaded on request only, answer as the service does, and no text is sent."""
    opened = open_page()
    page = opened.page
    assert not [path for path in paths(opened) if "runtime" in path or path.endswith(".onnx")]
    before = len(opened.requests)
    note = run_here(page)
    expect(note).to_contain_text("The service gave the same answer.")
    expect(page.locator("#local-said")).to_contain_text("What you type here is not sent. It gives every text a label")
    texts, found = [], []
    for text in TEXTS:
        type_text(page, text)
        texts.append(page.locator("#text").input_value())
        found.append(shown(page))
        expect(note).to_have_text(re.compile(r"^Answered in [\d.]+ ms\.$"))
    show_view(page, "How it works")
    expect(page.locator("#reads-text")).to_have_text(texts[-1], use_inner_text=True)
    show_view(page, "The model")
    assert paths(opened, before) == [
        "page/runtime/ort-wasm-simd-threaded.wasm.gz",
        "v1/models/imdb-cnn/versions/1/text.onnx",
        "page/runtime/ort.wasm.bundle.min.mjs",
    ]
    answers = server.client.post("/v1/predict_batch", json={"texts": texts}).json()["predictions"]
    for (label, probabilities), answer in zip(found, answers, strict=True):
        assert label == answer["label"]
        assert probabilities == pytest.approx(list(answer["probabilities"].values()), abs=TOLERANCE, rel=0)


def test_there_and_back(open_page: Open) -> None:
    """The keyboard suffices, the focus stays at the control, and the service answers again only when it is asked to."""
    opened = open_page()
    page = opened.page
    start, stop = (page.get_by_role("button", name=name) for name in ("Run in this browser", "Use the service again"))
    start.press("Enter")
    expect(stop).to_be_focused()
    expect(page.locator("#local-note")).to_have_text(ANSWERED)
    for part in EXPLANATION:
        expect(page.locator(part)).to_be_hidden()
    show_view(page, "How it works")
    expect(page.locator("#reads-local")).to_be_visible()
    show_view(page, "Try it")
    before = len(opened.requests)
    stop.press("Enter")
    expect(start).to_be_focused()
    expect(page.locator("#verdict")).not_to_have_class(re.compile("waiting"))
    assert "v1/explain" in paths(opened, before)
    for part in EXPLANATION[:-1]:
        expect(page.locator(part)).to_be_visible()
    show_view(page, "How it works")
    expect(page.locator("#reads-local")).to_be_hidden()
    expect(page.locator("#steps")).to_be_visible()


@pytest.mark.parametrize("size", [PHONE, {"width": 1280, "height": 900}], ids=["phone", "desktop"])
def test_accessible(open_page: Open, size: dict[str, int]) -> None:
    """Before, during and after loading, the controls are accessible and fit, also with a text from right to left."""
    page = open_page(viewport=size).page
    accessible(page)
    held: list[Route] = []
    page.route("**/text.onnx", lambda route: held.append(route))
    with page.expect_request("**/text.onnx"):
        page.get_by_role("button", name="Run in this browser").click()
    expect(page.locator("#local-progress")).to_be_visible()
    accessible(page)
    held[0].continue_()
    expect(page.locator("#local-note")).to_have_text(ANSWERED)
    type_text(page, "\u05d4\u05e1\u05e8\u05d8 \u05d4\u05d6\u05d4 \u05e0\u05d4\u05d3\u05e8")
    accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_while_it_loads(open_page: Open, server: ServerProcess) -> None:
    """From the click on, no text is sent. The page shows the sizes, and answers the text that stands there at last."""
    opened = open_page()
    page = opened.page
    size = len(server.client.get("/v1/models/imdb-cnn/text.onnx").content)
    held: list[Route] = []
    page.route("**/page/runtime/*.mjs", lambda route: held.append(route))
    page.get_by_label("Your text").fill("sent or not, but not after the click")
    with page.expect_request("**/page/runtime/*.mjs"):
        page.get_by_role("button", name="Run in this browser").click()
    before = len(opened.requests)
    expect(page.locator("#local-said")).to_have_text(
        f"Loading ONNX Runtime (3.7 MB) and the model ({size / 1e6:.1f} MB) \u2026"
    )
    assert page.locator("#local-progress").evaluate("bar => bar.value === bar.max && bar.value > 5e6")
    page.get_by_label("Your text").fill("awful awful awful")
    held[0].continue_()
    expect(page.locator("#local-note")).to_have_text(re.compile(r"ms\.$"))
    expect(page.locator("#label")).to_have_text("negative")
    assert paths(opened, before) == []


def test_leaving_early(open_page: Open) -> None:
    """If the reader returns to the service before the model is loaded, the service answers, and loading stops."""
    opened = open_page()
    page = opened.page
    held: list[Route] = []
    page.route("**/text.onnx", lambda route: held.append(route))
    with page.expect_request("**/text.onnx"):
        page.get_by_role("button", name="Run in this browser").click()
    with page.expect_event("requestfailed", lambda request: request.url.endswith(".onnx")):
        page.get_by_role("button", name="Use the service again").click()
    type_text(page, "wonderful")
    expect(page.locator("#counts")).to_have_text("1 word")
    expect(page.locator("#local")).to_be_hidden()
    held[0].abort()


def test_without_the_service(open_page: Open) -> None:
    """Once it is loaded, the model answers without the service."""
    with ServerProcess("--workers", "1") as server:
        page = open_page(server).page
        run_here(page)
    for text, label in {"dreadful, dull and boring": "negative", "a wonderful, moving film": "positive"}.items():
        page.get_by_label("Your text").fill(text)
        expect(page.locator("#label")).to_have_text(label)


@pytest.mark.parametrize("text", ["good\0bad", "good \ud83d bad"], ids=["zero", "half a pair"])
def test_unreadable_text(open_page: Open, text: str) -> None:
    """The page says so of texts that the runtime cannot read, instead of answering another text."""
    page = open_page().page
    run_here(page)
    write = (
        "(field, codes) => { field.value = String.fromCharCode(...codes); field.dispatchEvent(new Event('input')); }"
    )
    page.locator("#text").evaluate(write, list(map(ord, text)))
    expect(page.locator("#local-trouble")).to_have_text(
        "The runtime for browsers cannot read this text: it contains U+0000 or half of a surrogate pair."
    )
    expect(page.locator("#probabilities .measure")).to_have_count(0)
    accessible(page)
    type_text(page, "awful")
    expect(page.locator("#local-trouble")).to_have_text("")
    expect(page.locator("#label")).to_have_text("negative")


def test_another_answer(open_page: Open, server: ServerProcess) -> None:
    """The page says so if the service gave another answer, here because the file is that of another model."""
    other = server.client.get("/v1/models/imdb-cnn-8bit/text.onnx").content
    page = open_page().page
    type_text(page, "A gripping, beautifully acted film.")
    page.route("**/text.onnx", lambda route: route.fulfill(body=other))
    expect(run_here(page)).to_have_text(re.compile(r"ms\. The service answered positive, [\d.]+.%\.$"))


def test_failures(open_page: Open, tmp_path: Path) -> None:
    """If the model cannot be loaded, the page says why, sends no text, and can try again."""
    folder = shipped_copy(tmp_path)
    content = text_graph(read_artifact(folder))
    with ServerProcess("--workers", "1", "--watch-interval", "0", repository=tmp_path) as server:
        opened = open_page(server, viewport=PHONE)
        page = opened.page
        shutil.rmtree(folder)
        page.get_by_role("button", name="Run in this browser").click()
        trouble, again = page.locator("#local-trouble"), page.get_by_role("button", name="Try again")
        expect(trouble).to_have_text(
            re.compile(r"^there is no text\.onnx of imdb-cnn, version 1: the repository no longer")
        )
        accessible(page)
        before = len(opened.requests)
        page.get_by_label("Your text").fill("awful, not for the service")
        page.route("**/*.mjs", lambda route: route.abort())
        answers: list[tuple[Callable[[Route], None], str]] = [
            (lambda route: route.fulfill(body=content), "^The model cannot run in this browser: .*ort.*mjs$"),
            (lambda route: route.abort(), "^The service cannot be reached.$"),
            (lambda route: route.fulfill(body=b"no graph"), "^The model cannot run in this browser: "),
            (lambda route: route.fulfill(body=content), "^$"),
        ]
        for answer, message in answers:
            page.route("**/text.onnx", answer)
            again.click()
            expect(trouble).to_have_text(re.compile(message))
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.unroute("**/*.mjs")
        expect(page.locator("#local-note")).to_have_text(ANSWERED)
        expect(page.locator("#label")).to_have_text("negative")
        assert not [path for path in paths(opened, before) if "runtime" not in path and not path.endswith(".onnx")]
        opened.errors.clear()  # Chromium logs failed requests


@pytest.mark.parametrize("missing", ["WebAssembly", "DecompressionStream"])
def test_old_browser(open_page: Open, missing: str) -> None:
    """A browser without what the runtime needs gets a message, and loads nothing."""
    opened = open_page()
    opened.page.evaluate(f"delete globalThis.{missing}")
    before = len(opened.requests)
    opened.page.get_by_role("button", name="Run in this browser").click()
    expect(opened.page.locator("#local-trouble")).to_have_text("This browser is too old to run the model.")
    assert paths(opened, before) == []


def test_three_labels(open_page: Open, tmp_path: Path) -> None:
    """A model of three labels, without explanations, runs too."""
    publish_table(tmp_path)
    with ServerProcess("--workers", "1", repository=tmp_path) as server:
        page = open_page(server).page
        run_here(page)
        for text, label in {"praise": "thanks", "question question": "asks", "complaint": "complains"}.items():
            type_text(page, text)
            expect(page.locator("#label")).to_have_text(label)
        assert page.locator("#probabilities .measure span").all_inner_texts() == ["thanks", "asks", "complains"]


def test_key(open_page: Open) -> None:
    """The page downloads with the reader's key, and offers nothing if the settings do not allow it."""
    for flags, offered in (("--model-downloads", "on"), True), ((), False):
        with ServerProcess("--workers", "1", "--open-page", *flags, SENTIMENT_API_KEYS=KEY) as server:
            opened = open_page(server, answer=False)
            page = opened.page
            page.get_by_label("API key").fill(KEY)
            page.get_by_role("button", name="Use this key").click()
            page.locator("#probabilities .measure").first.wait_for()
            button = page.get_by_role("button", name="Run in this browser")
            expect(button).to_be_visible() if offered else expect(button).to_be_hidden()
            if offered:
                run_here(page)
            opened.errors.clear()  # Chromium logs the answer to the request without a key
