"""The repository index: every version on disk or in memory, and its state."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.repository import Scan
from sentiment_conv1d.service.telemetry.metrics import ModelState
from sentiment_conv1d.service.version_policy import VersionPolicy


@dataclass(frozen=True, slots=True)
class Entry:
    """A version in the repository, or one that is still served after it was removed."""

    name: str
    version: str
    state: str  # READY, LOADING, UNLOADING or UNAVAILABLE
    reason: str


def index(
    scan: Scan, models: LoadedModels, policy: VersionPolicy, in_use: Collection[tuple[str, int]] = ()
) -> list[Entry]:
    """Return every version that a scan found, and every other version that is served, was refused or is `in_use`."""
    versions = {(name, version) for name, present in scan.items() for version in present}
    known = {(each.name, each.version): each for each in models.states()}
    entries = []
    for name, version in sorted(versions | known.keys() | set(in_use)):
        present = scan.get(name, {})
        loaded = known.get((name, version)) or ModelState(name, version, served=False)
        if loaded.served:
            state, reason = "READY", _remark(loaded, present)
        elif (name, version) == models.loading:
            state, reason = "LOADING", ""
        elif (name, version) in in_use:
            state, reason = "UNLOADING", "requests for it still run"
        else:
            state, reason = "UNAVAILABLE", loaded.reason or _why_not(models, policy, name, version, present)
        entries.append(Entry(name, str(version), state, reason))
    return entries


def _remark(loaded: ModelState, present: Mapping[int, str]) -> str:
    if loaded.fault:
        return f"the files in its folder were refused: {loaded.reason}"
    return "" if loaded.version in present else "its folder was removed"


def _why_not(models: LoadedModels, policy: VersionPolicy, name: str, version: int, present: Mapping[int, str]) -> str:
    if name in models.unloaded:
        return "unloaded"
    refused = models.refused(name)
    usable = (each for each, fingerprint in present.items() if refused.get(each) != fingerprint)
    if version not in policy.choose(name, usable):
        return f"not among the versions to serve: {policy.rule(name)}"
    return "not loaded yet"
