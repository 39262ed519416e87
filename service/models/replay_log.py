"""Orders about models, and their outcome: the versions that every worker serves.

The supervisor owns the replay log. It forwards orders one after the other, so all workers receive the same orders in
the same sequence. A worker that is forked later replays the log.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from sentiment_conv1d.service.routing_rules import Rule

Action = Literal["load", "prepare", "serve", "refuse", "forget", "drop", "unload", "release", "route"]


class Order(NamedTuple):
    """An instruction to all workers.

    A `load` has several parts. All workers are informed of it, then each in turn has to `prepare`, which opens the
    version without serving it, and finally all workers `serve` it or all `refuse` it.
    """

    action: Action
    name: str
    version: int = 0
    fingerprint: str = ""  # of the files
    digest: str = ""  # of the manifest, which contains those of the other files
    fault: str = ""  # the reason of a refusal in one word
    reason: str = ""
    last: bool = False  # whether a drop may remove the only version of the model
    rules: Mapping[str, Rule] | None = None  # the routing rules that a `route` replaces, by field of `RoutingRules`


class Fact(NamedTuple):
    """An order for a worker that has not received the earlier ones, with the files of the version to serve."""

    order: Order
    descriptor: int | None = None


class ReplayLog:
    """What is served, rejected, unloaded and routed, starting from what every worker inherits at its fork.

    It owns the descriptors that it receives.
    """

    def __init__(self, served: Iterable[tuple[str, int, str]] = (), refused: Iterable[tuple[str, int]] = ()) -> None:
        """Start from the versions that workers inherit: names, versions and, for `served`, digests of the manifests."""
        self._served: dict[tuple[str, int], Fact] = {}
        self._refused: dict[tuple[str, int], Order] = {}
        self._unloaded: set[str] = set()
        self._routes: dict[str, Order] = {}
        for name, version, digest in served:
            self._served[name, version] = Fact(Order("serve", name, version, digest=digest))
        # What workers inherit. The log contains orders that undo parts of it.
        self._inherited_served, self._inherited_refused = frozenset(self._served), frozenset(refused)
        self._past: set[Order] = set()

    def needless(self, order: Order) -> bool:
        """Return whether an order changes nothing, such as the second of two loads at the same time."""
        fact = self._served.get((order.name, order.version))
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
