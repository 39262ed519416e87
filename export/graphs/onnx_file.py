"""Writes a graph as an ONNX file."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper, numpy_helper, parser

from sentiment_conv1d.artifact.graphs.folded import write_folded
from sentiment_conv1d.artifact.graphs.graph import FUNCTION_DOMAIN, Graph, Node
from sentiment_conv1d.artifact.layers import Family

OPSET = 17

#: The IR version of opset 17 (onnx/docs/Versioning.md). Older runtimes refuse files with a newer one.
IR_VERSION = 8

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


def folded_graph(family: Family) -> onnx.ModelProto:
    """Return the float32 graph of a model of the family.

    It computes probabilities float32 [batch, outputs] from tokens int32 [batch, up to `max_tokens`].
    """
    return onnx_model(write_folded(family), family.outputs)


def onnx_model(graph: Graph, outputs: int) -> onnx.ModelProto:
    """Return a graph, whose output is float32 [batch, outputs], as a model that ONNX's checker accepts."""
    nodes = [_node(output, node) for output, node in graph.nodes.items()]
    domains = sorted({node.domain for node in nodes} - {""})
    functions = sorted({node.op_type for node in nodes if node.domain == FUNCTION_DOMAIN})
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "conv1d",
            [helper.make_tensor_value_info("tokens", TensorProto.INT32, ["batch", "time"])],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", outputs])],
            [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
        ),
        functions=[_function(name) for name in functions],
        opset_imports=[helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)],
        ir_version=IR_VERSION,
        producer_name="sentiment-conv1d",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _node(output: str, node: Node) -> onnx.NodeProto:
    domain = {"domain": FUNCTION_DOMAIN} if node.operator in _FUNCTIONS else {}
    return helper.make_node(node.operator, node.inputs, [output], name=node.name, **node.attributes | domain)


def _function(name: str) -> onnx.FunctionProto:
    header = f'<domain: "{FUNCTION_DOMAIN}", opset_import: ["": {OPSET}]> {name} (x) => (y)'
    return parser.parse_function(f"{header} {{{_FUNCTIONS[name]}}}")
