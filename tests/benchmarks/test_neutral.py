"""The measures of a model with the label `neutral`."""

from collections.abc import Sequence

import numpy as np

from benchmarks.accuracy.domains import Rows
from benchmarks.accuracy.neutral import Answers, Basis, Texts, report

_SAID = {"bad": [0.7, 0.2, 0.1], "so": [0.3, 0.5, 0.2], "good": [0.1, 0.2, 0.7]}


def answer(texts: Sequence[str]) -> Answers:
    """Answer by the last word; a text that begins with "surely" is confident."""
    found = [_SAID[text.split()[-1]] for text in texts]
    return Answers(np.array(found), np.array([text.startswith("surely") for text in texts]))


def two_labels(texts: Sequence[str]) -> Answers:
    return Answers(np.array([[0.4, 0, 0.6] for _ in texts]))


def texts(*rows: tuple[str, str, str]) -> Texts:
    lines, labels, domains = zip(*rows, strict=True)
    return Texts(list(lines), np.array(labels), np.array(domains))


def test_report() -> None:
    """Opinions are compared without `neutral`, and everything that the model says of neutral and hard texts counts."""
    opinions = Rows(
        ["surely bad", "so", "so", "good", "surely good", "bad"],
        [0, 0, 1, 1, 0, 0],
        ["movie-sentences", "movie-sentences", "movie-sentences", "phones", "phones", "imdb"],
    )
    neutral = texts(
        ("so", "neutral", "absa-food"),
        ("good", "neutral", "absa-hotel"),
        ("so", "mixed", "absa-food"),
        ("good", "positive", "absa-food"),
        ("bad", "positive", "absa-food"),
    )
    hard = texts(("surely good", "positive", "f"), ("surely so", "positive", "f"), ("bad", "negative", "g"))
    lines = report({"a": answer, "b": two_labels}, Basis(opinions, {"phones"}, neutral, hard)).splitlines()
    found = {cells[1]: cells[2:-1] for cells in ([cell.strip() for cell in line.split("|")] for line in lines[2:])}
    assert found["positive against negative, mean of the domains"] == ["0.583", "0.417"]
    assert found["opinions right with three labels (5)"] == ["0.400", "0.400"]
    assert found["opinions, share confident"] == ["0.400", ""]
    assert found["opinions, right among them"] == ["0.500", ""]
    assert found["opinions, right among the others"] == ["0.333", ""]
    assert found["trained"] == ["0.500", "0.500"]
    assert found["never trained"] == ["0.667", "0.333"]
    assert found["IMDB"] == ["1.000", "0.000"]
    assert found["opinions answered neutral, mean of the domains"] == ["0.333", "0.000"]
    assert found["domains above 12%"] == ["movie-sentences 0.67", ""]
    assert found["neutral texts answered neutral, absa (2)"] == ["0.500", "0.000"]
    assert found["mixed texts answered neutral, absa (1)"] == ["1.000", "0.000"]
    assert found["opinions right with three labels, absa (2)"] == ["0.500", "1.000"]
    assert found["area under the curve of neutral, absa"] == ["0.750", "0.500"]
    assert found["hard texts right (3)"] == ["0.667", "0.667"]
    assert found["hard texts, share confident"] == ["0.667", ""]
    assert found["hard texts, right among them"] == ["0.500", ""]
    assert found["hard texts, right among the others"] == ["1.000", ""]
