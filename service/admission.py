"""Who may wait: a bound on what is held at once, so that an answer comes soon or a refusal comes now."""

from __future__ import annotations

from service.errors import Overloaded
from service.metrics import Metrics


class Queue:
    """The requests that wait or run in one place, and their texts. Belongs to one event loop."""

    def __init__(self, max_requests: int, max_texts: int, metrics: Metrics) -> None:
        self._max_requests = max_requests
        self._max_texts = max_texts
        self._metrics = metrics
        self._requests = 0
        self._texts = 0

    def check(self, texts: int) -> None:
        """Raise `Overloaded` if there is no place for so many texts."""
        if self._requests >= self._max_requests:
            raise Overloaded(f"{self._requests} requests are waiting, which is the limit")
        if self._texts + texts > self._max_texts:
            raise Overloaded(
                f"{self._texts} texts are waiting and {texts} more would pass the limit of {self._max_texts}"
            )

    def enter(self, texts: int) -> None:
        """Take a place, to be given back with `leave`. Raises `Overloaded` if there is none."""
        self.check(texts)
        self._change(1, texts)

    def leave(self, texts: int) -> None:
        """Give the place back."""
        self._change(-1, -texts)

    def _change(self, requests: int, texts: int) -> None:
        self._requests += requests
        self._texts += texts
        self._metrics.waiting(requests, texts)
