"""Adds nodes and constants to the file of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.graphs import onnx_subset_pb2 as onnx

#: `TensorProto.DataType`.
FLOAT, INT32, INT64, STRING, BOOL, DOUBLE = 1, 6, 7, 8, 9, 11

_TYPES = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64, np.dtype(bool): BOOL, np.dtype(np.float64): DOUBLE}

#: The domains of the operators that ONNX itself does not have.
MICROSOFT, MACHINE_LEARNING = "com.microsoft", "ai.onnx.ml"
_DOMAINS = {"Tokenizer": MICROSOFT, "LabelEncoder": MACHINE_LEARNING}

#: The front of every name, which no other graph uses.
PREFIX = "text_input/"

#: What fills up the rows of texts with fewer pieces. No piece is a single space.
FILLING = " "

#: The id of what has none.
NO_ID = -1

#: The value of an attribute.
Attribute = int | str | Sequence[int] | Sequence[str] | onnx.Graph

#: A value: the name of one in the graph, or a constant.
Value = str | npt.NDArray[np.generic] | np.generic


class Writer:
    """Writes into a graph. Numbers among the inputs of a node become constants of the graph."""

    def __init__(self, graph: onnx.Graph, prefix: str = PREFIX) -> None:
        self.graph = graph
        self.prefix = prefix
        self._constants: dict[tuple[object, ...], str] = {}
        self._strings: set[str] = set()

    def node(self, operator: str, inputs: Sequence[Value], name: str, **attributes: Attribute) -> str:
        """Add a node and return the name of its output."""
        return self.nodes(operator, inputs, [name], **attributes)[0]

    def nodes(self, operator: str, inputs: Sequence[Value], names: Sequence[str], **attributes: Attribute) -> list[str]:
        """Add a node with several outputs and return their names."""
        outputs = [self.prefix + each for each in names]
        self.graph.node.add(
            op_type=operator,
            domain=_DOMAINS.get(operator, ""),
            name=outputs[0],
            input=[each if isinstance(each, str) else self.constant(np.asarray(each)) for each in inputs],
            output=outputs,
            attribute=[attribute(key, value) for key, value in attributes.items()],
        )
        return outputs

    def output(self, name: str, data_type: int, *dimensions: str | int) -> None:
        """Declare a value of the graph as an output."""
        self.graph.output.append(declared(name, data_type, *dimensions))

    def choose(self, condition: str, then: Writer, otherwise: Writer, name: str) -> str:
        """Add a choice between two graphs with one output, and return the name of the output."""
        return self.node("If", [condition], name, then_branch=then.graph, else_branch=otherwise.graph)

    def look_up(self, value: str, entries: Mapping[str, int], default: int, name: str) -> str:
        """Add a look-up of strings, and return the name of the numbers int64 of the same shape."""
        entries = entries or {FILLING: default}  # ONNX Runtime refuses a look-up without entries
        keys, numbers = list(entries), list(entries.values())
        return self.node("LabelEncoder", [value], name, keys_strings=keys, values_int64s=numbers, default_int64=default)

    def split(self, text: str, expression: str, name: str, filling: str = FILLING) -> str:
        """Add a search for everything that an expression of RE2 matches: string [batch, most matches of a text]."""
        return self.node("Tokenizer", [text], name, mark=0, mincharnum=1, pad_value=filling, tokenexp=expression)

    def translate(self, value: str, entries: Mapping[str, str], name: str) -> str:
        """Add a look-up of strings that are others, and of an empty string for what has no entry."""
        keys, others = list(entries), list(entries.values())
        return self.node("LabelEncoder", [value], name, keys_strings=keys, values_strings=others, default_string="")

    def strings(self, values: Sequence[str], dimensions: Sequence[int], name: str) -> str:
        """Add a constant of strings and return its name. If the name exists, its first value stays."""
        name = self.prefix + name
        if name not in self._strings:
            self._strings.add(name)
            tensor = self.graph.initializer.add(name=name, data_type=STRING, dims=dimensions)
            tensor.string_data.extend(value.encode() for value in values)
        return name

    def filling(self) -> str:
        """Add `FILLING` as a constant string [1, 1] and return its name."""
        return self.strings([FILLING], [1, 1], "filling")

    def constant(self, value: npt.NDArray[np.generic]) -> str:
        """Add a constant and return its name. Equal constants are one."""
        key = (value.dtype, value.shape, value.tobytes())
        if key not in self._constants:
            name = self._constants[key] = f"{self.prefix}constant_{len(self._constants)}"
            data_type = _TYPES[value.dtype]
            self.graph.initializer.add(name=name, data_type=data_type, dims=value.shape, raw_data=value.tobytes())
        return self._constants[key]


def declared(name: str, data_type: int, *dimensions: str | int) -> onnx.Value:
    """Return the declaration of an input or output. Dimensions with a name are free."""
    shape = onnx.Shape()
    for each in dimensions:
        shape.dim.add(**{"dim_param" if isinstance(each, str) else "dim_value": each})
    return onnx.Value(name=name, type=onnx.Type(tensor_type=onnx.TensorType(elem_type=data_type, shape=shape)))


def attribute(name: str, value: Attribute) -> onnx.Attribute:
    """Return an attribute of a node."""
    if isinstance(value, onnx.Graph):
        return onnx.Attribute(name=name, type=5, g=value)
    if isinstance(value, int):
        return onnx.Attribute(name=name, type=2, i=value)
    if isinstance(value, str):
        return onnx.Attribute(name=name, type=3, s=value.encode())
    if all(isinstance(each, str) for each in value):
        return onnx.Attribute(name=name, type=8, strings=[str(each).encode() for each in value])
    return onnx.Attribute(name=name, type=7, ints=[int(each) for each in value])
