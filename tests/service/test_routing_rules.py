"""Routing rules are parsed, and invalid rules are rejected."""

import pytest

from sentiment_conv1d.service.routing_rules import RoutingRules, parse_rules, read_rules


def test_rules_by_model() -> None:
    """A setting contains the rules of several models."""
    assert parse_rules("imdb-cnn=stable:3,canary:4  tickets=2:1") == {
        "imdb-cnn": {"stable": 3, "canary": 4},
        "tickets": {"2": 1},
    }
    assert parse_rules("") == {}


@pytest.mark.parametrize(
    "text",
    [
        *("stable:3", "=stable:3", "../x=stable:3", "a=", "a=stable", "a=stable:", "a=:3", "a=stable:x", "a=stable:-1"),
        *("a=stable:3,", "a=stable:3,stable:4", "a=stable:3 a=canary:4", "a=stable:" + "9" * 19),
    ],
)
def test_invalid_rules(text: str) -> None:
    """Invalid rules, two rules for one model, and repeated names are rejected."""
    with pytest.raises(ValueError):
        parse_rules(text)


@pytest.mark.parametrize("label", ["stable", "a", "v4", "4a", "0-1", "_", "-", "x" * 64])
def test_label(label: str) -> None:
    """A label can contain lower-case letters, digits, hyphens and underscores."""
    assert read_rules(labels=f"tickets={label}:4") == {"tickets": RoutingRules(labels={label: 4})}


@pytest.mark.parametrize(
    "labels", ["4:4", "007:4", "Stable:4", "st.able:4", "st/able:4", "ü:4", "x" * 65 + ":4", "a:0"]
)
def test_invalid_labels(labels: str) -> None:
    """A label cannot be a number, which would be a version, and a version cannot be 0. The error names the model."""
    with pytest.raises(ValueError, match="tickets: "):
        read_rules(labels=f"tickets={labels}")


def test_targets() -> None:
    """A split names versions by number or by label."""
    rules = read_rules(labels="tickets=stable:3,canary:4", split="tickets=stable:90,5:10")["tickets"]
    assert rules.targets(["labels", "split"]) == {"stable": 3, "canary": 4, "5": 5}
    assert rules.targets(["split"]) == {"stable": 3, "5": 5}


@pytest.mark.parametrize("split", ["stabel:1", "0:1", "3:0", "3:0,4:0"])
def test_invalid_splits(split: str) -> None:
    """A split with an unknown label, or with weights that are all 0, is rejected."""
    with pytest.raises(ValueError, match="tickets: "):
        read_rules(labels="tickets=stable:3", split=f"tickets={split}")


@pytest.mark.parametrize("shadow", ["stabel:1", "3:0", "3:101", "3:10,4:10"])
def test_invalid_shadow_rules(shadow: str) -> None:
    """A shadow rule with several versions, or with a share outside of 1 to 100 %, is rejected."""
    with pytest.raises(ValueError, match="tickets: "):
        read_rules(labels="tickets=stable:3", shadow=f"tickets={shadow}")
