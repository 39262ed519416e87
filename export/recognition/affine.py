"""Batch normalization, which after training multiplies each feature by a scale and shifts it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.layers import Dense, Weights

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Affine:
    """`scale * x + shift` for each feature x. `name` is the layer's name."""

    name: str
    scale: Numbers  # [features]
    shift: Numbers  # [features]

    def then(self, following: Affine) -> Affine:
        """Return the map that applies this one and then `following`."""
        return Affine(following.name, self.scale * following.scale, self.shift * following.scale + following.shift)

    def of(self, features: slice) -> Affine:
        """Return the map of some of the features."""
        return replace(self, scale=self.scale[features], shift=self.shift[features])


def normalization(layer: Any, axes: int) -> Affine | None:
    """Return the map of a batch normalization over the last of `axes` axes; None for any other layer."""
    if type(layer) is not keras.layers.BatchNormalization or layer.axis not in (-1, axes - 1):
        return None
    mean, variance = (np.asarray(each, np.float64) for each in (layer.moving_mean, layer.moving_variance))
    scale = 1 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        scale = scale * np.asarray(layer.gamma, np.float64)
    shift = -mean * scale
    if layer.center:
        shift = shift + np.asarray(layer.beta, np.float64)
    return Affine(layer.name, scale, shift)


def merged_into_outputs(affine: Affine, kernel: Weights, bias: Weights) -> tuple[Weights, Weights]:
    """Merge a normalization into the kernel [..., features] and the bias [features] before it."""
    return (
        (kernel * affine.scale).astype(np.float32),
        (bias * affine.scale + affine.shift).astype(np.float32),
    )


def merged_into_inputs(affine: Affine, dense: Dense) -> Dense:
    """Merge a normalization into the dense layer after it."""
    return replace(
        dense,
        kernel=(affine.scale[:, np.newaxis] * dense.kernel).astype(np.float32),
        bias=(dense.bias + affine.shift @ dense.kernel).astype(np.float32),
    )
