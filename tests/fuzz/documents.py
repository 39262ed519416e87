"""Generates JSON that is nearly valid."""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

#: Numbers at and beyond the limits of types.
NUMBER = st.one_of(
    st.integers(-2, 9),
    st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**30, 10**400]),
    st.floats(allow_nan=False, allow_infinity=False),
)

#: Any JSON, possibly with escaped lone surrogates.
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | st.text(max_size=8) | st.just("\ud800") | st.just("a b " * 500),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the paths to all parts of a document."""
    keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


@st.composite
def spoilt(draw: st.DrawFn, document: Any) -> Any:
    """Replace, add, duplicate or remove a few parts of a document."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        found = sorted(places(changed), key=repr)
        if not found:
            return draw(JSON)
        *parents, key = draw(st.sampled_from(found))
        parent: Any = functools.reduce(operator.getitem, parents, changed)
        match draw(st.sampled_from(["replace", "replace", "swap", "add", "twice", "take away"])):
            case "replace":
                parent[key] = draw(JSON)
            case "swap":
                other = draw(st.sampled_from(found))
                parent[key] = copy.deepcopy(functools.reduce(operator.getitem, other, changed))
            case "add" if isinstance(parent, dict):
                parent[draw(st.text(max_size=4))] = draw(JSON)
            case "twice" if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[key]))
            case "take away":
                del parent[key]
    return changed
