"""The steps from the current to the wanted versions end in the right state for any events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.steps import Versions, next_step, settle
from sentiment_conv1d.service.version_policy import VersionPolicy

VERSIONS = st.integers(1, 6)
#: Versions of one model with fingerprints of their contents.
CONTENTS = st.dictionaries(VERSIONS, st.sampled_from("abc"))
#: Versions that were refused. One without a fingerprint is tried again.
REFUSED = st.dictionaries(VERSIONS, st.sampled_from(["a", "b", "c", ""]))
RULES = st.sampled_from(["newest:1", "newest:2", "newest:9", "all", "only:2", "only:1,3,5"])


def carry_out(
    rule: str,
    present: dict[int, str],
    served: dict[int, str],
    refused: dict[int, str],
    bad: set[str],
    default: int | None,
    keep: bool,
    most: int,
) -> tuple[dict[int, str], dict[int, str], list[Order]]:
    """Take all steps, with the fingerprints in `bad` refused, and room for `most` versions.

    Returns the served and refused versions.
    """
    served, refused = dict(served), dict(refused)
    steps: list[Order] = []
    policy = VersionPolicy(rule)

    def versions() -> Versions:
        bad = {version: files for version, files in refused.items() if files}
        return Versions("tickets", present, served, bad, refused.keys() - bad, default, keep, most - len(served))

    while step := next_step(policy, versions()):
        steps.append(step)
        assert len(steps) < 50, "it goes round in circles"
        had = bool(served)
        version = step.version
        match step.action:
            case "load" if present[version] in bad:
                refused[version] = present[version]
            case "refuse":
                assert len(served) >= most and version not in served
                refused[version] = ""
            case "load":
                served[version] = present[version]
                refused.pop(version, None)
            case "drop":
                assert version != default
                del served[version]
                assert step.last == (not served)
                wanted = policy.choose("tickets", present)
                assert served or not (keep and had), "the last one goes by itself"
                assert served or not [each for each in wanted if refused.get(each) != present[each]]
            case "forget":
                del refused[version]
    return served, refused, steps


@given(
    RULES,
    CONTENTS,
    CONTENTS,
    REFUSED,
    st.sets(st.sampled_from("abc")),
    st.none() | VERSIONS,
    st.booleans(),
    st.integers(0, 6),
)
def test_any_events(
    rule: str,
    present: dict[int, str],
    served: dict[int, str],
    refused: dict[int, str],
    bad: set[str],
    default: int | None,
    keep: bool,
    room: int,
) -> None:
    """The steps end, nothing bad replaces something good, and the policy's choice of the good versions is served.

    The version with the label `default` stays. Without room, a new version needs one to replace.
    """
    most = len(served) + room
    end, fingerprints, steps = carry_out(rule, present, served, refused, bad, default, keep, most)
    assert len(end) <= most
    able = {version for version in present if version in served or fingerprints.get(version) != present[version]}
    lacking = {version for version, fingerprint in fingerprints.items() if not fingerprint}  # room
    chosen = VersionPolicy(rule).choose("tickets", able)
    assert lacking <= set(chosen), "what is not wanted is forgotten"
    chosen = [version for version in chosen if version not in lacking]
    stay = served.keys() & {default}
    if chosen or stay:
        assert set(end) == stay | set(chosen)
    else:
        assert len(end) == (1 if keep and served else 0)
    for version in chosen:
        assert present[version] in (end[version], fingerprints.get(version)), "old content without a reason"
    assert set(fingerprints) <= set(present)
    again = carry_out(rule, present, end, fingerprints, bad, default, keep, most)
    assert again[2] == [], "there is nothing left to do"
    loads = [step.version for step in steps if step.action == "load"]
    assert len(loads) == len(set(loads)), "nothing is tried twice"
    assert not {step.version for step in steps if step.action == "drop"} & set(loads), "nothing is dropped and loaded"


@given(CONTENTS, CONTENTS, CONTENTS, CONTENTS)
def test_two_scans(before: dict[int, str], now: dict[int, str], served: dict[int, str], held: dict[int, str]) -> None:
    """A version that is being written is not loaded, and a version is dropped only if two scans did not find it."""
    settled = settle(before, now, served, held)
    for version, fingerprint in settled.items():
        assert fingerprint == served.get(version) or fingerprint == before[version] == now[version]
    for version in served.keys() - settled.keys():
        assert version in held and version not in before and version not in now
    for version, fingerprint in now.items():
        if before.get(version) == fingerprint:
            assert settled[version] == fingerprint
