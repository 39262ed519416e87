"""Admission control: limits the work that waits, so that every request is answered soon or rejected at once."""

from __future__ import annotations

from sentiment_conv1d.server.errors import Overloaded
from sentiment_conv1d.service.telemetry.metrics import Metrics

#: Characters that count as one more text. An ordinary review has fewer and takes 0.1 or 0.2 ms, and a text of a million
#: characters takes more than 100 ms.
_CHARACTERS = 4096


def weigh(texts: int, characters: int) -> int:
    """Return how many texts a request counts as: its texts, and one more for every `_CHARACTERS` characters."""
    return texts + characters // _CHARACTERS


class Admission:
    """Counts the requests of one worker that wait or run, and their texts. Belongs to one event loop.

    Long texts count as several, see `weigh`. Texts of small and large requests are counted separately. A few large
    requests, which run in steps or wait for the thread, therefore do not cause small ones to be rejected. A request
    with more texts than the limit runs if no other one of its size waits.
    """

    def __init__(self, max_requests: int, max_texts: int, metrics: Metrics) -> None:
        self._max_requests = max_requests
        self._max_texts = max_texts
        self._metrics = metrics
        self._requests = 0
        self._texts = {False: 0, True: 0}

    def has_room(self, texts: int, *, large: bool) -> bool:
        """Return whether a request that counts as `texts` texts exceeds no limit."""
        waiting = self._texts[large]
        return self._requests < self._max_requests and not (waiting and waiting + texts > self._max_texts)

    def check(self, texts: int, *, large: bool) -> None:
        """Raise `Overloaded` if a request that counts as `texts` texts exceeds a limit."""
        if not self.has_room(texts, large=large):
            if self._requests >= self._max_requests:
                raise Overloaded(f"{self._requests} requests are waiting, which is the limit")
            raise Overloaded(
                f"{self._texts[large]} texts are waiting and {texts} more would exceed the limit of {self._max_texts}"
            )

    def enter(self, texts: int, *, large: bool) -> None:
        """Count a request until `leave`. Raises `Overloaded` if it exceeds a limit."""
        self.check(texts, large=large)
        self._change(1, texts, large)

    def leave(self, texts: int, *, large: bool) -> None:
        """Stop counting a request."""
        self._change(-1, -texts, large)

    def _change(self, requests: int, texts: int, large: bool) -> None:
        self._requests += requests
        self._texts[large] += texts
        self._metrics.waiting(self._requests, self._texts[False] + self._texts[True])
