"""What a text costs on machines that are paid by the hour."""

from __future__ import annotations

from typing import NamedTuple


class Price(NamedTuple):
    """The price per hour of everything that the service runs on. The currency can be empty."""

    per_hour: float
    currency: str = ""

    def per_million_texts(self, texts_per_second: float) -> float | None:
        """Return the price of a million texts, or None without a text."""
        return self.per_hour / 3600 / texts_per_second * 1e6 if texts_per_second else None
