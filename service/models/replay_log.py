"""The outcome of all orders: the versions that every worker serves.

The supervisor owns the replay log. It forwards orders one after the other, so all workers receive the same orders in
the same sequence. A worker that is forked later replays the log.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from sentiment_conv1d.service.models.order import Key, Order


class Fact(NamedTuple):
    """An order for a worker that has not received the earlier ones, with the files of the version to serve."""

    order: Order
    descriptor: int | None = None


class ReplayLog:
    """What is served, rejected, unloaded and routed, starting from what every worker inherits at its fork.

    It owns the descriptors that it receives.
    """

    def __init__(self, served: Iterable[tuple[str, int, str]] = (), refused: Iterable[Key] = ()) -> None:
        """Start from the versions that workers inherit: names, versions and, for `served`, digests of the manifests."""
        self._served: dict[Key, Fact] = {}
        self._refused: dict[Key, Order] = {}
        self._unloaded: set[str] = set()
        self._routes: dict[str, Order] = {}
        for name, version, digest in served:
            self._served[name, version] = Fact(Order("serve", name, version, digest=digest))
        # What workers inherit. The log contains orders that undo parts of it.
        self._inherited_served, self._inherited_refused = frozenset(self._served), frozenset(refused)
        self._past: set[Order] = set()

    def needless(self, order: Order) -> bool:
        """Return whether an order changes nothing, such as the second of two loads at the same time."""
        fact = self._served.get(order.key)
        return order.action == "load" and fact is not None and fact.order.digest == order.digest

    def objection(self, order: Order) -> str:
        """Return why an order must not be carried out, which its sender could not know; empty if it may be."""
        if order.action == "load" and order.name in self._unloaded:  # a `release` has to come first
            return f"model {order.name!r} was unloaded"
        if order.action == "drop" and not order.last:
            others = {version for name, version in self._served if name == order.name} - {order.version}
            if not others:
                return f"nothing else of model {order.name!r} is served"
        return ""

    def record(self, order: Order, descriptor: int | None = None) -> None:
        """Record an order that all workers carry out."""
        match order.action:
            case "serve":
                self._drop(order.key)
                self._forget(order.key)
                self._served[order.key] = Fact(order, descriptor)
            case "refuse":
                self._refused[order.key] = order
            case "forget":
                self._forget(order.key)
            case "drop":
                self._drop(order.key)
            case "unload":
                self._unloaded.add(order.name)
                for each in [each for each in self._served if each[0] == order.name]:
                    self._drop(each)
            case "release":
                self._unloaded.discard(order.name)
            case "route":
                past = self._routes.get(order.name)
                changes = {**((past and past.rules) or {}), **(order.rules or {})}
                self._routes[order.name] = order._replace(rules=changes)

    def facts(self) -> list[Fact]:
        """Return the orders that bring a worker from the state at the first fork to the current one."""
        return [
            *(Fact(order) for order in sorted(self._past)),
            *(Fact(Order("unload", name)) for name in sorted(self._unloaded)),
            *(fact for fact in self._served.values() if fact.descriptor is not None),
            *(Fact(order) for order in self._refused.values()),
            *(Fact(order) for order in self._routes.values()),
        ]

    def _drop(self, key: Key) -> None:
        fact = self._served.pop(key, None)
        if fact is not None and fact.descriptor is not None:
            os.close(fact.descriptor)
        if key in self._inherited_served:
            self._past.add(Order("drop", *key))

    def _forget(self, key: Key) -> None:
        self._refused.pop(key, None)
        if key in self._inherited_refused:
            self._past.add(Order("forget", *key))
