"""The results of several generators are merged."""

from __future__ import annotations

import numpy as np

from loadtest.generation.load import Found, merge


def found(first: float, forms: list[str], outcomes: list[str], **values: float) -> Found:
    """Return the results of two requests: the first form and outcome, and the last ones."""
    return Found(
        seconds=values["seconds"],
        due=np.array([first, first + 1]),
        latency=np.array([first + 0.1, first + 0.2]),
        texts=np.array([int(first), int(first) + 1]),
        form=np.array([0, len(forms) - 1]),
        outcome=np.array([0, len(outcomes) - 1]),
        lag=np.array([first + 0.3, first + 0.4]),
        forms=forms,
        outcomes=outcomes,
        cpu=[values["cpu"]],
        connections=int(values["connections"]),
        interrupted=bool(values["interrupted"]),
    )


def test_merge() -> None:
    """Each request keeps its form and outcome, although each generator has numbered them by itself."""
    one = found(1, ["text", "batch"], ["200"], seconds=4, cpu=0.5, connections=3, interrupted=False)
    two = found(5, ["batch", "stream"], ["503", "200"], seconds=3.5, cpu=0.25, connections=4, interrupted=True)
    both = merge([one, two])
    assert [both.forms[number] for number in both.form] == ["text", "batch", "batch", "stream"]
    assert [both.outcomes[number] for number in both.outcome] == ["200", "200", "503", "200"]
    assert both.due.tolist() == [1, 2, 5, 6] and both.texts.tolist() == [1, 2, 5, 6]
    assert both.latency.tolist() == [1.1, 1.2, 5.1, 5.2] and both.lag.tolist() == [1.3, 1.4, 5.3, 5.4]
    assert (both.seconds, both.cpu, both.connections, both.interrupted) == (3.5, [0.5, 0.25], 7, True)
    assert not merge([one, one]).interrupted
