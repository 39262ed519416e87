"""Plots: whatever the numbers are, they have an axis."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from loadtest.reporting.plots import Series, lines
from loadtest.units import COUNT, SECONDS

POSITIVE = st.one_of(st.sampled_from([0.001, 0.01, 1.0, 2.0, 5.0, 10.0, 64.0]), st.floats(1e-6, 1e6))


@given(points=st.lists(st.tuples(POSITIVE, POSITIVE), max_size=4), log=st.booleans())
def test_lines(points: list[tuple[float, float]], log: bool) -> None:
    """Points on a plot of any kind are all there, even a single one, and equal ones."""
    places, values = ([each[axis] for each in points] for axis in (0, 1))
    plot = lines("", places, [Series("", 1, values)], x="", y="", unit=SECONDS if log else COUNT, log_x=log, log_y=log)
    if not points:
        assert plot == ""
        return
    dots = ElementTree.fromstring(plot).findall(".//circle")
    assert len(dots) == len(points)
    for dot in dots:
        assert 0 <= float(dot.attrib["cx"]) <= 480 and 0 <= float(dot.attrib["cy"]) <= 300
