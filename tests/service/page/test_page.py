"""The page in a real browser: it shows the answers of the API and is accessible."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, Route, expect

from tests.processes import ServerProcess, eventually
from tests.service import artifacts
from tests.service.page.conftest import Open, Opened

TEXTS = [
    "Two dull hours that I will never get back.",
    "A gripping \U0001f600, beautifully acted film; not bad, flumberous.",
]
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
VIEWS = ("Try it", "Many texts", "How it works", "The model")
KEY = "a-key-of-some-length"


#: The contrast, as WCAG defines it, between the colour of each element and the backgrounds of itself and its parents.
CONTRASTS = """targets => {
    const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
        .getContext("2d", { willReadFrequently: true });
    const paint = (colour) => {
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
    };
    const luminance = () => {
        const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        const [red, green, blue] = [...context.getImageData(0, 0, 1, 1).data].map((value) => linear(value / 255));
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    return targets.map((target) => {
        const element = document.querySelector(target);
        const within = [];
        for (let each = element; each; each = each.parentElement) within.unshift(each);
        for (const each of within) paint(getComputedStyle(each).backgroundColor);
        const below = luminance();
        const { color, fill } = getComputedStyle(element);
        paint(element instanceof SVGElement ? fill : color);
        const [darker, lighter] = [below, luminance()].sort((one, other) => one - other);
        return [target, (lighter + 0.05) / (darker + 0.05)];
    });
}"""


@pytest.fixture(scope="module")
def guarded() -> Iterator[ServerProcess]:
    """Serve with a required key, and the page without one."""
    with ServerProcess("--workers", "1", "--open-page", SENTIMENT_API_KEYS=KEY) as server:
        yield server


def show_view(page: Page, name: str) -> None:
    """Select a tab."""
    tab = page.get_by_role("tab", name=name)
    tab.click()
    expect(tab).to_have_attribute("aria-selected", "true")


def accessible(page: Page) -> None:
    """Fail if axe-core finds a problem in the view that is shown, on a phone or a desktop, in either colour scheme.

    Contrasts that axe-core leaves undecided, for example of single characters and of text in pictures, are computed.
    """
    size = page.viewport_size
    assert size is not None
    for width in (PHONE["width"], DESKTOP["width"]):
        page.set_viewport_size({"width": width, "height": size["height"]})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            found = Axe().run(page, options={"resultTypes": ["violations", "incomplete"]}).response
            assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
            undecided = [each["nodes"] for each in found["incomplete"] if each["id"] == "color-contrast"]
            for target, ratio in page.evaluate(CONTRASTS, [node["target"][0] for nodes in undecided for node in nodes]):
                assert ratio >= 4.5, (target, ratio, width, scheme)
    page.set_viewport_size(size)


def type_text(page: Page, text: str) -> None:
    """Type a text and wait for its answer."""
    show_view(page, "Try it")
    page.get_by_label("Your text").fill(text)
    expect(page.locator("#verdict")).not_to_have_class(re.compile("waiting"))


def api(server: ServerProcess, route: str, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = server.client.post(f"/v1/{route}", json=body).raise_for_status().json()
    return answer


def show_reading(page: Page) -> None:
    """Show "How it works", and wait until it is drawn."""
    show_view(page, "How it works")
    expect(page.locator("#reads")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#curve-line")).to_have_attribute("points", re.compile(r"\d"))


def rail(page: Page) -> list[str]:
    """Return the sizes from step to step, with an x as the multiplication sign."""
    return [
        text.replace("\u2009\u00d7\u2009", "x").split("\n")[0] for text in page.locator("#rail a").all_inner_texts()
    ]


def shown_percent(text: str) -> float:
    return float(text.replace("%", "").strip()) / 100


def test_typing(open_page: Open, server: ServerProcess) -> None:
    """The label and the probabilities are those of `/v1/predict` for any text."""
    page = open_page().page
    for text in TEXTS:
        type_text(page, text)
        answer = api(server, "predict", text=text)
        expect(page.locator("#label")).to_have_text(answer["label"])
        rows = page.locator("#probabilities .measure")
        for row, (label, probability) in zip(rows.all(), answer["probabilities"].items(), strict=True):
            assert row.locator("span").inner_text() == label
            assert shown_percent(row.locator("b").inner_text()) == pytest.approx(probability, abs=0.0005)


def test_typing_key_by_key(open_page: Open, server: ServerProcess) -> None:
    """The page sends one request when typing pauses, and shows the answer to the whole text."""
    opened = open_page()
    page, field = opened.page, opened.page.get_by_label("Your text")
    type_text(page, "It was good.")
    before = asked(opened)
    # In one task of the browser, in which no time passes for the page.
    field.evaluate(
        """(field, text) => {
            for (let end = 1; end <= text.length; end++) {
                field.value = text.slice(0, end);
                field.dispatchEvent(new Event("input", { bubbles: true }));
            }
        }""",
        "It is awful",
    )
    expect(page.locator("#label")).to_have_text("negative")
    expect(page.locator("#counts")).to_have_text("3 words")
    assert asked(opened) == before + 1


def asked(opened: Opened) -> int:
    """Return how many answers the page has asked for."""
    return sum(request.endswith("/v1/explain") for request in opened.requests)


def test_late_answers_are_dropped(open_page: Open) -> None:
    """A late answer to an older text is ignored."""
    page = open_page().page
    held: list[Route] = []
    page.route("**/v1/explain", lambda route: held.append(route) if not held else route.continue_())
    with page.expect_request("**/v1/explain"):
        page.get_by_label("Your text").fill("awful awful awful")
    type_text(page, "wonderful wonderful wonderful")
    expect(page.locator("#label")).to_have_text("positive")
    held[0].continue_()
    type_text(page, "wonderful wonderful")
    expect(page.locator("#counts")).to_have_text("2 words")
    expect(page.locator("#label")).to_have_text("positive")


def test_an_answer_belongs_to_its_text(open_page: Open) -> None:
    """The answer to another text is blurred until its own comes, and goes if none comes."""
    opened = open_page()
    page = opened.page
    type_text(page, "wonderful wonderful")
    held: list[Route] = []
    page.route("**/v1/explain", lambda route: held.append(route))
    answers = ("#counts", "#verdict", "#why", "#details")
    with page.expect_request("**/v1/explain"):
        page.get_by_label("Your text").fill("awful awful awful")
    for answer in answers:
        expect(page.locator(answer)).to_have_css("opacity", "0.35")
    held[0].abort()
    expect(page.locator("#trouble-text")).to_have_text("The service cannot be reached.")
    expect(page.locator("#label")).to_have_text("\u2026")
    for gone in ("#probabilities", "#counts", "#answered-by", "#reads-text", "#reads-label"):
        expect(page.locator(gone)).to_be_empty()
    for hidden in ("#why", "#details", "#threshold", "#steps"):
        expect(page.locator(hidden)).to_be_hidden()
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#label")).to_have_text("negative")
    for answer in answers:
        expect(page.locator(answer)).to_have_css("opacity", "1")
        expect(page.locator(answer)).to_be_visible()
    opened.errors.clear()


def test_tints_agree_with_the_explanation(open_page: Open, server: ServerProcess) -> None:
    """The colour of a word shows the sign and the size of its share, and the number is the share as displayed."""
    page = open_page().page
    text = "Not bad, but dull\n\U0001f600 and awful; flumberous! A superb, superb ending."
    type_text(page, text)
    explanation = api(server, "explain", text=text)
    largest = max(abs(word["share"]) for word in explanation["words"])
    assert largest > 1
    buttons = page.locator("#words .word")
    expect(buttons).to_have_count(len(explanation["words"]))
    strengths = []
    for button, word in zip(buttons.all(), explanation["words"], strict=True):
        assert button.inner_text() == word["text"]
        classes = (button.get_attribute("class") or "").split()
        assert ("against" in classes, "for" in classes) == (word["share"] < 0, word["share"] >= 0)
        assert ("unknown" in classes) is not word["known"]
        alpha = tint(button)
        strengths.append((abs(word["share"]), alpha))
        assert alpha == pytest.approx(0.52 * abs(word["share"]) / largest, abs=0.005)
        label = (button.get_attribute("aria-label") or "").replace("\u2212", "-")
        unknown = "" if word["known"] else ", unknown"
        side = "against" if word["share"] < 0 else "for"
        assert label == f"{word['text']}{unknown}, {word['share']:+.2f} {side} positive"
    assert sorted(strengths) == sorted(strengths, key=lambda pair: pair[1])
    assert page.locator("#words").inner_text() == text
    boxes = [float(number.replace("\u2212", "-")) for number in page.locator("#sum b").all_inner_texts()]
    assert sum(boxes[:3]) == pytest.approx(boxes[3], abs=2e-4)
    assert boxes[3] == pytest.approx(explanation["logit"], abs=1e-4)


def tint(word: Locator) -> float:
    """Return the opacity of the colour of a word."""
    background = word.evaluate("element => getComputedStyle(element).backgroundColor")
    return float(re.findall(r"[\d.]+(?:e-?\d+)?", background)[-1])


def test_small_shares_are_pale(open_page: Open, server: ServerProcess) -> None:
    """A text whose words all have shares below 1 has no word of the full colour."""
    page = open_page().page
    type_text(page, "flumberous")
    [word] = api(server, "explain", text="flumberous")["words"]
    assert 0 < abs(word["share"]) < 1
    assert tint(page.locator("#words .word")) == pytest.approx(0.52 * abs(word["share"]), abs=0.005)


def test_sentences_agree_with_the_explanation(open_page: Open, server: ServerProcess) -> None:
    """Several sentences are listed with their shares and labels, and the one that decided is marked."""
    page = open_page().page
    text = "A gripping, wonderful film \U0001f600. Two dull, awful hours! <b>It is a film.</b>"
    type_text(page, text)
    answer = api(server, "explain", text=text, sentences=True)
    items = page.locator("#sentences-list li")
    expect(items).to_have_count(3)
    for index, (item, each) in enumerate(zip(items.all(), answer["sentences"], strict=True)):
        assert item.locator("bdi").inner_text() == each["text"]
        assert item.locator("b").inner_text().replace("\u2212", "-") == f"{each['share']:+.2f}"
        assert f"alone {each['label']}, " in item.inner_text()
        decides = index == answer["decided_by"]
        assert (f"adds most to {answer['label']}" in item.inner_text()) is decides
        assert (item.get_attribute("class") == "deciding") is decides
    accessible(page)
    type_text(page, "One sentence.")
    expect(page.locator("#sentences")).to_be_hidden()


def test_more_sentences_than_fit(open_page: Open, server: ServerProcess) -> None:
    """A text with more sentences than a request can have is explained without them."""
    opened = open_page()
    type_text(opened.page, "Awful. " * 1100)
    expect(opened.page.locator("#label")).to_have_text("negative")
    expect(opened.page.locator("#sentences")).to_be_hidden()
    assert all("413" in error for error in opened.errors)
    opened.errors.clear()


def test_filters_agree_with_the_explanation(open_page: Open, server: ServerProcess) -> None:
    """The strongest filters are those of the explanation, with their words, and can be opened in step 3."""
    page = open_page().page
    type_text(page, TEXTS[1])
    explanation = api(server, "explain", text=TEXTS[1])
    page.get_by_text("The filters that mattered most").click()
    rows = page.locator("#filters tbody tr")
    expect(rows).to_have_count(10)
    for row, each in zip(rows.all(), explanation["filters"], strict=True):
        cells = [text.replace("\u2212", "-") for text in row.locator("td").all_inner_texts()]
        assert cells[0] == (TEXTS[1][each["start"] : each["end"]] or "(outside the words)")
        numbers = [float(cell) for cell in cells[1:4]]
        expected = [each["activation"], each["weight"], each["activation"] * each["weight"]]
        assert numbers == pytest.approx(expected, abs=1e-4)
    rows.nth(4).locator("button").click()
    expect(page.locator("#filter-number")).to_have_value(str(explanation["filters"][4]["index"]))


def test_unknown_and_unread_words_are_seen(open_page: Open) -> None:
    """Unknown words are underlined, and the text that is not read is struck through and counted."""
    page = open_page().page
    type_text(page, "flumberous " + "unread " * 49 + "fine " * 400)
    unread = page.locator("#words .unread")
    assert unread.inner_text().endswith("unread unread")
    assert "line-through" in unread.evaluate("element => getComputedStyle(element).textDecorationLine")
    expect(page.locator("#words")).to_contain_text("Not read, 50 words")
    expect(page.locator("#words .word")).to_have_count(400)
    type_text(page, "flumberous film")
    unknown = page.locator("#words .unknown")
    assert unknown.inner_text() == "flumberous"
    assert "underline" in unknown.evaluate("element => getComputedStyle(element).textDecorationLine")
    expect(page.locator("#counts")).to_have_text("2 words · 1 unknown")


def test_markup_is_text(open_page: Open, server: ServerProcess) -> None:
    """A review that contains a script is shown as text, and the script does not run."""
    text = "<script>window.harmed = 1</script><img src=x onerror='window.harmed = 2'><b>great</b> &lt;film&gt;"
    opened = open_page()
    page = opened.page
    before = page.locator("script, img, b, iframe").count()
    type_text(page, text)
    assert page.locator("#words").inner_text() == text
    expect(page.locator("#label")).to_have_text(api(server, "predict", text=text)["label"])
    show_reading(page)
    assert page.locator("#words script, #words img, #words b, #filters script, #chips script, #taps img").count() == 0
    assert page.locator("script").count() == 1 and page.locator("img").count() == 1 and before
    assert page.evaluate("window.harmed") is None
    assert not any("/x" in request for request in opened.requests)


def test_policy(open_page: Open) -> None:
    """The policy blocks a script or a style that is injected into the page."""
    opened = open_page()
    page = opened.page
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.harmed = 1";
            document.body.append(script);
            document.body.setAttribute("style", "opacity: 0");
        }"""
    )
    assert page.evaluate("window.harmed") is None
    assert page.evaluate("getComputedStyle(document.body).opacity") == "1"
    assert len(opened.errors) >= 2 and all("Content Security Policy" in error for error in opened.errors)
    opened.errors.clear()


def curve(page: Page) -> list[tuple[float, float]]:
    """Return the places and values of the drawn curve."""
    points = page.locator("#curve-line").get_attribute("points") or ""
    return [(float(x), -float(y)) for x, y in (point.split(",") for point in points.split())]


def test_sliding_draws_the_row_of_the_feature_map(open_page: Open, server: ServerProcess) -> None:
    """Play draws the curve place by place, and the result is the filter's row of the feature map."""
    page = open_page().page
    text = "Warm, funny and wise."
    type_text(page, text)
    show_reading(page)
    expect(page.locator("#chips")).to_contain_text("warm")  # not what the page began with, which a choice would go with
    index = 17
    page.get_by_role("spinbutton").fill(str(index))
    page.get_by_role("spinbutton").press("Enter")
    expect(page.locator("#pooled-text")).to_contain_text(f"Filter no. {index} ")
    feature_map = api(server, "inspect", text=text, feature_map=True)["banks"][0]["feature_map"]
    row = [values[index] for values in feature_map]
    page.evaluate(
        """() => {
            window.lengths = [];
            const line = document.getElementById("curve-line");
            new MutationObserver(() => window.lengths.push(line.getAttribute("points").split(" ").length))
                .observe(line, { attributes: true });
            window.names = [];
            const button = document.getElementById("play");
            new MutationObserver(() => window.names.push(button.textContent))
                .observe(button, { characterData: true, childList: true, subtree: true });
        }"""
    )
    page.get_by_role("button", name="Play").click()
    eventually(lambda: len(page.evaluate("window.names")) >= 2)
    assert page.evaluate("window.names") == ["Pause", "Play"]
    lengths = page.evaluate("window.lengths")
    growing = lengths[lengths.index(min(lengths)) :]
    assert growing == sorted(growing) and growing[-1] == len(row) and len(set(growing)) >= 4
    drawn = curve(page)
    assert [x for x, _ in drawn] == [place + 1.5 for place in range(len(row))]
    assert [value for _, value in drawn] == row


def test_steps_show_their_numbers(open_page: Open, server: ServerProcess) -> None:
    """At every place, the products add up to the value of the curve."""
    page = open_page().page
    text = "Warm, funny and wise."
    type_text(page, text)
    show_reading(page)
    inspection = api(server, "inspect", text=text)
    values = inspection["filter"]["curve"]
    scrub = page.get_by_label("Position of the filter in the text")
    page.get_by_label("hide the padding").uncheck()
    scrub.focus()
    page.keyboard.press("Home")
    expect(page.locator("#dot-place")).to_contain_text("place 0, over padding")
    page.keyboard.press("End")
    for place in range(len(values) - 1, len(values) - 6, -1):
        expect(page.locator("#dot-place")).to_contain_text(f"place {place},")
        number = page.locator("#dot").inner_text().replace("\u2212", "-")
        assert float(number) == pytest.approx(values[place], abs=5.1e-5)
        parts = [float(part.replace("\u2212", "-")) for part in page.locator("#taps .part").all_inner_texts()[1:]]
        assert sum(parts) == pytest.approx(values[place], abs=2e-4)
        page.get_by_role("button", name="One word back").click()
    page.get_by_role("button", name="To the peak").click()
    expect(page.locator("#dot-place")).to_contain_text(f"place {inspection['filter']['position']},")
    expect(page.locator("#dot-sum")).to_contain_text(f"its value is {inspection['filter']['activation']:.4f}")
    page.get_by_text("The curve as a table").click()
    rows = page.locator("#curve-table tbody tr")
    expect(rows).to_have_count(len(values))
    table = [
        float(text.replace("\u2212", "-")) for text in page.locator("#curve-table td:last-child").all_inner_texts()
    ]
    assert table == pytest.approx(values, abs=5.1e-7)


def test_pictures_without_padding(open_page: Open, server: ServerProcess) -> None:
    """The overview pictures leave out the padding until the reader wants it, and the filter is where its words are."""
    page = open_page().page
    text = "Warm, funny and wise."
    type_text(page, text)
    show_reading(page)
    inspection = api(server, "inspect", text=text)
    place, first = inspection["filter"]["position"], inspection["first_word"]
    for hidden, start in ((True, first - 3), (False, 0)):
        page.get_by_label("hide the padding").set_checked(hidden)
        columns = 400 - start
        for canvas in ("matrix", "overview"):
            assert page.locator(f"#{canvas}").evaluate("canvas => canvas.width") == columns
        box = page.locator("#curve").get_attribute("viewBox") or ""
        assert [float(each) for each in box.split()[::2]] == [start, columns]
        left, width = (
            page.locator("#window").evaluate(f"window => parseFloat(window.style.{each})") for each in ("left", "width")
        )
        assert left == pytest.approx(100 * (place - start) / columns, abs=1e-3)
        assert width == pytest.approx(300 / columns, abs=1e-3)
        assert page.locator("#scrub").get_attribute("min") == str(start)
        caption = page.locator("#matrix-caption")
        expect(caption).to_contain_text(f"The words begin at column {first + 1}.")
        if hidden:
            expect(caption).to_contain_text(f"The picture leaves out {start} columns of padding.")
        else:
            expect(caption).not_to_contain_text("leaves out")


def test_sizes_and_decision(open_page: Open, server: ServerProcess) -> None:
    """The sizes are those of the model, and the last numbers those of the answer."""
    page = open_page().page
    type_text(page, TEXTS[1])
    show_reading(page)
    sizes = rail(page)
    assert sizes[:7] == ["9", "400", "400x50", "398x250", "250", "250", "1"]
    logit = api(server, "explain", text=TEXTS[1])["logit"]
    expect(page.locator("#logit")).to_have_text(f"{logit:+.4f}".replace("-", "\u2212"))
    canvases = ("matrix", "close", "overview", "map", "pooled")
    for canvas in canvases:
        colours = page.locator(f"#{canvas}").evaluate(
            """canvas => new Set(new Uint32Array(
                canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"""
        )
        assert colours > 20, canvas


def test_feature_map_and_bars_choose_a_filter(open_page: Open) -> None:
    """A click on a row of the feature map or on a bar shows that filter."""
    page = open_page().page
    show_reading(page)
    box = page.locator("#map").bounding_box()
    assert box is not None
    # Browsers report clicks in whole pixels, and a row is little more than one.
    row = math.ceil(box["y"] + box["height"] * 100 / 250) - box["y"]
    page.locator("#map").click(position={"x": 50, "y": row})
    expect(page.locator("#filter-number")).to_have_value("100")
    box = page.locator("#pooled").bounding_box()
    assert box is not None
    page.locator("#pooled").click(position={"x": box["width"] * 42.5 / 250, "y": 60})
    expect(page.locator("#filter-number")).to_have_value("42")


def test_another_model_draws_itself(open_page: Open, several: ServerProcess) -> None:
    """Shapes, labels and widths come from the model, here with three widths, two dense layers and a softmax."""
    page = open_page(several).page
    text = "praise question nothing"
    type_text(page, text)
    show_reading(page)
    answer = api(several, "inspect", text=text)
    expect(page.locator("#label")).to_have_text(answer["explanation"]["prediction"]["label"])
    sizes = rail(page)
    assert sizes[:8] == ["3", "8", "8x3", "7x4 + 6x5 + 5x3", "4 + 5 + 3", "4", "5", "3"]
    for width, positions in ((4, 5), (2, 7), (3, 6)):
        page.locator("#filter-width").select_option(str(width))
        expect(page.locator("#patch-size")).to_have_text(f"{width}\u2009\u00d7\u20093")
        assert len(curve(page)) == positions
        assert page.locator("#taps .name").count() == width
    expect(page.locator("#final-numbers tbody tr")).to_have_count(3)
    expect(page.locator("#squash")).to_be_hidden()
    label = answer["explanation"]["label"]
    expect(page.locator("#legend-for")).to_have_text(f"for {label}")
    expect(page.locator("#sum")).to_contain_text(f"logit of {label}")


def test_model_without_explanation(open_page: Open, tmp_path: Path) -> None:
    """A model outside the family gets predictions, and the page says that it has no exact explanation."""
    artifacts.publish_table(tmp_path)
    with ServerProcess("--workers", "1", repository=tmp_path) as server:
        page = open_page(server).page
        type_text(page, "complaint complaint")
        expect(page.locator("#label")).to_have_text("complains")
        expect(page.locator("#reads-note")).to_contain_text("no exact explanation for this model")
        expect(page.locator("#steps")).to_be_hidden()
        expect(page.locator("#why")).to_be_hidden()
        expect(page.locator("#reads")).to_have_attribute("aria-busy", "false")
        page.context.close()


def test_model_section(open_page: Open, server: ServerProcess) -> None:
    """The name, the version and every metric of the manifest are shown as numbers and as plots."""
    page = open_page().page
    models = {model["name"]: model for model in server.client.get("/v1/models").json()["models"]}
    model = models["imdb-cnn"]  # others have no dense layer before the last
    show_view(page, "The model")
    section = page.locator("#models")
    for heading in section.locator("summary").all():
        if heading.locator("..").get_attribute("open") is None:
            heading.click()
    expect(section).to_contain_text(f"{model['name']}, version {model['version']}")
    expect(section).to_contain_text(model["metrics"]["measured_on"])
    plots = section.locator("figure")
    shown = set(zip(plots.locator("span").all_inner_texts(), plots.locator("b").all_inner_texts(), strict=True))
    parameters = {("Embedding", "250,000"), ("Filters 3 wide", "37,750"), ("Dense", "62,750"), ("Last layer", "251")}
    assert parameters <= shown and ("Last layer", "513") in shown and not any(text == "0" for _, text in shown)
    for number in model["metrics"]["values"].values():
        assert f"{number:.4f}" in {text for _, text in shown}
    for name, version in model["libraries"].items():
        expect(section).to_contain_text(f"{name} {version}")


def test_api_key(open_page: Open, guarded: ServerProcess) -> None:
    """If the service requires a key, the page asks for one, says when it is invalid, and remembers a valid one."""
    opened = open_page(guarded, answer=False)
    page = opened.page
    expect(page.locator("#trouble-text")).to_have_text("The service requires an API key.")
    page.get_by_label("API key").fill("not-the-right-key")
    page.get_by_role("button", name="Use this key").click()
    expect(page.locator("#trouble-text")).to_have_text("This API key is not valid.")
    page.get_by_label("API key").fill(KEY)
    page.get_by_label("API key").press("Enter")
    expect(page.locator("#label")).to_have_text("positive")
    expect(page.locator("#trouble")).to_be_hidden()
    page.reload()
    expect(page.locator("#label")).to_have_text("positive")
    assert all("401" in error for error in opened.errors) and len(opened.errors) == 2
    opened.errors.clear()


def test_error_messages(open_page: Open) -> None:
    """A text that is too long, a busy service and an unreachable one have different messages, which disappear later."""
    with ServerProcess("--workers", "1", "--max-text-characters", "200") as server:
        opened = open_page(server)
        page = opened.page
        field, trouble = page.get_by_label("Your text"), page.locator("#trouble-text")
        field.fill("long " * 50)
        expect(trouble).to_contain_text("longer than the service allows. The service says: text 0: 250 characters")
        type_text(page, "superb")
        expect(page.locator("#trouble")).to_be_hidden()

        refusal = {"error": {"code": "overloaded", "message": "8000 texts are waiting", "request_id": "x"}}
        refusals = [429, 503]

        def refuse(route: Route) -> None:
            if refusals:
                route.fulfill(status=refusals.pop(0), json=refusal, headers={"retry-after": "1"})
            else:
                route.continue_()

        page.route("**/v1/explain", refuse)
        field.fill("awful")
        expect(trouble).to_contain_text("The service is busy at the moment. The service says: 8000 texts are waiting")
        expect(page.locator("#label")).to_have_text("negative")
        expect(page.locator("#trouble")).to_be_hidden()
        assert refusals == []
        page.unroute_all()

        page.context.set_offline(True)
        field.fill("superb")
        expect(trouble).to_have_text("The service cannot be reached.")
        page.context.set_offline(False)
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#label")).to_have_text("positive")

        page.route("**/v1/inspect", lambda route: route.fulfill(status=503, json=refusal))
        show_view(page, "How it works")
        expect(trouble).to_contain_text("The service is busy at the moment.")
        page.unroute_all()
        page.get_by_role("button", name="Try again").click()
        show_reading(page)
        expect(page.locator("#trouble")).to_be_hidden()
        assert len(opened.errors) == 5 and all("Failed to load resource" in error for error in opened.errors)
        opened.errors.clear()
        page.context.close()


def test_reduced_motion(open_page: Open) -> None:
    """With reduced motion the whole curve appears at once, and a note says so."""
    page = open_page(reduced_motion="reduce").page
    show_reading(page)
    expect(page.locator("#motion-note")).to_be_visible()
    page.get_by_role("button", name="One word forward").click()
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    assert len(curve(page)) == 398
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    motions = page.evaluate("document.getAnimations().length")
    assert motions == 0


def test_keyboard_reaches_everything(open_page: Open) -> None:
    """The tab key reaches every control in the order of the page, with a visible focus."""
    page = open_page().page
    page.keyboard.press("Tab")
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => {
                const element = document.activeElement;
                const name = element.id || element.className || element.textContent.trim();
                return [name, getComputedStyle(element).outlineStyle];
            }"""
        )
        assert outline != "none", name
        reached.append(name)
        if name == "copy-python":  # go on in another view
            page.locator("#tab-try").focus()
            page.keyboard.press("End")
            page.keyboard.press("ArrowLeft")
            page.keyboard.press("Space")
            expect(page.locator("#curve-line")).to_have_attribute("points", re.compile(r"\d"))
        if name == "scrub":
            break
    before = ["tab-try", "text", "model-choice", "comparison-choice", "threshold-choice", "copy-link", "copy-curl"]
    behind = [
        "copy-python",
        "reads-choice",
        "crop",
        "filter-choice",
        "filter-number",
        "back",
        "play",
        "forward",
        "peak",
    ]
    behind.append("scrub")
    assert [name for name in reached if name in (*before, *behind)] == [*before, *behind]


@pytest.mark.parametrize("served", ["server", "several"])
def test_accessibility(open_page: Open, served: str, request: pytest.FixtureRequest) -> None:
    """axe-core finds no problem in any view, with both models, all kinds of words, and all that opens."""
    page = open_page(request.getfixturevalue(served)).page
    type_text(page, "unread praise " * 4 + "A superb but flumberous film with an awful, boring question.")
    page.get_by_text("All words as a table").click()
    page.get_by_text("The filters that mattered most").click()
    page.locator("#words .word").first.click()
    expect(page.locator("#card")).to_be_visible()
    accessible(page)
    expect(page.locator("#card")).to_be_visible()
    show_view(page, "Many texts")
    page.get_by_label("File").set_input_files(
        {"name": "a.csv", "mimeType": "text/csv", "buffer": "id,text\n1,Un caf\xe9\n2,flumberous\n".encode("cp1252")}
    )
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#predictions tbody tr")).to_have_count(2)
    page.get_by_role("button", name="Words of text 1").click()
    expect(page.get_by_role("region", name="Words of text 1")).to_be_visible()
    accessible(page)
    show_reading(page)
    page.get_by_text("The curve as a table").click()
    accessible(page)
    show_view(page, "The model")
    page.locator("#models details").evaluate_all("all => all.forEach((each) => { each.open = true; })")
    accessible(page)


def test_undecided_contrasts_are_computed(open_page: Open) -> None:
    """A colour that is too close to what is behind it is found where axe-core decides nothing, also in pictures."""
    page = open_page().page
    show_reading(page)
    accessible(page)
    for selector, style in (("#forward", "color"), ("#squash text", "fill")):
        page.locator(selector).first.evaluate(f"element => element.style.{style} = '#999'")
        with pytest.raises(AssertionError, match=r"\d"):
            accessible(page)
        page.locator(selector).first.evaluate(f"element => element.style.{style} = ''")


def test_fits(open_page: Open) -> None:
    """Nothing is wider than the screen, on phones and larger screens."""
    page = open_page(viewport={"width": 320, "height": 800}).page
    type_text(page, "unbreakable" * 20 + " A superb, superb film, but an awful, boring ending. " * 30)
    show_reading(page)
    for view in VIEWS:
        show_view(page, view)
        for width in (320, 390, 768, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, view


def test_colours_follow_the_system(open_page: Open) -> None:
    """The page and its canvases follow the colour scheme, even if it changes while the page is open."""
    page = open_page(color_scheme="light").page
    show_reading(page)
    brightness = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.locator("#rail li").first.wait_for()
        brightness.append(
            page.evaluate(
                """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
                    const canvas = document.getElementById("close");
                    const data = canvas.getContext("2d").getImageData(0, 100, canvas.width, 100).data;
                    done(data.reduce((sum, value) => sum + value, 0) / data.length);
                })))"""
            )
        )
    assert brightness[0] > brightness[1] + 30


def test_under_a_path(open_page: Open, server: ServerProcess) -> None:
    """All addresses of the page are relative, so that it works behind a path."""
    opened = open_page()
    for selector, attribute in (("link, a.brand", "href"), ("script, img", "src")):
        for element in opened.page.locator(selector).all():
            assert not (element.get_attribute(attribute) or "").startswith(("/", "http"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_reference(open_page: Open, server: ServerProcess, scheme: str) -> None:
    """The API reference has the colours of the page, loads nothing from other hosts, fits a phone and is accessible."""
    page = open_page(path="/docs", answer=False, viewport=PHONE, color_scheme=scheme).page
    document = server.client.get("/openapi.json").json()
    expect(page.locator(".opblock")).to_have_count(sum(map(len, document["paths"].values())))
    expect(page.locator(".models article")).to_have_count(len(document["components"]["schemas"]))
    page.get_by_text("Classify one review").click()
    expect(page.get_by_text("Return the label of a review, the probability of each label")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    background = "element => getComputedStyle(element).backgroundColor"
    text = open_page(color_scheme=scheme).page.locator("body").evaluate(background)
    assert page.locator(".swagger-ui").first.evaluate(background) == text
    for broken in Axe().run(page).response["violations"]:
        assert broken["impact"] not in ("serious", "critical"), [broken["id"], broken["nodes"][0]["html"]]


def test_trying_a_request(open_page: Open, server: ServerProcess) -> None:
    """The API reference sends requests that are tried out, shows the answers, and links to the document."""
    opened = open_page(path="/docs", answer=False)
    page = opened.page
    expect(page.get_by_role("link", name="openapi.json")).to_be_visible()
    operation = page.locator(".opblock", has_text="Classify one review")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.locator("textarea").fill('{"text": "Two dull hours."}')
    operation.get_by_role("button", name="Execute").click()
    answer = api(server, "predict", text="Two dull hours.")
    expect(operation.locator(".live-responses-table .response-col_description code").first).to_contain_text(
        f'"score": {answer["score"]}'
    )
    assert server.url + "/v1/predict" in opened.requests


def test_api_key_in_the_reference(open_page: Open, guarded: ServerProcess) -> None:
    """A key that is entered under "Authorize" in the API reference is sent with its requests."""
    page = open_page(guarded, path="/docs", answer=False).page
    page.get_by_role("button", name="Authorize").first.click()
    page.get_by_label("auth-bearer-value").fill(KEY)
    page.get_by_role("button", name="Apply credentials").first.click()
    page.get_by_role("button", name="Close").first.click()
    operation = page.locator(".opblock", has_text="List the loaded models")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
