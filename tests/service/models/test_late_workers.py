"""A worker that is forked later serves the same versions as the others."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.telemetry.statistics import Key

NAMES = st.sampled_from(["tickets", "calls"])
VERSIONS = st.integers(1, 3)
DIGESTS = st.sampled_from("abc")
LABELS = st.dictionaries(st.sampled_from(["default", "next"]), VERSIONS)


class Version:
    """A version that is served, of which only the description matters here."""

    def __init__(self, name: str, version: int, digest: str = "") -> None:
        self.manifest = SimpleNamespace(name=name, version=version, manifest_sha256=digest)


def put(models: LoadedModels, name: str, version: int, digest: str = "") -> None:
    """Serve a version."""
    classifier: Any = Version(name, version, digest)
    models.put(classifier)


def at_start() -> LoadedModels:
    """Return the models that the first workers inherit."""
    models = LoadedModels()
    put(models, "tickets", 1, "a")
    put(models, "calls", 1, "a")
    models.follow(Order("refuse", "tickets", 2, reason="at the start"))
    return models


def state(models: LoadedModels) -> tuple[object, ...]:
    """Return what is served, rejected, unloaded and labelled."""
    states = [(*each, models.digest(each.name, each.version)) for each in models.states()]
    return (states, models.unloaded, {name: models.labels(name) for name in ("tickets", "calls")})


def served(models: LoadedModels) -> dict[Key, str]:
    """Return the versions that are served, with their digests."""
    keys = models.keys()
    return {key: models.digest(*key) for key in keys}


class Course(RuleBasedStateMachine):
    """Arbitrary sequences of orders."""

    def __init__(self) -> None:
        super().__init__()
        self.inherited = at_start()
        self.old = at_start()
        self.open: set[int] = set()
        self.ever_unloaded: set[str] = set()

    def give(self, order: Order) -> None:
        if self.inherited.objection(order):
            return
        if order.action == "load":
            order = order._replace(action="serve")
            descriptor = os.open(os.devnull, os.O_RDONLY)
            self.open.add(descriptor)
            self.inherited.follow(order, descriptor)
            put(self.old, order.name, order.version, order.digest)
        else:
            self.inherited.follow(order)
        self.old.follow(order)

    @rule(name=NAMES, version=VERSIONS, digest=DIGESTS)
    def load(self, name: str, version: int, digest: str) -> None:
        order = Order("load", name, version, digest=digest)
        was = served(self.old)
        assert self.inherited.digest(*order.key) == was.get(order.key, "")
        self.give(order)
        assert served(self.old) == was or name not in self.old.unloaded

    @rule(name=NAMES, version=VERSIONS, reason=DIGESTS)
    def refuse(self, name: str, version: int, reason: str) -> None:
        self.give(Order("refuse", name, version, reason=reason))

    @rule(name=NAMES, version=VERSIONS)
    def forget(self, name: str, version: int) -> None:
        self.give(Order("forget", name, version))

    @rule(name=NAMES, version=VERSIONS, last=st.booleans())
    def drop(self, name: str, version: int, last: bool) -> None:
        had = self.old.served(name)
        self.give(Order("drop", name, version, last=last))
        if had and not last:
            assert self.old.served(name), "a drop left nothing of the model"

    @rule(name=NAMES)
    def unload(self, name: str) -> None:
        self.ever_unloaded.add(name)
        self.give(Order("unload", name))

    @rule(name=NAMES)
    def release(self, name: str) -> None:
        self.give(Order("release", name))

    @rule(name=NAMES, labels=LABELS)
    def label(self, name: str, labels: dict[str, int]) -> None:
        self.give(Order("label", name, version_labels=labels))

    @invariant()
    def the_default_version_stays(self) -> None:
        for name in {"tickets", "calls"} - self.ever_unloaded:
            assert self.old.default_version(name) in {None, *self.old.served(name)}

    @invariant()
    def a_new_worker_knows_the_same(self) -> None:
        new = copy.deepcopy(self.inherited)
        for key, _, descriptor in new.unopened():
            supervisors = os.dup(descriptor)
            put(new, *key, new.digest(*key))
            assert not _is_open(descriptor), "a worker keeps the files of a version that it has opened"
            os.dup2(supervisors, descriptor, inheritable=False)
            os.close(supervisors)
        assert state(new) == state(self.old)

    @invariant()
    def no_classifier_is_kept_in_vain(self) -> None:
        opened = {(each.manifest.name, each.manifest.version) for each in self.inherited}
        assert opened == self.inherited.keys() - {each.key for each in self.inherited.unopened()}

    @invariant()
    def no_descriptor_is_kept_in_vain(self) -> None:
        needed = {each.descriptor for each in self.inherited.unopened()}
        assert needed == {each for each in self.open if _is_open(each)}

    def teardown(self) -> None:
        for name in ("tickets", "calls"):
            self.inherited.follow(Order("unload", name))
        assert not any(map(_is_open, self.open))


def _is_open(descriptor: int) -> bool:
    return Path(f"/proc/self/fd/{descriptor}").exists()


TestCourse = Course.TestCase
TestCourse.settings = settings(deadline=None, max_examples=100, stateful_step_count=30)


def test_size_of_the_log() -> None:
    """The log contains the current state, not the whole history, however long the service runs."""
    models = at_start()
    for version in range(2, 100):
        order = Order("serve", "tickets", version, digest="b")
        models.follow(order, os.open(os.devnull, os.O_RDONLY))
        models.follow(Order("refuse", "tickets", version, reason="bad"))
        models.follow(Order("forget", "tickets", version))
        models.follow(Order("drop", "tickets", version - 1))
    [unopened] = models.unopened()
    assert unopened.key == order.key
    assert [(each.name, each.version) for each in models.states()] == [("calls", 1), order.key]
    os.close(unopened.descriptor)


def test_labels_and_drops_in_sequence() -> None:
    """A drop is judged by the labels before it, and a change of the labels by the drops before it."""
    models = at_start()
    drop = Order("drop", "tickets", 1, last=True)
    label = Order("label", "tickets", version_labels={"default": 1})
    assert models.objection(label) == ""
    models.follow(label)
    assert models.objection(drop) == "version 1 of model 'tickets' has the label 'default'"
    models.follow(Order("label", "tickets", version_labels={"next": 1}))
    assert models.objection(drop) == ""
    models.follow(drop)
    assert models.objection(label) == "version 1 of model 'tickets' is not loaded"
