"""Small networks of the Conv1D family, as artifacts that the exporter has folded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.layers import Bank, Dense, Family
from sentiment_conv1d.export.graphs.onnx_file import folded_graph
from tests.service import artifacts

VOCABULARY = 6  # the reserved ids and the words of `artifacts.WORDS`
EMBEDDING = 3

#: The labels of a model whose explanations have a contrast, in an order that no code may rely on.
OPINIONS = ("neutral", "positive", "negative")


def draw(
    seed: int,
    *,
    banks: list[tuple[int, int, str]],
    hidden: list[tuple[int, str]],
    outputs: int,
    bias: bool = True,
) -> Family:
    """Draw random weights. `banks` are widths, filters and activations; `hidden` are units and activations."""
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> npt.NDArray[np.float32]:
        return random.normal(size=shape).astype(np.float32)

    def biases(size: int) -> npt.NDArray[np.float32]:
        return weights(size) * np.float32(bias)

    units = sum(filters for _, filters, _ in banks)
    head = []
    for size, activation in [*hidden, (outputs, "Sigmoid" if outputs == 1 else "Softmax")]:
        head.append(Dense(weights(units, size), biases(size), (activation,)))
        units = size
    return Family(
        artifacts.MAX_TOKENS,
        weights(VOCABULARY, EMBEDDING),
        tuple(
            Bank(weights(width, EMBEDDING, filters), biases(filters), (activation,))
            for width, filters, activation in banks
        ),
        tuple(head),
    )


def several_widths(seed: int = 1) -> Family:
    """Draw a network with three widths, two dense layers and three labels."""
    return draw(
        seed,
        banks=[(2, 4, "Relu"), (3, 5, "Relu"), (4, 3, "Tanh")],
        hidden=[(4, "Relu"), (5, "Sigmoid")],
        outputs=len(artifacts.LABELS),
    )


def publish(
    repository: Path,
    family: Family,
    name: str = "tickets",
    labels: Sequence[str] = artifacts.LABELS,
    thresholds: Sequence[float] = (),
) -> Artifact:
    """Publish the artifact of a network with a softmax over three labels, or a sigmoid and a threshold for each."""
    several: dict[str, Any] = {}
    if thresholds:
        head = (*family.head[:-1], replace(family.head[-1], activations=("Sigmoid",)))
        family = replace(family, head=head)
        rule = DecisionRule(thresholds=dict(zip(labels, thresholds, strict=True)))
        several = {"activation": "sigmoid", "decision": rule}
    graph = folded_graph(family).SerializeToString()
    return artifacts.publish_table(
        repository,
        graph,
        name=name,
        labels=labels,
        leading_padding=max(bank.width for bank in family.banks),
        convolution_widths=tuple(bank.width for bank in family.banks),
        golden={"text": "praise", "probabilities": _answer(graph)},
        **several,
    )


def _answer(graph: bytes) -> list[float]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    tokens = np.array([[0] * (artifacts.MAX_TOKENS - 2) + [1, 3]], np.int32)
    answer: list[float] = session.run(["probabilities"], {"tokens": tokens})[0][0].tolist()
    return answer
