"""Version policies choose the versions to serve, and invalid policies are refused."""

import pytest

from sentiment_conv1d.service.version_policy import VersionPolicy


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", [9]),
        ("newest:1", [9]),
        ("newest:2", [9, 3]),
        ("newest:9", [9, 3, 1]),
        ("all", [9, 3, 1]),
        ("only:3", [3]),
        ("only:1,9,4", [9, 1]),
        ("only:4", []),
        ("all other=only:1", [9, 3, 1]),
        ("only:1 tickets=newest:2", [9, 3]),
        ("  tickets=all   only:1 ", [9, 3, 1]),
    ],
)
def test_choice(text: str, chosen: list[int]) -> None:
    """The rule of a model, or otherwise the rule for all models, chooses versions, the newest first."""
    assert VersionPolicy(text).choose("tickets", [3, 9, 1]) == chosen


@pytest.mark.parametrize(
    "text",
    [
        *("newest", "newest:0", "newest:-1", "newest:x", "newest:99999", "1", "ALL", "only:", "only:0", "only:1,"),
        *("only:1 2", "only:" + "9" * 19, "=all", "A=all", "../x=all", "a=b=all", "all newest:1", "x=all x=all"),
    ],
)
def test_invalid_policies(text: str) -> None:
    """An invalid policy, or one with two rules for the same model, is refused."""
    with pytest.raises(ValueError):
        VersionPolicy(text)
