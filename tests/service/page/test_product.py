"""The filter at one place: the numbers of the words beneath it can be read, and their sum grows with the window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.processes import ServerProcess
from tests.service.page.conftest import Open
from tests.service.page.test_page import PHONE, accessible, api, show_reading, type_text

TEXT = "Warm, funny and wise."
SIZE = 50  # numbers of a word

#: Records the place and the sum at every change.
RECORDING = """() => {
    window.sums = [];
    new MutationObserver(() => window.sums.push(
        [document.querySelector("#dot-place b").textContent, document.getElementById("dot").textContent]))
        .observe(document.getElementById("dot-sum"), { childList: true });
}"""


def products(inspection: dict[str, Any], place: int) -> tuple[Any, Any]:
    """Return the numbers of the words under the filter at a place, and those of the filter: [taps, size] each."""
    kernel = np.array(inspection["filter"]["kernel"])
    return np.array(inspection["embedding"][place : place + len(kernel)]), kernel


def number(value: float) -> str:
    return f"{value:.4f}".replace("-", "\u2212")


def strip(page: Page, row: int, column: int) -> Any:
    return page.locator("#taps .strip").nth(3 * row + column)


def point_at(page: Page, row: int, column: int, index: int, tap: bool = False) -> None:
    """Point at a number of a strip, or tap it."""
    target = strip(page, row, column)
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    position = {"x": box["width"] * (index + 0.5) / SIZE, "y": box["height"] / 2}
    if tap:
        target.tap(position=position)
    else:
        target.hover(position=position)


def test_numbers_are_read(open_page: Open, server: ServerProcess) -> None:
    """Each number of the three words is read by pointing at it in any strip, and with the keyboard."""
    page = open_page().page
    type_text(page, TEXT)
    show_reading(page)
    expect(page.locator("#chips")).to_contain_text("warm")
    inspection = api(server, "inspect", text=TEXT)
    numbers, kernel = products(inspection, inspection["filter"]["position"])
    names = page.locator("#taps .name").all_inner_texts()
    read = page.locator("#tap-number")
    expect(read).to_have_text("Point, tap or use the arrow keys to read a number.")

    def said(row: int, index: int) -> str:
        value, weight = numbers[row, index], kernel[row, index]
        product = f"{number(value)} \u00d7 {number(weight)} = {number(value * weight)}"
        return f"{names[row]}, number {index + 1} of {SIZE}: {product}"

    for row, column, index in ((0, 0, 0), (1, 1, 16), (2, 2, 49)):
        point_at(page, row, column, index)
        expect(read).to_have_text(said(row, index))
        expect(page.locator("#taps .marked")).to_have_count(3)
        assert strip(page, row, 0).get_attribute("class") == "strip marked"
    page.locator("#dot-place").hover()
    expect(read).to_have_text("Point, tap or use the arrow keys to read a number.")

    slider = page.get_by_role("slider", name=f"Numbers of {names[1]}, word 2 under the filter")
    slider.focus()
    expect(read).to_have_text(said(1, 0))
    for key, index in (
        ("ArrowRight", 1),
        ("ArrowUp", 2),
        ("ArrowLeft", 1),
        ("End", 49),
        ("ArrowRight", 49),
        ("ArrowDown", 48),
    ):
        page.keyboard.press(key)
        expect(read).to_have_text(said(1, index))
        expect(slider).to_have_attribute("aria-valuetext", said(1, index))
        expect(slider).to_have_attribute("aria-valuenow", str(index + 1))
    page.keyboard.press("Home")
    point_at(page, 2, 0, 7)
    expect(read).to_have_text(said(2, 7))
    page.locator("#dot-place").hover()
    expect(read).to_have_text(said(1, 0))  # the focus stayed
    page.get_by_role("button", name="To the peak").focus()
    expect(page.locator("#taps .marked")).to_have_count(0)


def test_numbers_are_read_by_tapping(open_page: Open, server: ServerProcess) -> None:
    """On a phone a tap on a number reads it until the next tap, and each number is wide enough to hit."""
    page = open_page(viewport=PHONE, has_touch=True).page
    type_text(page, TEXT)
    show_reading(page)
    expect(page.locator("#chips")).to_contain_text("warm")
    inspection = api(server, "inspect", text=TEXT)
    numbers, _ = products(inspection, inspection["filter"]["position"])
    for row, column, index in ((0, 0, 3), (2, 1, 30), (1, 2, 11)):
        point_at(page, row, column, index, tap=True)
        expect(page.locator("#tap-number")).to_contain_text(
            f"number {index + 1} of {SIZE}: {number(numbers[row, index])} "
        )
        assert strip(page, row, column).bounding_box()["width"] >= 5 * SIZE
    accessible(page)


def test_the_keyboard_stays_where_it_is(open_page: Open) -> None:
    """While the window moves, a row keeps the focus and its number."""
    page = open_page().page
    type_text(page, TEXT)
    show_reading(page)
    slider = page.locator("#taps [role=slider]").nth(1)
    slider.focus()
    page.keyboard.press("End")
    place = page.locator("#dot-place").inner_text()
    page.evaluate("document.getElementById('back').click()")
    expect(page.locator("#dot-place")).not_to_have_text(place)
    expect(slider).to_be_focused()
    expect(page.locator("#tap-number")).to_contain_text(f"number {SIZE} of {SIZE}: ")


def play(page: Page) -> list[tuple[int, float]]:
    """Play to the end and return the places with their sums, as shown at every change."""
    page.evaluate(RECORDING)
    page.get_by_role("button", name="Play").click()
    expect(page.locator("#dot-place")).to_contain_text("place 397,")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    return [(int(place), float(total.replace("\u2212", "-"))) for place, total in page.evaluate("window.sums")]


def test_the_sum_grows_with_the_window(open_page: Open, server: ServerProcess) -> None:
    """While the window moves, the products are added up one after the other, and the whole sum is the curve's value."""
    page = open_page().page
    type_text(page, TEXT)
    show_reading(page)
    expect(page.locator("#chips")).to_contain_text("warm")
    inspection = api(server, "inspect", text=TEXT)
    curve = inspection["filter"]["curve"]
    partial = 0
    for place, total in (recorded := play(page)):
        numbers, kernel = products(inspection, place)
        sums = np.append(0, (numbers * kernel).sum(axis=0).cumsum())
        assert np.abs(sums - total).min() < 1e-4
        partial += abs(total - curve[place]) > 1e-4
    assert partial > 10
    place, total = recorded[-1]
    assert place == 397
    assert total == pytest.approx(curve[397], abs=5.1e-5)
    assert page.locator("#taps").evaluate("element => element.style.getPropertyValue('--done')") == "1"


def test_reduced_motion_shows_the_final_sum(open_page: Open, server: ServerProcess) -> None:
    """With reduced motion only whole sums are shown."""
    page = open_page(reduced_motion="reduce").page
    type_text(page, TEXT)
    show_reading(page)
    expect(page.locator("#chips")).to_contain_text("warm")
    curve = api(server, "inspect", text=TEXT)["filter"]["curve"]
    page.evaluate(RECORDING)
    page.get_by_role("button", name="One word forward").click()
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="One word back").click()
    recorded = page.evaluate("window.sums")
    assert recorded
    for place, total in recorded:
        assert float(total.replace("\u2212", "-")) == pytest.approx(curve[int(place)], abs=5.1e-5)


def test_pictures_are_named_transposed(open_page: Open) -> None:
    """The pictures of the matrix and of the feature map are labelled as transposed, and a click on the label passes."""
    for viewport in (PHONE, {"width": 1280, "height": 900}):
        page = open_page(viewport=viewport).page
        show_reading(page)
        for canvas in ("matrix", "map"):
            picture = page.locator(f"#{canvas}").bounding_box()
            tag = page.locator(f"#{canvas} + .tag")
            expect(tag).to_contain_text("transposed: ")
            box = tag.bounding_box()
            assert picture is not None and box is not None
            assert picture["x"] <= box["x"] and box["x"] + box["width"] <= picture["x"] + picture["width"]
            assert picture["y"] <= box["y"] and box["y"] + box["height"] <= picture["y"] + picture["height"] / 2
        before = page.locator("#filter-number").input_value()
        page.locator("#map + .tag").click(force=True)
        expect(page.locator("#filter-number")).not_to_have_value(before)
