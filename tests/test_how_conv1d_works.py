"""docs/how-conv1d-works.md: every number comes from the shipped model."""

from __future__ import annotations

import re

import pytest

from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.explaining.explainer import Explanation
from sentiment_conv1d.inference.explaining.inspection import Inspection
from tests.processes import PROJECT

PAGE = (PROJECT / "docs" / "how-conv1d-works.md").read_text()
TEXT = re.findall(r"^> (.*)$", PAGE, re.MULTILINE)[0]


@pytest.fixture(scope="module")
def classifier(artifact: Artifact) -> Classifier:
    return Classifier(artifact)


@pytest.fixture(scope="module")
def way(classifier: Classifier) -> tuple[Explanation, Inspection]:
    """Return the text's explanation and all numbers of its computation."""
    [encoding] = classifier.encode((TEXT,))
    return classifier.explainer.inspect(TEXT, encoding, "positive", feature_map=True)


def signed(number: float) -> str:
    return f"{number:+.4f}".replace("-", "\N{MINUS SIGN}")


def test_numbers(classifier: Classifier, way: tuple[Explanation, Inspection]) -> None:
    """The page's numbers with four decimals are exactly those of the text's computation."""
    explanation, shown = way
    each = shown.filter
    parts = [float((shown.embedding[each.position + tap] * each.kernel[tap]).sum()) for tap in range(each.width)]
    hidden = shown.layers[0]
    weighed = float(hidden.values @ hidden.weights)
    signs = [
        *parts,
        each.bias,
        each.weight,
        each.weight * each.activation,
        weighed,
        explanation.logit - weighed,
        explanation.logit,
        explanation.bias,
        explanation.padding,
        *(word.share for word in explanation.words),
    ]
    plain = [each.curve.max(), each.curve[0], each.activation, classifier.predict((TEXT,))[0].score]
    expected = {signed(number) for number in signs} | {f"{number:.4f}" for number in plain}
    without_formula = PAGE.replace(f"e^{signed(-explanation.logit)}", "")
    assert without_formula != PAGE
    assert set(re.findall(r"[+\N{MINUS SIGN}]?\d+\.\d{4}\b", without_formula)) == expected


def test_shares(way: tuple[Explanation, Inspection]) -> None:
    """The table contains every word with its share."""
    explanation, _ = way
    rows = dict(re.findall(r"^\| \**([^|*]+?)\** \| \**([+\N{MINUS SIGN}]\d\.\d{4})\** \|$", PAGE, re.MULTILINE))
    assert rows == {
        **{word.text: signed(word.share) for word in explanation.words},
        "padding and the start": signed(explanation.padding),
        "constant": signed(explanation.bias),
        "logit": signed(explanation.logit),
    }


def test_sizes(classifier: Classifier, way: tuple[Explanation, Inspection]) -> None:
    """Sizes, ids and counts match the model and the text."""
    explanation, shown = way
    network = classifier.explainer.network
    [bank] = shown.banks
    assert bank.feature_map is not None
    time, size = shown.embedding.shape
    places, filters = bank.feature_map.shape
    rows = dict(re.findall(r"^\| ([\w ]+) \| ([\d \N{MULTIPLICATION SIGN}]+) \|", PAGE, re.MULTILINE))
    assert rows == {
        "words": str(len(explanation.words)),
        "ids": str(time),
        "matrix": f"{time} \N{MULTIPLICATION SIGN} {size}",
        "feature map": f"{places} \N{MULTIPLICATION SIGN} {filters}",
        "highest values": str(len(bank.pooled)),
        "dense": str(shown.layers[0].units),
        "logit": str(shown.layers[1].units),
        "probability": "1",
    }
    for word in explanation.words:
        assert re.search(rf"\*{word.text.lower()}\* (is )?{word.id}\b", PAGE)
    embedding, kernel = network.embedding, network.banks[0].kernel
    assert embedding is not None
    dense, last = network.head
    dense_numbers = sum(each.kernel.size + len(each.bias) for each in network.head)
    for sentence in (
        f"{time - len(explanation.words) - 1} pad ids",
        f"filter {shown.filter.index}, which moved the decision most.",
        f"its highest value at position {shown.filter.position},",
        f"{int((bank.pooled > 0).sum())} are above zero",
        f"{int((shown.layers[0].values > 0).sum())} of them are above zero",
        f"{kernel.size:,} numbers in all and one bias per filter",
        f"{embedding.size:,} in the embedding",
        f"{kernel.size + filters:,} in the filters",
        f"{dense.kernel.size:,} in all",
        f"{dense.kernel.size + dense.bias.size:,} in the dense",
        f"{last.kernel.size + last.bias.size} in the last",
        f"{embedding.size + kernel.size + filters + dense_numbers:,} learned numbers",
        f"{len(embedding) - 3:,} words",
        f"its {len(embedding):,} ids",
        f"{classifier.predict((TEXT,))[0].score:.1%}".replace("%", " %"),
    ):
        assert re.search(re.escape(sentence).replace(r"\ ", r"\s+"), PAGE), sentence
