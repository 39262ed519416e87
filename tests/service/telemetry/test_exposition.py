"""Prometheus' own parser reads the same samples from the exposition."""

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from sentiment_conv1d.server.process.counters import Counters
from sentiment_conv1d.service.telemetry.exposition import compose
from sentiment_conv1d.service.telemetry.layout import Layout, Metric


def samples(text: bytes) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return every sample by its name and labels."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_counters() -> None:
    """A series has the value of its slot in every scrape, and a metric can have no labels or no series."""
    layout = Layout()
    layout.numbers(Metric("things_total", "counter", "Things.", ("kind",)), [("a",), ("b",)])
    layout.number(Metric("more", "gauge", "More."))
    none = Metric("none_total", "counter", "None.", ("kind",))
    exposition = compose((*layout.series, none), [layout], np.zeros(3))
    assert "# HELP none_total None.\n# TYPE none_total counter\n" in exposition.template
    for first in (3.0, 2.0**53, 0.25):
        found = samples(exposition.fill_in(np.array([first, 1.0, 0.0])))
        assert found == {("things_total", ("a",)): first, ("things_total", ("b",)): 1, ("more", ()): 0}


def test_any_label() -> None:
    """Any label value is read back unchanged."""
    strange = ('a "quoted" \\ one', "two\nlines", "100 % of %r and %%", "größer, {als}")
    counted, always = (Metric(name, "gauge", "100 % of them.", ("a", "b", "c", "d")) for name in ("things", "more"))
    layout = Layout()
    layout.number(counted, *strange)
    layout.constant(always, *strange)
    exposition = compose(layout.series, [layout], np.zeros(1))
    assert samples(exposition.fill_in(np.array([7.0]))) == {("things", strange): 7, ("more", strange): 1}


def test_several_layouts() -> None:
    """The series of a metric are adjacent, for all layouts."""
    metric = Metric("things_total", "counter", "Things.", ("model", "kind"))
    layouts = [Layout(0, model=""), Layout(2, model="second")]
    for layout in layouts:
        layout.numbers(metric, [("a",), ("b",)])
    totals = np.array([1.0, 2.0, 3.0, 0.0])
    exposition = compose([metric], layouts, totals)
    assert not len(exposition.left_out)
    assert list(samples(exposition.fill_in(totals)).items()) == [
        (("things_total", ("", "a")), 1),
        (("things_total", ("", "b")), 2),
        (("things_total", ("second", "a")), 3),
        (("things_total", ("second", "b")), 0),
    ]


def test_series_that_are_left_out() -> None:
    """A rare series appears as soon as it is not zero, and others as soon as the slot after which they come is not."""
    counter, histogram = Metric("things_total", "counter", "Things."), Metric("size", "histogram", "Sizes.", (), (1,))
    layout = Layout()
    layout.number(counter, rare=True)
    after = layout.number(Metric("used", "counter"))
    layout.number(Metric("more", "gauge", "More."), after=after)
    layout.histogram(histogram, after=after)
    totals = np.zeros(layout.end)
    after_it = [("more", ()), ("size_bucket", ("1",)), ("size_bucket", ("+Inf",)), ("size_count", ()), ("size_sum", ())]
    shown = [metric for metric in layout.series if metric.help]
    assert compose(shown, [layout], totals).left_out.tolist() == [0, after]
    assert samples(compose(shown, [layout], totals).fill_in(totals)) == {}
    totals[0] = 3
    assert samples(compose(shown, [layout], totals).fill_in(totals)) == {("things_total", ()): 3}
    totals[after] = 1
    assert not len(compose(shown, [layout], totals).left_out)
    assert samples(compose(shown, [layout], totals).fill_in(totals)) == {("things_total", ()): 3} | dict.fromkeys(
        after_it, 0
    )


def test_histograms() -> None:
    """Buckets are cumulative, use the requested unit, and are independent of each other."""
    bounds = (1000, 2000)
    layout = Layout()
    layout.number(Metric("more", "gauge", "More."))
    first = layout.histogram(Metric("seconds", "histogram", "Seconds.", ("stage",), bounds, 1e-3), "first")
    second = layout.histogram(Metric("bytes", "histogram", "Bytes.", ("stage",), bounds), "second")
    counters = Counters(1, layout.end)
    for number in (500, 1000, 1500, 9000):
        first.observe(counters.row, number)
    second.observe(counters.row, 1)
    totals = counters.table.sum(axis=0)
    assert samples(compose(layout.series, [layout], totals).fill_in(totals)) == {
        ("more", ()): 0,
        ("seconds_bucket", ("first", "1")): 2,
        ("seconds_bucket", ("first", "2")): 3,
        ("seconds_bucket", ("first", "+Inf")): 4,
        ("seconds_count", ("first",)): 4,
        ("seconds_sum", ("first",)): 12,
        ("bytes_bucket", ("second", "1000")): 1,
        ("bytes_bucket", ("second", "2000")): 1,
        ("bytes_bucket", ("second", "+Inf")): 1,
        ("bytes_count", ("second",)): 1,
        ("bytes_sum", ("second",)): 1,
    }
