"""A builder for the ONNX graphs of the Conv1D family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper, parser

from sentiment_conv1d.model.layers import SOFTMAX, Bank, Dense, parse

OPSET = 17

#: The IR version of opset 17 (onnx/docs/Versioning.md). Older runtimes refuse files with a newer one.
IR_VERSION = 8

#: The domain of the functions below.
_DOMAIN = "sentiment_conv1d"

#: Activations without an operator in the opset, as functions in the file. When ONNX Runtime creates a session, it
#: inlines them, and replaces the nodes with a single kernel if it has one.
_FUNCTIONS = {
    "Gelu": """
        root = Constant <value = float {1.4142135623730951}> ()
        one = Constant <value = float {1.0}> ()
        half = Constant <value = float {0.5}> ()
        scaled = Div (x, root)
        error = Erf (scaled)
        shifted = Add (error, one)
        product = Mul (x, shifted)
        y = Mul (product, half)
    """,
    "Mish": """
        soft = Softplus (x)
        gate = Tanh (soft)
        y = Mul (x, gate)
    """,
    "Relu6": """
        low = Constant <value = float {0.0}> ()
        high = Constant <value = float {6.0}> ()
        y = Clip (x, low, high)
    """,
    "Silu": """
        gate = Sigmoid (x)
        y = Mul (x, gate)
    """,
}


class Graph:
    """Nodes and constants in order of use, with every constant stored once.

    The input is `tokens`, int32 [batch, sequence_length]; both dimensions are dynamic.
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._functions: set[str] = set()

    def constant(self, name: str, value: npt.NDArray[Any] | np.generic) -> str:
        """Add a constant and return its name. If the name exists, its first value stays."""
        self._constants.setdefault(name, numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Add a node, named after its output, and return the name."""
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def activations(self, activations: Sequence[str], value: str, name: str) -> str:
        """Add activations, in the notation of `model.layers`, one after the other, and return the output's name."""
        for activation in activations:
            operator, alpha = parse(activation)
            attributes: dict[str, Any] = {} if alpha is None else {"alpha": alpha}
            if operator == SOFTMAX:
                attributes["axis"] = -1
            if operator in _FUNCTIONS:
                self._functions.add(operator)
                attributes["domain"] = _DOMAIN
            name = f"{name}_{operator.lower()}"
            value = self.node(operator, [value], name, **attributes)
        return value

    def classifier(self, pooled: list[str], head: Sequence[Dense]) -> onnx.ModelProto:
        """Concatenate the pooled banks, each [batch, filters], add the dense layers, and return the finished model.

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
        domains = sorted({node.domain for node in self._nodes} - {""})
        model = helper.make_model(
            graph,
            functions=[_function(name) for name in sorted(self._functions)],
            opset_imports=[helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)],
            ir_version=IR_VERSION,
            producer_name="sentiment-conv1d",
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def _function(name: str) -> onnx.FunctionProto:
    header = f'<domain: "{_DOMAIN}", opset_import: ["": {OPSET}]> {name} (x) => (y)'
    return parser.parse_function(f"{header} {{{_FUNCTIONS[name]}}}")


def bank_names(banks: Sequence[Bank]) -> list[str]:
    """Name banks by their widths, with a number for the second and later banks of a width."""
    widths = [bank.width for bank in banks]
    repeats = [widths[:index].count(width) for index, width in enumerate(widths)]
    return [f"convolution_{width}" + (f"_{n + 1}" if n else "") for width, n in zip(widths, repeats, strict=True)]
