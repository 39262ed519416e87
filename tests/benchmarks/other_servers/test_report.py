"""The table and the document of `benchmarks.other_servers`."""

import json
from pathlib import Path

from benchmarks.other_servers.report import Measured, document, save_plot, table
from benchmarks.rest import Load

ABSENT = {"LitServe": "not installed: python -m benchmarks.other_servers --install"}


def rounds(*rates: float, errors: int = 0) -> Measured:
    loads = [Load(rate, 0.01, 0.03, 0.0005, errors) for rate in rates]
    return Measured({"whole": loads, "short": loads}, [300.0] * len(rates), [2.5] * len(rates))


MEASURED = {"service": rounds(8000, 4000, 8000), "naive": rounds(2000, 2000, 2000), "BentoML": rounds(1000, 1000, 4000)}


def test_medians_and_ratios_of_each_round() -> None:
    """A ratio compares within a round, since rounds differ."""
    row = next(line for line in table(MEASURED, {}) if line.startswith("BentoML"))
    assert row.split() == ["BentoML", "whole", "1000", "0.50", "0.250", "10.0", "30.0", "500", "300", "2.5", "0"]


def test_what_was_not_measured_says_why() -> None:
    """A server that is not installed leaves the table whole and has a line of its own."""
    lines = list(table(MEASURED, ABSENT))
    assert len(lines) == 1 + 2 * len(MEASURED) + 1
    assert lines[-1].split(maxsplit=1) == ["LitServe", ABSENT["LitServe"]]


def test_errors_are_counted_over_all_rounds() -> None:
    """One failed answer in each of three rounds makes three."""
    row = next(line for line in table(MEASURED | {"MLServer": rounds(1, 1, 1, errors=1)}, {}) if "MLServer" in line)
    assert row.split()[-1] == "3"


def test_the_document_holds_every_round() -> None:
    """Others can compute other figures of it."""
    read = json.loads(document(MEASURED, ABSENT, {"workers": 2}))
    assert read["workers"] == 2
    assert [load["rate"] for load in read["measured"]["service"]["loads"]["short"]] == [8000, 4000, 8000]
    assert read["not measured"] == ABSENT


def test_the_plot_has_a_bar_for_every_server_and_kind(tmp_path: Path) -> None:
    """Its labels are text, which can be searched."""
    save_plot(MEASURED, tmp_path / "other_servers.svg")
    assert (tmp_path / "other_servers.svg").read_text().count("<!-- BentoML, ") == 2
