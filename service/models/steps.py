"""Computes the next step from the served versions of a model to those that should be served.

These functions have no side effects, so tests can try every course of events.
"""

from __future__ import annotations

from collections.abc import Mapping

from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.telemetry.metrics import MAX_MODELS
from sentiment_conv1d.service.version_policy import VersionPolicy


def next_step(
    policy: VersionPolicy,
    name: str,
    present: Mapping[int, str],
    served: Mapping[int, str],
    refused: Mapping[int, str],
    default: int | None = None,
    *,
    keep: bool,
    room: int = MAX_MODELS,
) -> Order | None:
    """Return the next step for one model, or None if the right versions are served.

    A step is the order to load a version, to refuse one for lack of room, to drop one, or to forget a refusal: because
    the version was removed, its served files are back, or it would be tried again but is not wanted.

    `present`, `served` and `refused` are versions with the fingerprints of their files: what is in the repository, what
    is served, and what was refused. The policy selects from the versions that are served or were not refused, so a
    bad version makes way for the next one. New versions are loaded before old ones are dropped. The version `default`,
    which answers the requests that name none, is never dropped, and with `keep` the last version is not either. `room`
    is the number of versions that the service can serve besides. Without room, a new version needs one that it
    replaces. A refused version without a fingerprint is tried again.
    """
    usable = (version for version in present if version in served or refused.get(version) != present[version])
    chosen = policy.choose(name, usable)
    surplus = sorted(served.keys() - {*chosen, default})
    wanted = [each for each in chosen if present[each] not in (served.get(each), refused.get(each))]
    for version in wanted:
        if version in served or room + len(surplus) > 0:
            return Order("load", name, version, present[version])
    if keep and len(surplus) == len(served):
        surplus = surplus[:-1]
    if surplus:
        return Order("drop", name, surplus[0], last=len(served) == 1)
    for version in sorted(refused):
        unwanted = not refused[version] and version not in chosen
        if version not in present or served.get(version) == present[version] or unwanted:
            return Order("forget", name, version)
    for version in wanted:
        if refused.get(version) != "":
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
