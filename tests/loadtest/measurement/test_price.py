"""The price of a million texts."""

import pytest

from loadtest.measurement.price import Price
from loadtest.units import price


def test_per_million_texts() -> None:
    """At a thousand texts per second, a million texts take a thousand seconds. Without texts there is no price."""
    assert Price(3.6).per_million_texts(1000.0) == pytest.approx(1.0)
    assert Price(3.6).per_million_texts(0.0) is None


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [(0.00123, "EUR", "0.00123 EUR"), (0.1, "", "0.100"), (12.345, "USD", "12.35 USD"), (1234.5, "¥", "1,234.50 ¥")],
)
def test_format(amount: float, currency: str, shown: str) -> None:
    """An amount has three significant digits, at least two decimals, and the currency if it is known."""
    assert price(amount, currency) == shown
