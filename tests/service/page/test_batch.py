"""Many texts: lines and CSV files, requests within the limits of the service, the table and its download."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Dialog, Page, Route, expect

from tests.processes import ServerProcess
from tests.service.page.conftest import Open
from tests.service.page.test_page import api, show_view

TEXTS = [
    'A "superb" film, really',
    "Two dull hours.\r\nNever again,\n\nawful",
    "=HYPERLINK(A1)",
    "\u05e1\u05e8\u05d8 \u05e0\u05d4\u05d3\u05e8",
    "\U0001f600; fine, 'quite' fine",
    "",
]


def classify(page: Page, count: int) -> None:
    """Press the button and wait for the predictions."""
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#batch-summary")).to_contain_text(f"{count:,} text")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()


def write(texts: list[str], delimiter: str = ",") -> bytes:
    """Return a CSV file with the texts in its second column, as Python's csv module writes it."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows([["id", " Text "], *enumerate(texts)])
    return file.getvalue().encode("utf-8-sig")


def open_file(page: Page, name: str, content: bytes) -> None:
    page.get_by_label("File").set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})


def download(page: Page) -> list[list[str]]:
    """Return the rows of the downloaded CSV file without its header."""
    with page.expect_download() as event:
        page.get_by_role("button", name="Download as CSV").click()
    content = Path(event.value.path()).read_bytes().decode("utf-8-sig")
    header, *rows = csv.reader(io.StringIO(content, newline=""), strict=True)
    assert header == ["text", "number", "label", "score", "tokens", "note"]
    return rows


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_file(open_page: Open, server: ServerProcess, delimiter: str) -> None:
    """Quoted separators, quotation marks and newlines belong to the text, as in RFC 4180."""
    opened = open_page()
    page = opened.page
    show_view(page, "Many texts")
    open_file(page, "reviews.csv", write(TEXTS, delimiter))
    expect(page.locator("#texts-note")).to_have_text(f"reviews.csv: {len(TEXTS)} texts")
    with page.expect_request("**/v1/predict_batch") as event:
        classify(page, len(TEXTS))
    assert json.loads(event.value.post_data or "")["texts"] == TEXTS
    answers = api(server, "predict_batch", texts=TEXTS)["predictions"]
    rows = download(page)
    # An apostrophe before "=" prevents that a spreadsheet computes the cell.
    assert [text for text, *_ in rows] == [f"'{text}" if text.startswith("=") else text for text in TEXTS]
    assert [(label, float(score), int(tokens)) for _, _, label, score, tokens, _ in rows] == [
        (each["label"], each["score"], each["tokens"]) for each in answers
    ]
    page.get_by_label("Column").select_option(label="id")
    page.once("dialog", lambda dialog: dialog.accept())
    with page.expect_request("**/v1/predict_batch") as event:
        classify(page, len(TEXTS))
    assert json.loads(event.value.post_data or "")["texts"] == [str(number) for number in range(len(TEXTS))]


def test_column_of_texts(open_page: Open) -> None:
    """The column with most letters is chosen, its first values are shown, and a column of numbers asks."""
    opened = open_page()
    page = opened.page
    show_view(page, "Many texts")
    rows = [f'{number},"A superb film, number {number}",{number % 5 + 1}' for number in range(5)]
    open_file(page, "reviews.csv", "\n".join(["id,review,stars", *rows]).encode())
    column = page.get_by_label("Column")
    expect(column.locator("option:checked")).to_have_text("review")
    assert opened.texts("#texts-preview li") == [f"A superb film, number {number}" for number in range(3)]
    column.select_option(label="stars")
    assert opened.texts("#texts-preview li") == ["1", "2", "3"]
    asked: list[str] = []

    def refuse(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.once("dialog", refuse)
    opened.requests.clear()
    page.get_by_role("button", name="Classify").click()
    assert asked == ["The column \u201cstars\u201d contains numbers. Classify them as texts?"]
    assert opened.requests == []
    open_file(page, "others.csv", b"id,text,a long description\n1,fine,only numbers and letters\n")
    expect(column.locator("option:checked")).to_have_text("text")


def test_column_beside_addresses(open_page: Open) -> None:
    """Addresses and identifiers are no prose, however long they are, and most empty fields are not called numbers."""
    page = open_page().page
    show_view(page, "Many texts")
    row = "6f9619ff-8b86-d011-b42d-00c04fc964ff,https://shop.example/items/a-very-long-address-of-an-item,Cold soup,\n"
    open_file(page, "orders.csv", ("uuid,url,remark,answer\n" + row * 2 + row.replace(",\n", ",Sorry!\n")).encode())
    expect(page.get_by_label("Column").locator("option:checked")).to_have_text("remark")
    page.get_by_label("Column").select_option(label="answer")
    classify(page, 3)


@pytest.mark.parametrize(
    ("content", "read_as"),
    [
        ("id,review,stars\n1,A superb film,5\n2,Awful,1", "csv"),
        ('"Order id";"Remark"\n1;"Fine, thanks"', "csv"),
        ("Superb, witty\nDull, slow", "lines"),
        ("superb,witty", "lines"),
        ("Superb.\nDull, slow", "lines"),
    ],
)
def test_pasted_csv(open_page: Open, content: str, read_as: str) -> None:
    """A pasted text is CSV if its first line has only names, without spaces between them, and more lines follow."""
    page = open_page().page
    show_view(page, "Many texts")
    page.get_by_label("Texts", exact=True).fill(content)
    expect(page.get_by_label("Read as")).to_have_value(read_as)


def test_predictions_of_other_texts(open_page: Open) -> None:
    """The table and its download go as soon as the texts, the file, the column or the model change."""
    page = open_page().page
    result = page.locator("#batch-result")
    content = b"review,other\nsuperb,awful\nsuperb,awful\n"

    def choose_a_model() -> None:
        show_view(page, "Try it")
        page.locator("#model-choice").select_option(index=1)

    changes: list[Callable[[], object]] = [
        lambda: page.get_by_label("Column").select_option(label="other"),
        lambda: open_file(page, "b.csv", content),
        lambda: page.get_by_label("Read as").select_option("lines"),
        lambda: page.get_by_label("Texts", exact=True).fill("another film"),
        choose_a_model,
    ]
    for change in changes:
        show_view(page, "Many texts")
        open_file(page, "a.csv", content)
        classify(page, 2)
        expect(result).to_be_visible()
        change()
        show_view(page, "Many texts")
        expect(result).to_be_hidden()


def test_texts_that_change_during_a_run(open_page: Open) -> None:
    """A run ends when its texts change, and its predictions are never shown."""
    page = open_page().page
    held: list[Route] = []
    page.route("**/v1/predict_batch", lambda route: held.append(route))
    show_view(page, "Many texts")
    texts = page.get_by_label("Texts", exact=True)
    texts.fill("superb\nawful")
    with page.expect_request("**/v1/predict_batch"):
        page.get_by_role("button", name="Classify").click()
    texts.fill("superb")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.locator("#batch-status")).to_have_text("")
    page.unroute_all()
    classify(page, 1)


def test_formulas_in_the_download(open_page: Open) -> None:
    """No field of the download begins like a formula, whether a spreadsheet separates at commas or semicolons."""
    page = open_page().page
    show_view(page, "Many texts")
    texts = ["=1+1", "+1", "-1", "@a", " =1", "\uff1d1", "a;=1+1;b", 'a";=1+1;"b', "fine"]
    open_file(page, "reviews.csv", write(texts))
    classify(page, len(texts))
    with page.expect_download() as event:
        page.get_by_role("button", name="Download as CSV").click()
    content = Path(event.value.path()).read_bytes().decode("utf-8-sig")
    for delimiter in (",", ";"):
        for row in csv.reader(io.StringIO(content, newline=""), delimiter=delimiter):
            assert not any(cell.strip().startswith(("=", "+", "-", "@", "\uff1d")) for cell in row), row


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", b'text\n"open', "Record 2 has a quotation mark"),
        ("a.csv", b'text\n"a"b\n', "Record 2 has a quotation mark"),
        ("a.csv", b"id,text\n1,fine\n2,a film, a bad one\n", "Record 3 has 3 fields and the header has 2"),
        ("a.csv", "text\ncaf\xe9".encode("latin-1"), "a.csv is not UTF-8 text."),
        ("a.txt", b"a\n" * 10_001, "These are 10,001 texts, and the page classifies at most 10,000."),
    ],
)
def test_refused_files(open_page: Open, name: str, content: bytes, problem: str) -> None:
    """A file that cannot be read without guessing is refused with the reason, and the next one is read."""
    page = open_page().page
    show_view(page, "Many texts")
    open_file(page, name, content)
    expect(page.locator("#texts-note")).to_contain_text(problem)
    expect(page.get_by_role("button", name="Classify")).to_be_disabled()
    page.get_by_label("Texts", exact=True).fill("A film\n\nAnother film\n")
    expect(page.locator("#texts-note")).to_have_text("2 texts")
    expect(page.get_by_role("button", name="Classify")).to_be_enabled()


def test_requests_keep_the_limits_of_the_service(open_page: Open) -> None:
    """The page cuts the texts into requests that the service accepts, and one version answers all of them."""
    with ServerProcess("--workers", "1", "--max-batch-texts", "50", "--max-text-characters", "1000") as server:
        opened = open_page(server)
        page = opened.page
        bodies: list[dict[str, Any]] = []
        page.on("request", lambda request: bodies.append(json.loads(request.post_data or "{}")))
        show_view(page, "Many texts")
        texts = [f"film {number}" for number in range(300)]
        texts[7] = "long " * 300
        page.get_by_label("Texts", exact=True).fill("\n".join(texts))
        classify(page, 300)
        rows = download(page)
        assert [text for text, *_ in rows] == texts
        assert [row[2] == "" for row in rows] == [number == 7 for number in range(300)]
        sent = [body for body in bodies if "texts" in body]
        accepted = [body for body in sent if len(body["texts"]) <= 50]
        assert [text for body in accepted for text in body["texts"]] == texts
        assert all(body["model"] == "imdb-cnn" for body in accepted[1:])
        expect(page.locator("#batch-summary")).to_contain_text("1 failed")
        expect(page.locator("#predictions tbody tr")).to_have_count(200)
        assert all("413" in error for error in opened.errors)
        opened.errors.clear()
        page.context.close()


def test_sorting(open_page: Open, server: ServerProcess) -> None:
    """A button in the head sorts the table and the download, and the head says how."""
    page = open_page().page
    show_view(page, "Many texts")
    texts = ["A superb film", "film", "Awful", "It was fine I guess"]
    page.get_by_label("Texts", exact=True).fill("\n".join(texts))
    classify(page, 4)
    scores = {text: api(server, "predict", text=text)["score"] for text in texts}
    head = page.get_by_role("columnheader", name="score")
    for direction in ("descending", "ascending"):
        page.get_by_role("button", name="score").click()
        expect(head).to_have_attribute("aria-sort", direction)
        order = sorted(texts, key=scores.__getitem__, reverse=direction == "descending")
        expect(page.locator("#predictions .text")).to_have_text(order)
        assert [row[0] for row in download(page)] == order


def test_a_busy_service_is_asked_again(open_page: Open) -> None:
    """The page waits as long as a busy service says, and Stop ends the run with the texts that are classified."""
    opened = open_page()
    page = opened.page
    refusal = {"error": {"code": "overloaded", "message": "full", "request_id": "x"}}
    answers = [True, False, True]

    def answer(route: Route) -> None:
        if answers and answers.pop(0):
            route.continue_()
        else:
            route.fulfill(status=429, json=refusal, headers={"retry-after": "1" if answers else "600"})

    page.route("**/v1/predict_batch", answer)
    show_view(page, "Many texts")
    page.get_by_label("Texts", exact=True).fill("film\n" * 700)
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#batch-status")).to_contain_text("Trying again in 600 s.")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#batch-summary")).to_contain_text("512 texts")
    expect(page.locator("#batch-status")).to_have_text("512 of 700 classified")
    opened.errors.clear()


def test_texts_go_to_this_service_only(open_page: Open, server: ServerProcess) -> None:
    """A text that contains markup or an address is shown as text, and no request goes elsewhere."""
    opened = open_page()
    page = opened.page
    show_view(page, "Many texts")
    page.get_by_label("Texts", exact=True).fill("<img src=http://example.invalid/x> superb")
    opened.requests.clear()
    classify(page, 1)
    expect(page.locator("#predictions .text")).to_have_text("<img src=http://example.invalid/x> superb")
    icon = f"{server.url}/page/icon.svg"  # Chromium may request it after the page has loaded
    assert [url for url in opened.requests if url != icon] == [f"{server.url}/v1/predict_batch"]
