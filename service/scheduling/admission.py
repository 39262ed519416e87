"""Admission control: limits the work that waits, so that every request is answered soon or rejected at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from sentiment_conv1d.server.errors import Overloaded
from sentiment_conv1d.server.network.shares import Shares, overloaded
from sentiment_conv1d.service.scheduling.refusals import READ, RefusalBudget, RefusalCost
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

    At a limit, the caller that holds most is refused first: another one is admitted, up to twice the limit, if it then
    holds at most half as much. Work that waits is not given up for it, because it is short.
    """

    def __init__(self, max_requests: int, max_texts: int, metrics: Metrics) -> None:
        self._max_requests = max_requests
        self._max_texts = max_texts
        self._metrics = metrics
        self._requests = Shares()
        self._texts = {False: Shares(), True: Shares()}
        self._sizes = Shares()  # bytes of large requests
        self._announced: list[tuple[str, int, int]] = []  # callers, texts and bytes of large requests
        self._refusals = RefusalBudget()

    def pause(self) -> float:
        """Return for how many seconds no request should be read, so that refusals do not displace accepted work.

        It is called once a turn of the event loop.
        """
        self._refusals.measure()
        texts = max(shares.total for shares in self._texts.values())
        if 4 * self._requests.total < 3 * self._max_requests and 4 * texts < 3 * self._max_texts:
            return 0.0  # there is room
        if pause := self._refusals.pause():
            self._metrics.reading_paused(pause)
        return pause

    def weigh_unparsed(self, texts: int, size: int, caller: str) -> int:
        """Return how many texts a large request of `size` bytes counts as before it is parsed, at least `texts`.

        It counts as many for its bytes as the large requests of its caller that wait, because a request that is refused
        after it has been parsed takes several times as long as one that is refused before.
        """
        waiting = self._sizes.of(caller)
        return max(texts, size * self._texts[True].of(caller) // waiting) if waiting else texts

    def expect(self, texts: int, size: int, *, large: bool, caller: str = "", cost: RefusalCost = READ) -> None:
        """Note that a request of `size` bytes begins to be read. Raises the error of `check`."""
        self._refusals.expect(size)
        self.check(texts, size, large=large, caller=caller, cost=cost)

    def check(self, texts: int, size: int = 0, *, large: bool, caller: str = "", cost: RefusalCost = READ) -> None:
        """Raise `Overloaded` if a request of a caller that counts as `texts` texts exceeds a limit.

        `size` is its bytes, and `cost` that of its refusal. Most bytes of a refused request are read, too.
        """
        requests, waiting = self._requests, self._texts[large]
        if not requests.admits(caller, 1, self._max_requests):
            raise self._refused(size, cost, caller, f"{requests.total} requests are waiting, which is the limit")
        if waiting.total and not waiting.admits(caller, texts, self._max_texts):
            limit = f"would exceed the limit of {self._max_texts}"
            raise self._refused(size, cost, caller, f"{waiting.total} texts are waiting and {texts} more {limit}")

    def announce(self, texts: int, size: int, *, caller: str = "", cost: RefusalCost = READ) -> None:
        """Count a large request that enters in the next turn of the event loop. Raises the error of `check`."""
        self.check(texts, size, large=True, caller=caller, cost=cost)
        if not self._announced:
            asyncio.get_running_loop().call_soon(self._forget_announced)
        self._announced.append((caller, texts, size))
        self._texts[True].change(caller, texts)
        self._sizes.change(caller, size)

    def enter(self, texts: int, size: int = 0, *, large: bool, caller: str = "") -> None:
        """Count a request until `leave`, a large one with its bytes. Raises `Overloaded` if it exceeds a limit."""
        self.check(texts, large=large, caller=caller)
        self._change(1, texts, size, large, caller)

    def leave(self, texts: int, size: int = 0, *, large: bool, caller: str = "") -> None:
        """Stop counting a request."""
        self._change(-1, -texts, -size, large, caller)

    def leave_together(self, requests: Iterable[tuple[str, int]]) -> None:
        """Stop counting small requests: the caller and the number of texts of each."""
        for caller, texts in requests:
            self._requests.change(caller, -1)
            self._texts[False].change(caller, -texts)
        self._metrics.waiting(self._requests.total, self._texts[False].total + self._texts[True].total)

    def _refused(self, size: int, cost: RefusalCost, caller: str, reason: str) -> Overloaded:
        self._refusals.refuse(size, cost)
        return overloaded(caller, reason)

    def _forget_announced(self) -> None:
        for caller, texts, size in self._announced:
            self._texts[True].change(caller, -texts)
            self._sizes.change(caller, -size)
        self._announced.clear()

    def _change(self, requests: int, texts: int, size: int, large: bool, caller: str) -> None:
        self._requests.change(caller, requests)
        self._texts[large].change(caller, texts)
        if large:
            self._sizes.change(caller, size)
        self._metrics.waiting(self._requests.total, self._texts[False].total + self._texts[True].total)
