"""The loaded models: requests look up the classifier of a version here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.inference.classifier import Classifier
from sentiment_conv1d.service.models.routing import Route, Shadow
from sentiment_conv1d.service.routing_rules import RoutingRules, Rule
from sentiment_conv1d.service.telemetry.metrics import ModelState

Kept = TypeVar("Kept")


class Refusal(NamedTuple):
    """Why the files of a version are not served."""

    fingerprint: str
    fault: str  # the reason in one word
    reason: str


class _Served(NamedTuple):
    classifier: Classifier
    fingerprint: str


class LoadedModels:
    """The versions that are served, and those that were rejected.

    An empty name stands for the default model. An empty version stands for the version with the largest weight if the
    model has a split, otherwise for the newest version that is served. A version is named by its number or by a label.
    """

    def __init__(self, default: str | None = None, rules: Mapping[str, RoutingRules] | None = None) -> None:
        self.default = default
        self.unloaded: set[str] = set()
        self.loading: tuple[str, int] | None = None  # the version that the workers are opening
        self._served: dict[str, dict[int, _Served]] = {}
        self._refusals: dict[str, dict[int, Refusal]] = {}
        self._rules = dict(rules or {})
        self._table: dict[tuple[str, str], Classifier] = {}  # by all names and versions that a request can contain
        self._routes: dict[str, Route] | None = None  # by the names in requests that name no version; None if empty

    def get(self, name: str = "", version: str = "", texts: Sequence[str] | None = None) -> Classifier:
        """Return the classifier of a version. Raises `NotFound`.

        `texts` are those of a request that the classifier is to answer. If the request names no version, the split of
        the model chooses one by its routing key or by the texts.
        """
        classifier = self._table.get((name, version))
        if classifier is None:
            raise self._not_found(name or self.default or "", version)
        if self._routes is not None and texts is not None and not version and name in self._routes:
            return self._routes[name].choose(texts)
        return classifier

    def holds(self, name: str = "", version: str = "") -> bool:
        """Return whether a version is served."""
        return (name, version) in self._table

    def select(self, name: str = "", version: str = "") -> list[Classifier]:
        """Return one version, all versions of a model, or all versions of all models. Raises `NotFound`."""
        if not name:
            return list(self)
        chosen = self.get(name, version)
        return [chosen] if version else [each for each in self if each.manifest.name == name]

    def __iter__(self) -> Iterator[Classifier]:
        """Iterate over the classifiers by name, the newest version first."""
        return iter(
            [
                versions[version].classifier
                for _, versions in sorted(self._served.items())
                for version in sorted(versions, reverse=True)
            ]
        )

    def keys(self) -> set[tuple[str, int]]:
        """Return the names and versions that are served."""
        return {(name, version) for name, versions in self._served.items() for version in versions}

    def names(self) -> set[str]:
        """Return the names of models with a version that is served or was rejected."""
        return self._served.keys() | self._refusals.keys()

    def versions(self, name: str) -> list[int]:
        """Return the versions of a model that are served, oldest first."""
        return sorted(self._served.get(name, ()))

    def served(self, name: str) -> dict[int, str]:
        """Return the versions of a model that are served, with the fingerprints of their files."""
        return {version: each.fingerprint for version, each in self._served.get(name, {}).items()}

    def refused(self, name: str) -> dict[int, str]:
        """Return the versions of a model that were rejected, with the fingerprints of their files."""
        return {version: each.fingerprint for version, each in self._refusals.get(name, {}).items()}

    def refusal(self, name: str, version: int) -> Refusal | None:
        """Return why a version was rejected, or None."""
        return self._refusals.get(name, {}).get(version)

    def digest(self, name: str, version: int) -> str:
        """Return the digest of the manifest of a version, or an empty string if it is not served."""
        served = self._served.get(name, {}).get(version)
        return "" if served is None else served.classifier.manifest.manifest_sha256

    def rules(self, name: str) -> RoutingRules:
        """Return the routing rules of a model."""
        return self._rules.get(name, RoutingRules())

    def missing(self) -> set[str]:
        """Describe the versions and labels that the rules name and that are not served."""
        return {
            f"the routing of {name} names {target}, which is not served"
            for name, rules in self._rules.items()
            for target, version in rules.targets().items()
            if version not in self._served.get(name, {})
        }

    def labels(self, name: str, version: int) -> list[str]:
        """Return the labels of a version."""
        return sorted(label for label, each in self.rules(name).labels.items() if each == version)

    def states(self, *names: str) -> list[ModelState]:
        """Return the state of every version that is served or was rejected, of some models or of all."""
        return [
            ModelState(name, version, version in self._served.get(name, {}), *self._fault(name, version))
            for name in sorted(names or self.names())
            for version in sorted(self._served.get(name, {}).keys() | self._refusals.get(name, {}).keys())
        ]

    def put(self, classifier: Classifier, fingerprint: str = "") -> None:
        """Serve a classifier. Requests in progress keep the one they have."""
        manifest = classifier.manifest
        self._served.setdefault(manifest.name, {})[manifest.version] = _Served(classifier, fingerprint)
        self.loading = None
        self.forget(manifest.name, manifest.version)
        self._index_names()

    def update_fingerprint(self, name: str, version: int, fingerprint: str) -> None:
        """Record that the files with this fingerprint are those of the version that is served."""
        self._served[name][version] = self._served[name][version]._replace(fingerprint=fingerprint)

    def drop(self, name: str, version: int) -> None:
        """Stop serving a version."""
        _remove(self._served, name, version)
        self._index_names()

    def refuse(self, name: str, version: int, refusal: Refusal) -> None:
        """Record that a version was rejected, and why."""
        self._refusals.setdefault(name, {})[version] = refusal
        self.loading = None

    def forget(self, name: str, version: int) -> None:
        """Forget that a version was rejected."""
        _remove(self._refusals, name, version)

    def route(self, name: str, changes: Mapping[str, Rule]) -> None:
        """Replace some routing rules of a model. Requests in progress keep the version they have."""
        self._rules[name] = self.rules(name)._replace(**changes)
        self._index_names()

    def unload(self, name: str) -> None:
        """Stop serving a model until it is released and put again."""
        self.unloaded.add(name)
        self._served.pop(name, None)
        self._index_names()

    def _fault(self, name: str, version: int) -> tuple[str, str]:
        """Return why a version was rejected, in one word and in a sentence, which are empty if it was not."""
        refusal = self.refusal(name, version)
        return ("", "") if refusal is None else (refusal.fault, refusal.reason)

    def _index_names(self) -> None:
        table: dict[tuple[str, str], Classifier] = {}
        routes: dict[str, Route] = {}
        for name, versions in self._served.items():
            weights, shadow = self._weights(name), self._shadow(name)
            for key in (name, "") if name == self.default else (name,):
                table[key, ""] = max(weights, key=weights.__getitem__)
                if len(weights) > 1 or shadow is not None:
                    routes[key] = Route(name, weights, shadow)
                table |= {(key, str(version)): each.classifier for version, each in versions.items()}
                table |= {
                    (key, label): versions[version].classifier
                    for label, version in self.rules(name).labels.items()
                    if version in versions
                }
        self._table = table
        self._routes = routes or None

    def _weights(self, name: str) -> dict[Classifier, int]:
        """Return the weights of a model's versions, if they are served; without a split, the newest version."""
        versions, rules = self._served[name], self.rules(name)
        weights: dict[Classifier, int] = {}
        for target, weight in rules.split.items():
            if weight and (served := versions.get(rules.version_of(target))) is not None:
                weights[served.classifier] = weights.get(served.classifier, 0) + weight
        return weights or {versions[max(versions)].classifier: 1}

    def _shadow(self, name: str) -> Shadow | None:
        """Return the shadow version of a model, if it is served."""
        rules = self.rules(name)
        for target, percent in rules.shadow.items():
            if (served := self._served[name].get(rules.version_of(target))) is not None:
                return Shadow(served.classifier, percent / 100)
        return None

    def _not_found(self, name: str, version: str) -> NotFound:
        versions = self._served.get(name)
        if name in self.unloaded:
            load = f"POST /v2/repository/models/{name}/load or gRPC's RepositoryModelLoad serves it again"
            return NotFound(f"model {name!r} was unloaded; {load}")
        if versions is None:
            return NotFound(f"there is no model {name!r}; loaded: {', '.join(sorted(self._served)) or 'none'}")
        loaded = ", ".join(self._with_labels(name, each) for each in sorted(versions))
        labelled = self.rules(name).labels.get(version)
        named = f"version {version!r}" if labelled is None else f"version {labelled}, labelled {version!r},"
        return NotFound(f"{named} of model {name!r} is not loaded; loaded: {loaded}")

    def _with_labels(self, name: str, version: int) -> str:
        labels = ", ".join(self.labels(name, version))
        return f"{version} ({labels})" if labels else str(version)


def _remove(table: dict[str, dict[int, Kept]], name: str, version: int) -> None:
    versions = table.get(name, {})
    versions.pop(version, None)
    if not versions:
        table.pop(name, None)
