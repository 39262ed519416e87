"""The decision for a label, given the output of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from sentiment_conv1d.artifact.limits import Description, Map

if TYPE_CHECKING:  # settings import this module through the configuration, and `--help` must not load NumPy
    import numpy as np
    import numpy.typing as npt

#: The lowest output of a sigmoid that decides for the second label, unless the model has its own threshold.
THRESHOLD = 0.5

#: The share of right predictions that limits of confidence are chosen for by default.
MIN_PRECISION = 0.9


class Calibration(BaseModel):
    """What a temperature changes on held-out texts, each of which is measured with a temperature fitted on others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: int = Field(ge=1)
    log_loss_before: float
    log_loss_after: float
    error_before: float = Field(description="Expected calibration error.")
    error_after: float
    helps: bool = Field(description="Whether the log loss falls by more than chance explains.")

    def describe(self) -> str:
        """Describe the decision in words, with the numbers before and after."""
        return (
            f"a temperature changes the log loss of {self.texts:,} held-out texts from {self.log_loss_before:.4f} to "
            f"{self.log_loss_after:.4f} and their calibration error from {self.error_before:.4f} to "
            f"{self.error_after:.4f}, so it is {'used' if self.helps else 'not used'}"
        )


class DecisionRule(BaseModel):
    """How a model decides, chosen after training. The network contains the division by `temperature`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(THRESHOLD, gt=0, lt=1)
    thresholds: Map[Annotated[float, Field(gt=0, lt=1)]] = Field(
        {},
        exclude_if=lambda value: not value,
        description="Of a model that gives a text several labels: the lowest probability of each label at which a text "
        "has it.",
    )
    temperature: float = Field(1.0, gt=0)
    chosen_on: Description | None = Field(
        None, description="The texts that the rule was chosen on; null if there were none."
    )
    confident_from: Map[float | None] = Field(
        {},
        exclude_if=lambda value: not value,
        description="The lowest probability of each label at which the model is confident of it; null: it never is. "
        "A label is missing if too few held-out texts got it.",
    )
    min_precision: float | None = Field(
        None,
        gt=0,
        lt=1,
        exclude_if=lambda value: value is None,
        description="The share of right predictions of each label that its limit was chosen for.",
    )
    calibration: Calibration | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Why the network is calibrated or not; left out if that was not decided on held-out texts.",
    )

    def limits(self, labels: Sequence[str]) -> tuple[float | None, ...]:
        """Return the lowest probability of each of these labels at which the model is confident of it.

        None if the label has no measured limit, and infinity if the model is never confident of it.
        """
        never = {label: math.inf for label, limit in self.confident_from.items() if limit is None}
        found = {**self.confident_from, **never}
        return tuple(found.get(label) for label in labels)

    def each_threshold(self, labels: Sequence[str]) -> list[float]:
        """Return the thresholds in the order of these labels; an empty list if a text has just one label."""
        return [self.thresholds[label] for label in labels] if self.thresholds else []

    def renamed(self, names: Mapping[str, str]) -> DecisionRule:
        """Return the same rule with other names for the labels."""
        return self.model_copy(
            update={
                name: {names[label]: limit for label, limit in getattr(self, name).items()}
                for name in ("thresholds", "confident_from")
            }
        )


def decide(output: npt.NDArray[np.floating[Any]], threshold: float = THRESHOLD) -> int:
    """Return the index of the label that one row of the output decides for.

    `output` is [1], the probability of the second label (sigmoid), or [labels], the probability of each (softmax). If
    several labels have the same probability, the first one wins. `threshold` applies to a sigmoid only.
    """
    # Comparing a Python float takes a third of the time of a NumPy scalar.
    if len(output) == 1:
        return 1 if output.item() >= threshold else 0
    return int(output.argmax())


def decide_all(outputs: npt.NDArray[np.floating[Any]], threshold: float = THRESHOLD) -> npt.NDArray[np.int64]:
    """Return the index of the label of every row: [n, 1] or [n, labels] -> int64 [n]."""
    import numpy as np

    if outputs.shape[1] == 1:
        # `decide` compares float64 numbers. NumPy would round the threshold to the precision of the outputs.
        return (outputs[:, 0].astype(np.float64) >= threshold).astype(np.int64)
    indices: npt.NDArray[np.int64] = outputs.argmax(axis=1)
    return indices


def decide_each(outputs: npt.NDArray[np.floating[Any]], thresholds: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Return whether each text has each label, given the probability of each: [n, labels] -> bool [n, labels].

    A text has the labels whose probability is at least their threshold, [labels]. These can be none or several.
    """
    import numpy as np

    reached: npt.NDArray[np.bool_] = outputs.astype(np.float64) >= np.asarray(thresholds, np.float64)
    return reached
