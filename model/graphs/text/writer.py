"""Adds nodes and constants to the file of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.graphs import onnx_subset_pb2 as onnx

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
        self._prefix = prefix
        self._constants: dict[tuple[object, ...], str] = {}

    def node(self, operator: str, inputs: Sequence[Value], name: str, **attributes: Attribute) -> str:
        """Add a node and return the name of its output."""
        self.nodes(operator, inputs, [name], **attributes)
        return self._prefix + name

    def nodes(self, operator: str, inputs: Sequence[Value], names: Sequence[str], **attributes: Attribute) -> None:
        """Add a node with several outputs."""
        self.graph.node.add(
            op_type=operator,
            domain=_DOMAINS.get(operator, ""),
            name=self._prefix + names[0],
            input=[each if isinstance(each, str) else self.constant(np.asarray(each)) for each in inputs],
            output=[self._prefix + each for each in names],
            attribute=[attribute(key, value) for key, value in attributes.items()],
        )

    def look_up(self, value: str, entries: Mapping[str, int], default: int, name: str) -> str:
        """Add a look-up of strings, and return the name of the numbers int64 of the same shape."""
        entries = entries or {FILLING: default}  # ONNX Runtime refuses a look-up without entries
        keys, numbers = list(entries), list(entries.values())
        return self.node("LabelEncoder", [value], name, keys_strings=keys, values_int64s=numbers, default_int64=default)

    def split(self, text: str, expression: str, name: str) -> str:
        """Add a search for everything that an expression of RE2 matches: string [batch, most matches of a text]."""
        return self.node("Tokenizer", [text], name, mark=0, mincharnum=1, pad_value=FILLING, tokenexp=expression)

    def translate(self, value: str, entries: Mapping[str, str], name: str) -> str:
        """Add a look-up of strings that are others, and of an empty string for what has no entry."""
        keys, others = list(entries), list(entries.values())
        return self.node("LabelEncoder", [value], name, keys_strings=keys, values_strings=others, default_string="")

    def strings(self, values: Sequence[str], dimensions: Sequence[int], name: str) -> str:
        """Add a constant of strings and return its name."""
        tensor = self.graph.initializer.add(name=self._prefix + name, data_type=STRING, dims=dimensions)
        tensor.string_data.extend(value.encode() for value in values)
        return self._prefix + name

    def constant(self, value: npt.NDArray[np.generic]) -> str:
        """Add a constant and return its name. Equal constants are one."""
        key = (value.dtype, value.shape, value.tobytes())
        if key not in self._constants:
            name = self._constants[key] = f"{self._prefix}constant_{len(self._constants)}"
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
