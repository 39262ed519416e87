"""Plots show all points, whatever their values are."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.reporting.plots import Series, lines

POSITIVE = st.one_of(st.sampled_from([0.001, 0.01, 1.0, 2.0, 5.0, 10.0, 64.0]), st.floats(1e-6, 1e6))


@settings(max_examples=50)  # drawing takes long
@given(points=st.lists(st.tuples(POSITIVE, POSITIVE), max_size=4), log=st.booleans())
def test_lines(points: list[tuple[float, float]], log: bool) -> None:
    """Every point is within the plot, with linear and logarithmic axes, even if it is the only one or repeated."""
    places, values = ([each[axis] for each in points] for axis in (0, 1))
    plot = lines("", places, [Series("", 1, values)], x="", y="", unit="s" if log else "", log_x=log, log_y=log)
    if not points:
        assert plot == ""
        return
    dots = [
        use
        for use in ElementTree.fromstring(plot).iter("{http://www.w3.org/2000/svg}use")
        if "--c1" in use.attrib["style"]
    ]
    assert len(dots) == len(points)
    for dot in dots:
        assert 0 <= float(dot.attrib["x"]) <= 480 and 0 <= float(dot.attrib["y"]) <= 300


def test_ticks() -> None:
    """Ticks are round numbers with a unit, or with commas, and the name of a series is escaped."""
    series = [Series("p<50", 1, [2e-3, 0.03]), Series("", 3, [0.1, 1])]
    plot = lines("", [1e3, 2e4], series, x="", y="", unit="s", log_y=True)
    texts = {text.text for text in ElementTree.fromstring(plot).iter("{http://www.w3.org/2000/svg}text")}
    assert texts >= {"10 ms", "1 s", "20,000", "p<50"}
