"""The slots of declared metrics."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.server.process.counters import Counters
from sentiment_conv1d.service.telemetry.layout import Layout, Metric

COUNTER = Metric("counter", "counter", "A counter.", ("model", "kind"))
GAUGE = Metric("gauge", "gauge", "A gauge.", ("kind",))
HISTOGRAM = Metric("histogram", "histogram", "A histogram.", ("kind",), (1, 2, 3))


@given(st.lists(st.sampled_from(["counter", "gauge", "histogram"])), st.integers(0, 100))
def test_no_slot_is_given_twice(declared: list[str], first: int) -> None:
    """Every series has its own slots, for any declarations in any order."""
    layout = Layout(first, model="a")
    taken: list[int] = []
    for number, kind in enumerate(declared):
        match kind:
            case "counter":
                taken.append(layout.number(COUNTER, str(number)))
            case "gauge":
                taken.append(layout.number(GAUGE, str(number)))
            case _:
                histogram = layout.histogram(HISTOGRAM, str(number))
                taken += range(histogram.cells.start, histogram.cells.stop)
                taken.append(histogram.sum_slot)
    assert taken == list(range(first, layout.end))


def test_series_by_values() -> None:
    """A series has its declared labels and the labels of the layout."""
    layout = Layout(model="imdb-cnn")
    slots = layout.numbers(COUNTER, [("a",), ("b",)])
    assert [(each.values, each.slot) for each in layout.series[COUNTER]] == [
        (("imdb-cnn", "a"), slots["a",]),
        (("imdb-cnn", "b"), slots["b",]),
    ]
    gauge = layout.number(GAUGE, "a")
    assert layout.gauges == [gauge]


@pytest.mark.parametrize("values", [(), ("a", "b")])
def test_wrong_number_of_values(values: tuple[str, ...]) -> None:
    """A series needs a value for every label."""
    with pytest.raises(ValueError, match="gauge has the labels"):
        Layout().number(GAUGE, *values)


def test_histogram() -> None:
    """A value is counted in the first bucket whose bound is not below it, and in the sum."""
    layout = Layout()
    histogram = layout.histogram(HISTOGRAM, "a")
    counters = Counters(1, layout.end)
    for number in (0.5, 1, 1.5, 3, 10):
        histogram.observe(counters.row, number)
    histogram.observe(counters.row, 3, times=2)
    assert counters.table.sum(axis=0)[histogram.cells].tolist() == [2, 1, 3, 1]
    assert counters.table.sum(axis=0)[histogram.sum_slot] == 22
