"""Orders about models, and what they have come to: which versions every worker serves.

The supervisor keeps the replay log. It passes orders on one after the other, so all workers have heard the same ones in
the same sequence, and a worker that is forked later follows what the replay log holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Literal, NamedTuple

Action = Literal["load", "prepare", "serve", "refuse", "forget", "drop", "unload", "release"]


class Order(NamedTuple):
    """What all workers have to do.

    A `load` is carried out in parts: all workers hear of it, then one after the other has to `prepare`, that is to open
    the version beside those that it serves, and then all `serve` it, or all are told to `refuse` it.
    """

    action: Action
    name: str
    version: int = 0
    fingerprint: str = ""  # of what lay in the folder
    digest: str = ""  # of the manifest, which has those of the other files
    fault: str = ""  # of what is refused, in one word
    reason: str = ""
    last: bool = False  # a drop that may leave nothing of the model


class Fact(NamedTuple):
    """An order to follow for a worker that has not heard those before it, with the files of what it has to serve."""

    order: Order
    descriptor: int | None = None


class ReplayLog:
    """What is served, refused and unloaded, beginning with what every worker has from its fork on.

    It owns the descriptors that it is given.
    """

    def __init__(self, served: Iterable[tuple[str, int, str]] = (), refused: Iterable[tuple[str, int]] = ()) -> None:
        """`served` are names, versions and digests of their manifests."""
        self._served: dict[tuple[str, int], Fact] = {}
        self._refused: dict[tuple[str, int], Order] = {}
        self._unloaded: set[str] = set()
        for name, version, digest in served:
            self._served[name, version] = Fact(Order("serve", name, version, digest=digest))
        # What is no more of that which every worker has from its fork on.
        self._inherited_served, self._inherited_refused = frozenset(self._served), frozenset(refused)
        self._past: set[Order] = set()

    def needless(self, order: Order) -> bool:
        """Whether everything is so already: loads that cross each other are one."""
        fact = self._served.get((order.name, order.version))
        return order.action == "load" and fact is not None and fact.order.digest == order.digest

    def objection(self, order: Order) -> str:
        """Why an order must not be followed, which its giver could not know yet; empty if it may be."""
        if order.action == "load" and order.name in self._unloaded:  # whoever wants it back releases it first
            return f"model {order.name!r} was unloaded"
        if order.action == "drop" and not order.last:
            others = {version for name, version in self._served if name == order.name} - {order.version}
            if not others:
                return f"nothing else of model {order.name!r} is served"
        return ""

    def record(self, order: Order, descriptor: int | None = None) -> None:
        """An order that all workers follow now."""
        key = (order.name, order.version)
        match order.action:
            case "serve":
                self._drop(key)
                self._forget(key)
                self._served[key] = Fact(order, descriptor)
            case "refuse":
                self._refused[key] = order
            case "forget":
                self._forget(key)
            case "drop":
                self._drop(key)
            case "unload":
                self._unloaded.add(order.name)
                for each in [each for each in self._served if each[0] == order.name]:
                    self._drop(each)
            case "release":
                self._unloaded.discard(order.name)

    def facts(self) -> list[Fact]:
        """What a worker has to follow that knows only what was there before the first fork."""
        return [
            *(Fact(order) for order in sorted(self._past)),
            *(Fact(Order("unload", name)) for name in sorted(self._unloaded)),
            *(fact for fact in self._served.values() if fact.descriptor is not None),
            *(Fact(order) for order in self._refused.values()),
        ]

    def _drop(self, key: tuple[str, int]) -> None:
        fact = self._served.pop(key, None)
        if fact is not None and fact.descriptor is not None:
            os.close(fact.descriptor)
        if key in self._inherited_served:
            self._past.add(Order("drop", *key))

    def _forget(self, key: tuple[str, int]) -> None:
        self._refused.pop(key, None)
        if key in self._inherited_refused:
            self._past.add(Order("forget", *key))
