"""The table and the document of `benchmarks.other_servers`."""

import json
from pathlib import Path

from benchmarks.other_servers.report import Measured, document, save_plot, summary
from benchmarks.rest import Load
from benchmarks.serving.cases import COMPETENT, SERVICE

ABSENT = {"LitServe": "not installed: python -m benchmarks.other_servers --install"}


def rounds(*rates: float, errors: int = 0) -> Measured:
    loads = [Load(rate, 0.01, 0.03, 0.0005, errors) for rate in rates]
    return Measured({"whole": loads, "short": loads}, [300.0] * len(rates), [2.5] * len(rates))


MEASURED = {SERVICE: rounds(8000, 4000, 8000), COMPETENT: rounds(2000, 2000, 2000), "BentoML": rounds(1000, 1000, 4000)}


def rows(measured: dict[str, Measured]) -> list[str]:
    """The rows of the table, without its head."""
    return next(iter(summary(measured, {}))).splitlines()[2:]


def test_medians_and_ratios_of_each_round() -> None:
    """A ratio compares within a round, since rounds differ."""
    row = next(row for row in rows(MEASURED) if row.startswith("| BentoML"))
    assert row == "| BentoML | whole | 1,000 | 0.50 | 0.25 | 10 | 30 | 500 | 300 | 2.5 | 0 |"


def test_server_that_is_not_installed() -> None:
    """A server that is not installed leaves the table whole and has a line of its own."""
    _, *reasons = summary(MEASURED, ABSENT)
    assert len(rows(MEASURED)) == 2 * len(MEASURED)
    assert reasons == [f"LitServe: {ABSENT['LitServe']}"]


def test_errors_are_counted_over_all_rounds() -> None:
    """One failed answer in each of three rounds makes three."""
    row = next(row for row in rows(MEASURED | {"MLServer": rounds(1, 1, 1, errors=1)}) if "MLServer" in row)
    assert row.endswith(" 3 |")


def test_document() -> None:
    """Others can compute other figures of it."""
    read = json.loads(document(MEASURED, ABSENT, {"workers": 2}))
    assert read["workers"] == 2
    assert [load["rate"] for load in read["measured"][SERVICE]["loads"]["short"]] == [8000, 4000, 8000]
    assert read["not measured"] == ABSENT


def test_the_plot_has_a_bar_for_every_server_and_kind(tmp_path: Path) -> None:
    """Its labels are text, which can be searched."""
    save_plot(MEASURED, tmp_path / "other_servers.svg")
    assert (tmp_path / "other_servers.svg").read_text().count("<!-- BentoML, ") == 2
