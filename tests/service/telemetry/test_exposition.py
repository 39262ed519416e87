"""The text format: what Prometheus' own reader makes of it is what was put in."""

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from sentiment_conv1d.service.telemetry.counters import Counters
from sentiment_conv1d.service.telemetry.exposition import Layout
from sentiment_conv1d.service.telemetry.histogram import Histogram


def samples(text: bytes) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every number by its name and the values of its labels."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_counters() -> None:
    """A series has the number of its slot, however often it is asked for; it may be without labels."""
    layout = Layout()
    layout.family("things_total", "counter", "Things.", ("kind",))
    layout.add(("a",), 2)
    layout.add(("b",), 0)
    layout.family("more", "gauge", "More.")
    layout.add((), 1)
    exposition = layout.done()
    for last in (3.0, 2.0**53, 0.25):
        found = samples(exposition.fill_in(np.array([1.0, 0.0, last])))
        assert found == {("things_total", ("a",)): last, ("things_total", ("b",)): 1, ("more", ()): 0}


def test_any_label() -> None:
    """Whatever a label holds arrives as it is."""
    strange = ('a "quoted" \\ one', "two\nlines", "100 % of %r and %%", "größer, {als}")
    layout = Layout()
    layout.family("things", "gauge", "100 % of them.", ("a", "b", "c", "d"))
    layout.add(strange, 0)
    layout.add_one(strange[::-1])
    assert samples(layout.done().fill_in(np.array([7.0]))) == {("things", strange): 7, ("things", strange[::-1]): 1}


def test_histograms() -> None:
    """Buckets hold what is up to their bounds, in the unit that is asked for, and do not disturb each other."""
    counters = Counters(1, 10)
    first, second = (Histogram(counters, start, (1000, 2000)) for start in (1, 6))
    for number in (500, 1000, 1500, 9000):
        first.observe(number)
    second.observe(1)
    layout = Layout()
    layout.family("seconds", "histogram", "Seconds.", ("stage",))
    layout.add_histogram(("first",), first, 1e-3)
    layout.add_histogram(("second",), second)
    found = samples(layout.done().fill_in(counters.totals()))
    assert found == {
        ("seconds_bucket", ("first", "1")): 2,
        ("seconds_bucket", ("first", "2")): 3,
        ("seconds_bucket", ("first", "+Inf")): 4,
        ("seconds_count", ("first",)): 4,
        ("seconds_sum", ("first",)): 12,
        ("seconds_bucket", ("second", "1000")): 1,
        ("seconds_bucket", ("second", "2000")): 1,
        ("seconds_bucket", ("second", "+Inf")): 1,
        ("seconds_count", ("second",)): 1,
        ("seconds_sum", ("second",)): 1,
    }
