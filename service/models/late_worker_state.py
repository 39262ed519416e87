"""The outcome of all orders, for workers that start after them: the versions that every worker serves.

The supervisor owns this state. It forwards orders one after the other, so all workers receive the same orders in
the same sequence.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Key, Order
from sentiment_conv1d.service.routing_rules import MissingVersion


class LoadedVersion(NamedTuple):
    """An order to serve a version, and the files of the version."""

    order: Order
    descriptor: int


class LateWorkerState:
    """What a worker that is forked later needs to serve the same versions as the others.

    The supervisor follows the orders in its own models, which the worker inherits. It opens no version, so the worker
    opens those that were loaded since the start. It owns the descriptors of their files.
    """

    def __init__(self, models: LoadedModels) -> None:
        self._models = models
        self._loaded: dict[Key, LoadedVersion] = {}

    def served(self) -> set[Key]:
        """Return the versions that are served."""
        return self._models.keys() | self._loaded.keys()

    def needless(self, order: Order) -> bool:
        """Return whether an order changes nothing, such as the second of two loads at the same time."""
        loaded = self._loaded.get(order.key)
        served = self._models.digest(*order.key) if loaded is None else loaded.order.digest
        return order.action == "load" and order.digest == served

    def objection(self, order: Order) -> str:
        """Return why an order must not be carried out, which its sender could not know; empty if it may be."""
        match order.action:
            case "load" if order.name in self._models.unloaded:  # a `release` has to come first
                return f"model {order.name!r} was unloaded"
            case "drop":
                if order.version in self._models.rules(order.name).answering():
                    return f"the split of {order.name} sends requests to version {order.version}"
                others = self.served() - {order.key}
                if not order.last and not any(name == order.name for name, _ in others):
                    return f"nothing else of model {order.name!r} is served"
            case "route":
                return self._objection_to_rules(order)
        return ""

    def missing(self) -> list[MissingVersion]:
        """Return the versions that the routing rules name and that are not served."""
        return self._models.missing(self._loaded)

    def record(self, order: Order, descriptor: int | None = None) -> None:
        """Record an order that all workers carry out. A descriptor refers to the files of the version to serve."""
        self._models.follow(order)
        match order.action:
            case "serve" | "drop":
                self._discard(order.key)
            case "unload":
                for key in [key for key in self._loaded if key[0] == order.name]:
                    self._discard(key)
        if descriptor is not None:
            self._models.follow(Order("drop", *order.key))  # its files were replaced
            self._loaded[order.key] = LoadedVersion(order, descriptor)

    def loaded_versions(self) -> list[LoadedVersion]:
        """Return the versions that a new worker has to open."""
        return list(self._loaded.values())

    def _objection_to_rules(self, order: Order) -> str:
        """Return why the rules of an order do not fit to those that the orders before it have left."""
        changes = order.rules or {}
        rules = self._models.rules(order.name)._replace(**changes)
        try:
            rules.check()
        except ValueError as error:
            return str(error)
        served = self.served()
        for version in rules.targets(changes).values():
            if (order.name, version) not in served:
                return f"version {version} of model {order.name!r} is not loaded"
        return ""

    def _discard(self, key: Key) -> None:
        if key in self._loaded:
            os.close(self._loaded.pop(key).descriptor)
