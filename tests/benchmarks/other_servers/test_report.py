"""The table, the document and the plot of `benchmarks.other_servers`."""

import json
from pathlib import Path

from benchmarks.other_servers.report import Measurements, document, save_plot, summary
from benchmarks.rest import Load
from benchmarks.serving.cases import FASTAPI, SERVICE

ABSENT = {"LitServe": "not installed: --install creates its environment"}


def rounds(*rates: float, errors: int = 0) -> Measurements:
    loads = [Load(rate, 0.01, 0.03, 0.0005, errors) for rate in rates]
    return Measurements({"whole": loads, "short": loads}, [300.0] * len(rates), [2.5] * len(rates))


MEASURED = {SERVICE: rounds(8000, 4000, 8000), FASTAPI: rounds(2000, 2000, 2000), "BentoML": rounds(1000, 1000, 4000)}


def rows(measured: dict[str, Measurements]) -> list[str]:
    """Return the rows of the table, without its head."""
    return next(iter(summary(measured, {}))).splitlines()[2:]


def test_medians() -> None:
    """The table has the medians of the rounds, for every kind of text."""
    row = next(row for row in rows(MEASURED) if row.startswith("| BentoML"))
    assert row == "| BentoML | 1,000 | 30 | 500 | 1,000 | 30 | 500 | 300 | 2.5 |"


def test_server_that_is_not_installed() -> None:
    """A server that is not installed is listed with the reason, and the table is complete."""
    _, *reasons = summary(MEASURED, ABSENT)
    assert len(rows(MEASURED)) == len(MEASURED)
    assert reasons == [f"LitServe: {ABSENT['LitServe']}"]


def test_errors() -> None:
    """The errors of all rounds and kinds of text are added up."""
    _, *notes = summary(MEASURED | {"MLServer": rounds(1, 1, 1, errors=1)}, {})
    assert notes == ["MLServer: 6 errors"]


def test_document() -> None:
    """The document contains the results of every round."""
    read = json.loads(document(MEASURED, ABSENT, {"workers": 2}))
    assert read["workers"] == 2
    assert [load["rate"] for load in read["measured"][SERVICE]["loads"]["short"]] == [8000, 4000, 8000]
    assert read["not measured"] == ABSENT


def test_plot(tmp_path: Path) -> None:
    """The plot has a bar for every server and kind of text, with searchable labels."""
    save_plot(MEASURED, tmp_path / "other_servers.svg")
    assert (tmp_path / "other_servers.svg").read_text().count("<!-- BentoML, ") == 2
