"""An ONNX graph in the making: what the graphs of the Conv1D family have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from sentiment_conv1d.model.layers import SOFTMAX, Bank, Dense

OPSET = 17

#: Of opset 17 (onnx/docs/Versioning.md); older runtimes refuse files that state a newer one.
IR_VERSION = 8


class Graph:
    """Nodes and constants in the order they are needed, every constant once.

    The input is `tokens`, int32 [batch, time], both dimensions free.
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: npt.NDArray[Any] | np.generic) -> str:
        """A constant by its name; the first one of a name stays."""
        self._constants.setdefault(name, numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        """One operator, named as its output."""
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def activations(self, activations: Sequence[str], value: str, name: str) -> str:
        """Activations, which are ONNX operators, one after the other."""
        for activation in activations:
            attributes = {"axis": -1} if activation == SOFTMAX else {}
            name = f"{name}_{activation.lower()}"
            value = self.node(activation, [value], name, **attributes)
        return value

    def classifier(self, pooled: list[str], head: Sequence[Dense]) -> onnx.ModelProto:
        """The finished model: the pooled banks, each [batch, filters], side by side and through the dense layers.

        Its output is `probabilities`, float32 [batch, outputs].
        """
        value = pooled[0] if len(pooled) == 1 else self.node("Concat", pooled, "features", axis=1)
        for number, dense in enumerate(head):
            value = self._dense(dense, value, f"dense_{number}")
        return self._model(value, int(head[-1].kernel.shape[1]))

    def _dense(self, dense: Dense, value: str, name: str) -> str:
        inputs = [value, self.constant(f"{name}_kernel", dense.kernel)]
        if dense.bias.any():
            inputs.append(self.constant(f"{name}_bias", dense.bias))
        return self.activations(dense.activations, self.node("Gemm", inputs, name), name)

    def _model(self, result: str, outputs: int) -> onnx.ModelProto:
        self._nodes[-1].output[0] = "probabilities"
        assert self._nodes[-1].name == result
        graph = helper.make_graph(
            self._nodes,
            "conv1d",
            [helper.make_tensor_value_info("tokens", TensorProto.INT32, ["batch", "time"])],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", outputs])],
            list(self._constants.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="sentiment-conv1d",
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def bank_names(banks: Sequence[Bank]) -> list[str]:
    """By their widths; a number tells apart banks of the same width."""
    widths = [bank.width for bank in banks]
    repeats = [widths[:index].count(width) for index, width in enumerate(widths)]
    return [f"convolution_{width}" + (f"_{n + 1}" if n else "") for width, n in zip(widths, repeats, strict=True)]
