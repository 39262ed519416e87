"""Computes the next step from the served versions of a model to those that should be served.

These functions have no side effects, so tests can try every course of events.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from sentiment_conv1d.artifact.limits import MAX_MODELS
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.version_policy import VersionPolicy


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of one model, with the fingerprints of their files."""

    name: str
    present: Mapping[int, str]  # in the repository
    served: Mapping[int, str]
    refused: Mapping[int, str]  # until their files change
    deferred: Set[int]  # refused for lack of room, or because they could not be read: they are tried again
    default: int | None = None  # answers the requests that name no version, so it is never dropped
    keep: bool = False  # whether the last version that is served stays
    room: int = MAX_MODELS  # how many more versions the service can serve

    def is_bad(self, version: int) -> bool:
        """Return whether the files of a version that is present were refused."""
        return self.refused.get(version) == self.present[version]

    def is_served(self, version: int) -> bool:
        """Return whether the files of a version that is present are served."""
        return self.served.get(version) == self.present[version]


def next_step(policy: VersionPolicy, versions: Versions) -> Order | None:
    """Return the next step for one model, or None if the right versions are served.

    A step is the order to load a version, to refuse one for lack of room, to drop one, or to forget a refusal: because
    the version was removed, its served files are back, or it would be tried again but is not wanted.

    The policy selects from the versions that are served or were not refused, so a bad version makes way for the next
    one. New versions are loaded before old ones are dropped. Without room, a new version needs one that it replaces.
    """
    name, present, served, deferred = versions.name, versions.present, versions.served, versions.deferred
    chosen = policy.choose(name, (each for each in present if each in served or not versions.is_bad(each)))
    surplus = sorted(served.keys() - {*chosen, versions.default})
    wanted = [each for each in chosen if not (versions.is_served(each) or versions.is_bad(each))]
    for version in wanted:
        if version in served or versions.room + len(surplus) > 0:
            return Order("load", name, version, present[version])
    if versions.keep and len(surplus) == len(served):
        surplus = surplus[:-1]
    if surplus:
        return Order("drop", name, surplus[0], last=len(served) == 1)
    for version in sorted(versions.refused.keys() | deferred):
        unwanted = version in deferred and version not in chosen
        if version not in present or versions.is_served(version) or unwanted:
            return Order("forget", name, version)
    for version in wanted:
        if version not in deferred:
            load = Order("load", name, version, present[version])
            return load.refusal("full", f"{MAX_MODELS} versions are served at once")
    return None


def settle(
    before: Mapping[int, str], now: Mapping[int, str], served: Mapping[int, str], held: Mapping[int, str]
) -> dict[int, str]:
    """Return the versions that count as present after two scans in a row.

    A version that is being written or replaced has a different fingerprint in every scan. Until two scans agree, it
    counts as absent, or as unchanged if it is served. A version that is served counts as removed after two scans
    without it. `held` is what was served before the first scan, because versions that were loaded later can be newer
    than the scans.
    """
    settled = {version: fingerprint for version, fingerprint in now.items() if before.get(version) == fingerprint}
    undecided = (now.keys() | before.keys() | (served.keys() - held.keys())) - settled.keys()
    return settled | {version: served[version] for version in undecided if version in served}
