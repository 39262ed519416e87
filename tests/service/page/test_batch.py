"""Many texts: lines and CSV files, requests within the limits of the service, the table and its download."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from playwright.sync_api import Dialog, Page, Route, expect

from tests.processes import ServerProcess
from tests.service import artifacts
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


def download(page: Page) -> str:
    """Return the content of the downloaded CSV file."""
    with page.expect_download() as event:
        page.get_by_role("button", name="Download as CSV").click()
    return Path(event.value.path()).read_bytes().decode("utf-8-sig")


def downloaded(page: Page, others: Sequence[str] = ()) -> list[list[str]]:
    """Return the rows of the downloaded CSV file, which has these `others` columns, without its header."""
    header, *rows = csv.reader(io.StringIO(download(page), newline=""), strict=True)
    assert header == ["text", "number", "label", "score", "tokens", "note", *others]
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
    rows = downloaded(page, ["id"])
    # An apostrophe before "=" prevents that a spreadsheet computes the cell.
    assert [text for text, *_ in rows] == [f"'{text}" if text.startswith("=") else text for text in TEXTS]
    assert [(label, float(score), int(tokens), id_) for _, _, label, score, tokens, _, id_ in rows] == [
        (each["label"], each["score"], each["tokens"], str(number)) for number, each in enumerate(answers)
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


def formulas(content: str) -> list[str]:
    """Return the cells that begin like a formula, at whichever separator a spreadsheet splits."""
    cells = [
        cell
        for delimiter in (",", ";", "\t")
        for row in csv.reader(io.StringIO(content, newline=""), delimiter=delimiter)
        for cell in row
    ]
    return [cell for cell in cells if cell.strip().startswith(("=", "+", "-", "@", "\uff1d"))]


FORMULAS = ["=1+1", "+1", "-1", "@a", " =1", "\uff1d1", "a;=1+1;b", 'a";=1+1;"b', "x;=1+1", "x\t=1+1", "x\n=1+1"]
FORMULAS += ['x; "=1+1"', 'x\n"', "a;=1+1", "x;\t\r=1", "\t1", "fine"]


def test_formulas_in_the_download(open_page: Open) -> None:
    """No cell of the download begins like a formula, wherever it stands and whichever separator a spreadsheet has."""
    page = open_page().page
    show_view(page, "Many texts")
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["kept", "text", "=1;=2"], *([text, text, text] for text in FORMULAS)])
    open_file(page, "reviews.csv", file.getvalue().encode())
    page.get_by_label("Column").select_option(label="text")
    classify(page, len(FORMULAS))
    content = download(page)
    assert formulas(content) == []
    header, *rows = csv.reader(io.StringIO(content, newline=""), strict=True)
    assert header[-2:] == ["kept", "'=1;'=2"]
    assert rows[FORMULAS.index("x;=1+1")][-2:] == ["x;'=1+1"] * 2
    assert rows[-1][-2:] == ["fine"] * 2


def test_formulas_in_any_cell(open_page: Open) -> None:
    """No string that the page writes begins a cell like a formula, and without the apostrophes it is what it was."""
    page = open_page().page
    random = Random(0)
    records = [
        ["".join(random.choices(';,\t\n\r"=+-@ a', k=random.randrange(7))) for _ in range(4)] for _ in range(3000)
    ]
    write = "async records => (await import('./page/csv.js')).writeCsv(records)"
    content = page.evaluate(write, records)
    assert formulas(content) == []
    assert [
        [cell.replace("'", "") for cell in row] for row in csv.reader(io.StringIO(content, newline=""), strict=True)
    ] == records


def test_other_columns(open_page: Open) -> None:
    """The download keeps the other columns in every order of its rows, and gives a number to a name that is taken."""
    page = open_page().page
    show_view(page, "Many texts")
    header = ["Label", "review", "note", "", "score_2", "score", "note"]
    values = [[f"{name} {number}" for name in "abcdef"] for number in range(3)]
    rows = [[one, text, *rest] for text, (one, *rest) in zip(["awful", "superb", "fine"], values, strict=True)]
    open_file(page, "reviews.csv", "\n".join(map(",".join, [header, *rows])).encode())
    page.get_by_label("Column").select_option(label="review")
    classify(page, 3)
    page.get_by_role("button", name="score").click()
    kept = downloaded(page, ["Label_2", "note_2", "column_3", "score_2", "score_3", "note_3"])
    assert {row[0]: row[6:] for row in kept} == {row[1]: [row[0], *row[2:]] for row in rows}
    page.get_by_label("Texts", exact=True).fill("awful\nsuperb")
    classify(page, 2)
    assert sorted(row[0] for row in downloaded(page)) == ["awful", "superb"]


FRENCH = "id;critique;\u00e9t\u00e9\n1;Tr\u00e8s bon caf\u00e9;oui\n2;Mauvais, \u00e0 \u00e9viter;non\n"


@pytest.mark.parametrize(
    ("codec", "mark", "value", "says"),
    [
        ("utf-8", b"", "utf-8", None),
        ("utf-8-sig", b"", "utf-8", None),
        ("cp1252", b"", "windows-1252", "avis.csv is read as Windows-1252, because it is not UTF-8."),
        ("utf-16-le", b"\xff\xfe", "utf-16", "avis.csv is UTF-16: it begins with a byte order mark."),
        ("utf-16-be", b"\xfe\xff", "utf-16", "avis.csv is UTF-16: it begins with a byte order mark."),
        ("utf-16-le", b"", "utf-16", "avis.csv is read as UTF-16, because it is not UTF-8."),
        ("utf-16-be", b"", "utf-16", "avis.csv is read as UTF-16, because it is not UTF-8."),
    ],
)
def test_encodings(open_page: Open, codec: str, mark: bytes, value: str, says: str | None) -> None:
    """A byte order mark decides the encoding. Without one it is guessed, and the page says so unless it is UTF-8."""
    opened = open_page()
    page = opened.page
    show_view(page, "Many texts")
    open_file(page, "avis.csv", mark + FRENCH.encode(codec))
    expect(page.get_by_label("Encoding")).to_have_value(value)
    expect(page.locator("#texts-note")).to_have_text("avis.csv: 2 texts")
    assert opened.texts("#texts-preview li") == ["Tr\u00e8s bon caf\u00e9", "Mauvais, \u00e0 \u00e9viter"]
    assert opened.texts("#texts-column option") == ["id", "critique", "\u00e9t\u00e9"]
    note = page.locator("#encoding-note")
    if says is None:
        expect(note).to_be_hidden()
    else:
        expect(note).to_contain_text(says)
    is_marked = bool(mark) or codec == "utf-8-sig"
    assert page.get_by_label("Encoding").is_disabled() is is_marked
    with page.expect_request("**/v1/predict_batch") as event:
        classify(page, 2)
    assert json.loads(event.value.post_data or "")["texts"][0] == "Tr\u00e8s bon caf\u00e9"


def test_another_encoding(open_page: Open) -> None:
    """Header and values follow the chosen encoding, the chosen column stays, and a wrong encoding is refused."""
    opened = open_page()
    page = opened.page
    show_view(page, "Many texts")
    open_file(page, "avis.csv", FRENCH.encode())
    encoding, column = page.get_by_label("Encoding"), page.get_by_label("Column")
    column.select_option(label="\u00e9t\u00e9")
    encoding.select_option("Windows-1252")
    assert opened.texts("#texts-column option")[2] == "\u00c3\u00a9t\u00c3\u00a9"
    expect(column).to_have_value("2")
    column.select_option(label="critique")
    expect(page.locator("#texts-preview li").first).to_have_text("Tr\u00c3\u00a8s bon caf\u00c3\u00a9")
    expect(page.locator("#encoding-note")).to_have_text(
        "avis.csv is read as Windows-1252. If the first values look wrong, choose another encoding."
    )
    encoding.select_option("UTF-8")
    expect(page.locator("#texts-preview li").first).to_have_text("Tr\u00e8s bon caf\u00e9")
    open_file(page, "avis.txt", FRENCH.encode("cp1252"))
    page.get_by_label("Read as").select_option("lines")
    expect(page.locator("#texts-preview li").nth(1)).to_have_text("1;Tr\u00e8s bon caf\u00e9;oui")
    encoding.select_option("UTF-8")
    expect(page.locator("#texts-note")).to_have_text("avis.txt is not UTF-8 text. Choose another encoding.")
    expect(page.get_by_role("button", name="Classify")).to_be_disabled()
    page.get_by_label("Texts", exact=True).fill("fine")
    expect(encoding).to_be_hidden()
    expect(page.locator("#encoding-note")).to_be_hidden()


def test_the_example(open_page: Open) -> None:
    """The example is a table whose column of texts is chosen, and its predictions are one press away."""
    page = open_page().page
    show_view(page, "Many texts")
    page.get_by_role("button", name="Fill in an example").click()
    expect(page.get_by_label("Column").locator("option:checked")).to_have_text("text")
    classify(page, 8)
    downloaded(page, ["order", "channel", "stars"])


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", b'text\n"open', "Record 2 has a quotation mark"),
        ("a.csv", b'text\n"a"b\n', "Record 2 has a quotation mark"),
        ("a.csv", b"id,text\n1,fine\n2,a film, a bad one\n", "Record 3 has 3 fields and the header has 2"),
        ("a.txt", b"a\n" * 20_001, "These are 20,001 texts, and the page classifies at most 20,000."),
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
        rows = downloaded(page)
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


def test_one_long_text_slows_no_others(open_page: Open) -> None:
    """A text that exceeds the limits fails alone, and after it requests have many texts again."""
    with ServerProcess("--workers", "1", "--max-body-bytes", "20000") as server:
        opened = open_page(server)
        page = opened.page
        sizes: list[int] = []
        page.on("request", lambda request: sizes.append(len(json.loads(request.post_data or "{}").get("texts", []))))
        show_view(page, "Many texts")
        texts = [f"film {number}" for number in range(1200)]
        texts[300] = "long " * 5000
        page.get_by_label("Texts", exact=True).fill("\n".join(texts))
        classify(page, 1200)
        assert [number for number, row in enumerate(downloaded(page)) if row[2] == ""] == [300]
        assert max(sizes[sizes.index(1) :]) == 256
        assert all("413" in error for error in opened.errors)
        opened.errors.clear()
        page.context.close()


def test_twenty_thousand_texts(open_page: Open) -> None:
    """As many texts as the page takes are classified, and the progress moves with every request."""
    opened = open_page()
    page = opened.page
    show_view(page, "Many texts")
    texts = [f"film {number} was {word}" for number in range(10_000) for word in ("superb", "awful")]
    open_file(page, "texts.txt", "\n".join(texts).encode())
    expect(page.locator("#texts-note")).to_have_text("texts.txt: 20,000 texts")
    page.evaluate(
        """() => {
            window.seen = [];
            const [bar, count] = ["progress", "progress-count"].map((id) => document.getElementById(id));
            const look = () => window.seen.push([bar.value, count.textContent]);
            new MutationObserver(look).observe(count, { childList: true });
        }"""
    )
    opened.requests.clear()
    classify(page, 20_000)
    expect(page.locator("#batch-summary")).to_contain_text("20,000 texts: ")
    expect(page.locator("#batch-status")).to_have_text("")
    seen = page.evaluate("window.seen")
    requests = sum(url.endswith("/v1/predict_batch") for url in opened.requests)
    assert [value for value, _ in seen] == [min(256 * number, 20_000) for number in range(requests + 1)]
    assert all(text.startswith(f"{int(value):,} of 20,000 classified") for value, text in seen)
    assert "left" in seen[1][1]
    assert [row[0] for row in downloaded(page)] == texts


def test_a_run_goes_on_after_an_error(open_page: Open) -> None:
    """After an error, the page shows what is classified, and "Try again" classifies only the rest."""
    opened = open_page()
    page = opened.page
    fails = [False, True]
    page.route("**/v1/predict_batch", lambda route: route.abort() if fails and fails.pop(0) else route.continue_())
    show_view(page, "Many texts")
    texts = [f"film {number}" for number in range(700)]
    page.get_by_label("Texts", exact=True).fill("\n".join(texts))
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#trouble-text")).to_have_text("The service cannot be reached.")
    expect(page.locator("#batch-status")).to_have_text("256 of 700 classified")
    with page.expect_request("**/v1/predict_batch") as event:
        page.get_by_role("button", name="Try again").click()
    assert json.loads(event.value.post_data or "")["texts"] == texts[256:512]
    expect(page.locator("#batch-summary")).to_contain_text("700 texts")
    expect(page.locator("#trouble")).to_be_hidden()
    assert [row[0] for row in downloaded(page)] == texts
    opened.errors.clear()


def test_a_row_opens_to_its_words(open_page: Open, server: ServerProcess) -> None:
    """Only an opened row asks for its words, which have the colours and the numbers of the explanation."""
    opened = open_page()
    page = opened.page
    show_view(page, "Many texts")
    text = "A superb, moving film \U0001f600 with an awful, flumberous ending"
    page.get_by_label("Texts", exact=True).fill(f"A film\n{text}\nflumberous")
    classify(page, 3)
    opened.requests.clear()
    button = page.get_by_role("button", name="Words of text 2")
    expect(button).to_have_attribute("aria-expanded", "false")
    with page.expect_request("**/v1/explain") as event:
        button.press("Enter")
    assert json.loads(event.value.post_data or "") == {"text": text, "model": "imdb-cnn", "version": "1"}
    expect(button).to_have_attribute("aria-expanded", "true")
    answer = api(server, "explain", text=text)
    shares = {word["text"]: word["share"] for word in answer["words"]}
    region = page.get_by_role("region", name="Words of text 2")
    assert region.inner_text() == text
    for word in region.locator(".word").all():
        share = shares[word.inner_text()]
        assert ("against" in (word.get_attribute("class") or "").split()) == (share < 0)
        assert (word.get_attribute("title") or "").startswith(f"{share:+.2f} ".replace("-", "\u2212"))
    expect(region.locator(".unknown")).to_have_text(["\U0001f600", "flumberous"])
    best = max(shares, key=shares.__getitem__)
    expect(page.locator(".opened")).to_contain_text(f"Most for positive: {best} {shares[best]:+.2f}")
    page.locator("#predictions .text").nth(0).click()
    expect(page.get_by_role("region", name="Words of text 1")).to_have_text("A film")
    assert sum(url.endswith("/v1/explain") for url in opened.requests) == 2
    button.click()
    expect(region).to_be_hidden()
    page.get_by_role("button", name="Words of text 3").click()
    page.locator(".opened", has_text="flumberous").get_by_role("button", name="Open under Try it").click()
    expect(page.get_by_label("Your text")).to_have_value("flumberous")


def test_a_row_whose_words_are_refused(open_page: Open, tmp_path: Path) -> None:
    """A row says why it has no words, and asks again on request; a row that failed does not open."""
    opened = open_page()
    page = opened.page
    refusal = {"error": {"code": "overloaded", "message": "full", "request_id": "x"}}
    show_view(page, "Many texts")
    page.get_by_label("Texts", exact=True).fill("A superb film\n" + "long " * 250_000)
    classify(page, 2)
    expect(page.get_by_role("button", name="Words of text 2")).to_have_count(0)
    page.route("**/v1/explain", lambda route: route.fulfill(status=429, json=refusal, headers={"retry-after": "1"}))
    page.get_by_role("button", name="Words of text 1").click()
    expect(page.locator(".opened")).to_contain_text("The service is busy at the moment.")
    page.unroute_all()
    page.locator(".opened").get_by_role("button", name="Try again").click()
    expect(page.get_by_role("region", name="Words of text 1")).to_have_text("A superb film")
    opened.errors.clear()
    artifacts.publish_table(tmp_path)
    with ServerProcess("--workers", "1", repository=tmp_path) as server:
        opened = open_page(server)
        page = opened.page
        show_view(page, "Many texts")
        page.get_by_label("Texts", exact=True).fill("A superb film")
        classify(page, 1)
        page.get_by_role("button", name="Words of text 1").click()
        expect(page.locator(".opened")).to_contain_text("There is no exact explanation for this model")
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
        assert [row[0] for row in downloaded(page)] == order


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
