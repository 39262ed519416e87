"""The tables of `benchmarks.serving` have medians of the rounds, and ratios within each round."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.rest import Load
from benchmarks.serving import inside
from benchmarks.serving.cases import ALONE, CPP, FASTAPI, MANY_AND_GRPC, NODE, ONE_BY_ONE, SERVICE, SHORT, WHOLE, Case
from benchmarks.serving.report import Measurements, save_plot, tables

STAGES = (
    "tokenize",
    inside.PREDICT,
    inside.PREDICT_32,
    inside.QUANTIZED,
    inside.QUANTIZED_32,
    inside.COMPETENT,
    inside.AMONG,
    inside.AMONG_32,
)


@pytest.fixture
def measured() -> Measurements:
    """Return measurements of three rounds. In one of them the machine was half as fast."""
    loads = {
        case: [
            Load(rate / slow, 0.002 * slow, 0.005 * slow, 0.0001 * slow, 1)
            for slow in (1, 2, 1)
            for rate in [{FASTAPI: 2000, NODE: 4000}.get(case.server, 8000)]
        ]
        for case in (*ONE_BY_ONE, *MANY_AND_GRPC)
    }
    stages = {kind: {name: [0.0001, 0.0002, 0.0001] for name in STAGES} for kind in (WHOLE, SHORT)}
    return Measurements(loads, stages, memory=[45.0, 56.0, 57.0], ready=[0.5, 0.9, 0.6])


def cells(measured: Measurements) -> Iterator[list[str]]:
    """Yield the rows of all tables."""
    for each in tables(measured):
        yield from ([cell.strip() for cell in line.strip("|").split("|")] for line in each.splitlines())


def test_rows(measured: Measurements) -> None:
    """Every case has a row with the medians of the rounds and the sum of their errors."""
    rows = list(cells(measured))
    assert [f"{SERVICE}, REST", WHOLE, "32", "8,000", "2.0", "5.0", "100", "3"] in rows
    assert [f"{ALONE}, REST", WHOLE, "16", "8,000", "2.0", "5.0", "100", "3"] in rows


def test_ratios(measured: Measurements) -> None:
    """A round in which everything was slow has the same ratios as the others."""
    rows = {name: values for name, *values in cells(measured)}
    assert rows["FastAPI"] == ["2,000", "4.00", "100"] * 2
    assert rows["at 32 connections, this service divided by"] == [CPP, NODE, FASTAPI]
    assert rows["texts/s, 20 words"] == ["1.00 (1.00 to 1.00)", "2.00 (2.00 to 2.00)", "4.00 (4.00 to 4.00)"]
    assert rows["p99 of short requests beside batches of 256 / without"] == ["", "1.00 (1.00 to 1.00)"]


def test_sizes(measured: Measurements) -> None:
    """The tables contain the numbers for sizing a deployment."""
    rows = {name: values for name, *values in cells(measured)}
    assert rows["requests/s of a core to itself: 1 / processor time"] == ["10,000", "10,000"]
    assert rows["memory of each worker (PSS), MB"] == ["56, 57", ""]
    assert rows["ready after the start of the process, s"] == ["0.60 (0.50 to 0.90)", ""]


def test_application_that_is_not_installed(measured: Measurements) -> None:
    """The tables leave out an application that was not measured."""
    loads = {case: each for case, each in measured.loads.items() if case.server != CPP}
    rows = {name: values for name, *values in cells(replace(measured, loads=loads))}
    assert CPP not in rows
    assert rows["at 32 connections, this service divided by"] == [NODE, FASTAPI]


def test_plot(measured: Measurements, tmp_path: Path) -> None:
    """The plot has a bar for every case."""
    save_plot(measured, tmp_path / "serving.svg")
    drawn = (tmp_path / "serving.svg").read_text()
    assert all(f"<!-- {', '.join(map(str, case))} -->" in drawn for case in measured.loads)
    assert isinstance(next(iter(measured.loads)), Case)
