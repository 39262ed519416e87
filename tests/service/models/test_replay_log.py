"""The replay log: a worker that replays it serves the same versions as the others."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.replay_log import Fact, ReplayLog
from sentiment_conv1d.service.routing_rules import RoutingRules

NAMES = st.sampled_from(["tickets", "calls"])
VERSIONS = st.integers(1, 3)
DIGESTS = st.sampled_from("abc")

#: The state of every worker when it is forked.
SERVED = {("tickets", 1): "a", ("calls", 1): "a"}
REFUSED = {("tickets", 2)}


class Worker:
    """The state of a worker that follows orders."""

    def __init__(self) -> None:
        self.served = dict(SERVED)
        self.refused = dict.fromkeys(REFUSED, "at the start")
        self.unloaded: set[str] = set()
        self.rules: dict[str, RoutingRules] = {}

    def follow(self, order: Order) -> None:
        key = (order.name, order.version)
        match order.action:
            case "serve":
                self.served[key] = order.digest
                self.refused.pop(key, None)
            case "refuse":
                self.refused[key] = order.reason
            case "forget":
                self.refused.pop(key, None)
            case "drop":
                self.served.pop(key, None)
            case "unload":
                self.unloaded.add(order.name)
                self.served = {other: digest for other, digest in self.served.items() if other[0] != order.name}
            case "release":
                self.unloaded.discard(order.name)
            case "route":
                rules = self.rules.get(order.name, RoutingRules())
                self.rules[order.name] = rules._replace(**(order.rules or {}))

    def state(self) -> tuple[object, ...]:
        return (self.served, self.refused, self.unloaded, self.rules)


class Course(RuleBasedStateMachine):
    """Arbitrary sequences of orders."""

    def __init__(self) -> None:
        super().__init__()
        self.replay_log = ReplayLog([(*key, digest) for key, digest in SERVED.items()], REFUSED)
        self.old = Worker()
        self.open: set[int] = set()

    def give(self, order: Order) -> None:
        if self.replay_log.objection(order):
            return
        if order.action == "load":
            order = order._replace(action="serve")
            descriptor = os.open(os.devnull, os.O_RDONLY)
            self.open.add(descriptor)
            self.replay_log.record(order, descriptor)
        else:
            self.replay_log.record(order)
        self.old.follow(order)

    @rule(name=NAMES, version=VERSIONS, digest=DIGESTS)
    def load(self, name: str, version: int, digest: str) -> None:
        order = Order("load", name, version, digest=digest)
        assert self.replay_log.needless(order) == (self.old.served.get((name, version)) == digest)
        was = dict(self.old.served)
        self.give(order)
        assert (self.old.served == was) or name not in self.old.unloaded

    @rule(name=NAMES, version=VERSIONS, reason=DIGESTS)
    def refuse(self, name: str, version: int, reason: str) -> None:
        self.give(Order("refuse", name, version, reason=reason))

    @rule(name=NAMES, version=VERSIONS)
    def forget(self, name: str, version: int) -> None:
        self.give(Order("forget", name, version))

    @rule(name=NAMES, version=VERSIONS, last=st.booleans())
    def drop(self, name: str, version: int, last: bool) -> None:
        had = {each for each in self.old.served if each[0] == name}
        self.give(Order("drop", name, version, last=last))
        if had and not last:
            assert {each for each in self.old.served if each[0] == name}, "a drop left nothing of the model"

    @rule(name=NAMES)
    def unload(self, name: str) -> None:
        self.give(Order("unload", name))

    @rule(name=NAMES)
    def release(self, name: str) -> None:
        self.give(Order("release", name))

    @rule(name=NAMES, version=VERSIONS, field=st.sampled_from(RoutingRules._fields))
    def route(self, name: str, version: int, field: str) -> None:
        self.give(Order("route", name, rules={field: {"a": version}}))

    @invariant()
    def a_new_worker_knows_the_same(self) -> None:
        new = Worker()
        for order, descriptor in self.replay_log.facts():
            if order.action == "serve":
                assert descriptor is not None
                os.fstat(descriptor)
            new.follow(order)
        assert new.state() == self.old.state()

    @invariant()
    def no_descriptor_is_kept_in_vain(self) -> None:
        needed = {fact.descriptor for fact in self.replay_log.facts() if fact.descriptor is not None}
        assert needed == {each for each in self.open if _is_open(each)}

    def teardown(self) -> None:
        for fact in self.replay_log.facts():
            if fact.descriptor is not None:
                os.close(fact.descriptor)


def _is_open(descriptor: int) -> bool:
    return Path(f"/proc/self/fd/{descriptor}").exists()


TestCourse = Course.TestCase
TestCourse.settings = settings(deadline=None, max_examples=100, stateful_step_count=30)


def test_size_of_the_log() -> None:
    """The log contains the current state, not the whole history, however long the service runs."""
    replay_log = ReplayLog([("tickets", 1, "a")])
    for version in range(2, 100):
        replay_log.record(Order("serve", "tickets", version, digest="b"), os.open(os.devnull, os.O_RDONLY))
        replay_log.record(Order("refuse", "tickets", version, reason="bad"))
        replay_log.record(Order("forget", "tickets", version))
        replay_log.record(Order("drop", "tickets", version - 1))
    facts = replay_log.facts()
    assert [fact.order.action for fact in facts] == ["drop", "serve"]
    assert isinstance(facts[-1], Fact) and facts[-1].descriptor is not None
    os.close(facts[-1].descriptor)
