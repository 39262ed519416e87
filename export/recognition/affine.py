"""Batch normalizations: after training, each feature is multiplied by a scale and shifted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.layers import Dense, Weights

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Affine:
    """`scale * x + shift` for each feature x; `name` is that of the layer."""

    name: str
    scale: Numbers  # [features]
    shift: Numbers  # [features]

    def then(self, following: Affine) -> Affine:
        """Both as one."""
        return Affine(following.name, self.scale * following.scale, self.shift * following.scale + following.shift)

    def of(self, features: slice) -> Affine:
        """That of some features."""
        return replace(self, scale=self.scale[features], shift=self.shift[features])


def normalization(layer: Any, axes: int) -> Affine | None:
    """A batch normalization of the last of `axes` axes; None for any other layer."""
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
    """A kernel [..., features] and a bias [features] whose result is normalized."""
    return (
        (kernel * affine.scale).astype(np.float32),
        (bias * affine.scale + affine.shift).astype(np.float32),
    )


def merged_into_inputs(affine: Affine, dense: Dense) -> Dense:
    """A dense layer that reads normalized features."""
    return replace(
        dense,
        kernel=(affine.scale[:, np.newaxis] * dense.kernel).astype(np.float32),
        bias=(dense.bias + affine.shift @ dense.kernel).astype(np.float32),
    )
