"""`python -m benchmarks.floors`: lower limits of a prediction, from sessions that contain only a part of the graph.

The graphs are those of `imdb-cnn` in float32 and in 8 bits. A part contains everything before it, except for the dense
layers, which get the pooled values.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper

from benchmarks.markdown import circumstances, number, table
from loadtest.traffic import texts
from sentiment_conv1d.model.artifact import Artifact, read_artifact

_REPOSITORY = Path(__file__).parent.parent / "model_repository"

#: The artifacts by the column of the table.
_FORMS = {"float32": "imdb-cnn", "8 bits": "imdb-cnn-8bit"}

#: The most bytes of an output: 400 positions with 250 float32 values.
_MOST_BYTES = 2**19


def parts(model: onnx.ModelProto) -> dict[str, onnx.ModelProto]:
    """Return the parts of a folded graph by their names."""
    graph = model.graph
    looked_up = [node.output[0] for node in graph.node if node.op_type == "Gather"]
    summed = [node.output[0] for node in graph.node if node.op_type == "Add" and looked_up[-1] in node.input]
    pooled = [node.output[0] for node in graph.node if node.op_type == "ReduceMax"]
    whole = [output.name for output in graph.output]
    return {
        "an empty session": _empty(graph),
        "look-ups": _until(model, looked_up),
        "look-ups and sums": _until(model, summed),
        "look-ups, sums and pooling": _until(model, pooled),
        "dense layers": _after(model, pooled[0]),
        "the whole graph": _until(model, whole),
    }


def _empty(graph: onnx.GraphProto) -> onnx.ModelProto:
    output = helper.make_tensor_value_info("same", onnx.TensorProto.INT32, ["batch", "time"])
    identity = helper.make_node("Identity", ["tokens"], ["same"])
    return helper.make_model(
        helper.make_graph([identity], "empty", graph.input, [output]), opset_imports=[helper.make_opsetid("", 17)]
    )


def _until(model: onnx.ModelProto, outputs: Sequence[str]) -> onnx.ModelProto:
    """Return a model with these outputs, and only the nodes that they need."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    needed = set(outputs)
    nodes: list[onnx.NodeProto] = []
    for node in reversed(part.graph.node):
        if needed.intersection(node.output):
            nodes.insert(0, node)
            needed.update(node.input)
    del part.graph.node[:], part.graph.output[:]
    part.graph.node.extend(nodes)
    part.graph.output.extend(onnx.ValueInfoProto(name=output) for output in outputs)
    return part


def _after(model: onnx.ModelProto, value: str) -> onnx.ModelProto:
    """Return the nodes after a value, which becomes the input: [1, filters]."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    constants = {constant.name: constant for constant in part.graph.initializer}
    computed, nodes = {value}, []
    for node in part.graph.node:
        # Nodes of constants only are kept too: they compute the constants of later nodes.
        if all(name in computed or name in constants for name in node.input):
            nodes.append(node)
            computed.update(node.output)
    quantized = any(node.op_type == "DequantizeLinear" for node in nodes)
    kind = onnx.TensorProto.UINT8 if quantized else onnx.TensorProto.FLOAT
    del part.graph.node[:], part.graph.input[:]
    part.graph.node.extend(nodes)
    part.graph.input.append(helper.make_tensor_value_info(value, kind, [1, "filters"]))
    return part


class Part:
    """A session of one thread with bound inputs. Its outputs share memory, so that this memory stays in the caches."""

    def __init__(self, model: onnx.ModelProto, inputs: Sequence[Any]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # it warns that constants are not used
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._memory: dict[str, npt.NDArray[np.uint8]] = {}
        self._bindings = [self._bind(value) for value in inputs]

    def run(self, value: Any) -> list[Any]:
        """Return the outputs for an input."""
        outputs: list[Any] = self._session.run(None, {self._session.get_inputs()[0].name: value})
        return outputs

    def seconds(self) -> float:
        """Run with every input. Returns the seconds per input."""
        started = perf_counter()
        for binding in self._bindings:
            self._session.run_with_iobinding(binding)
        return (perf_counter() - started) / len(self._bindings)

    def _bind(self, value: Any) -> Any:
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._session.get_inputs()[0].name, value)
        for output, array in zip(self._session.get_outputs(), self.run(value), strict=True):
            memory = self._memory.setdefault(output.name, np.empty(_MOST_BYTES, np.uint8))
            place = memory[: array.nbytes].view(array.dtype).reshape(array.shape)
            binding.bind_ortvalue_output(output.name, onnxruntime.OrtValue.ortvalue_from_numpy(place))
        return binding


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=256, help="texts (default: 256)")
    options = parser.parse_args()
    columns: dict[str, dict[str, str]] = {}
    for form, name in _FORMS.items():
        artifact = read_artifact(_REPOSITORY / name / "1")
        whole = texts.generate(artifact.tokenizer, options.count)
        for kind, each in (("whole", whole), ("20 words", texts.shorten(whole))):
            columns[f"{form}, {kind}"] = measure(artifact, each, options.rounds)
    print(circumstances())
    print(f"Medians of {options.rounds} rounds of {options.count} texts on one thread, µs per text.\n")
    rows = [(part, *(column[part] for column in columns.values())) for part in next(iter(columns.values()))]
    print(table(("", *columns), rows))


def measure(artifact: Artifact, each: Sequence[str], rounds: int) -> dict[str, str]:
    """Run every part with every text in turn. Returns microseconds by part."""
    shape = artifact.input_shape
    rows = []
    for encoding in artifact.tokenizer.encode_batch(each):
        tokens = np.zeros((1, shape.sequence_length(len(encoding.ids))), np.int32)
        shape.fill(tokens, [encoding.ids])
        rows.append(tokens)
    models = parts(onnx.load_from_string(artifact.graph))
    [pooled] = Part(models["look-ups, sums and pooling"], ()).run(rows[0])
    work = {
        part: Part(model, [pooled] * len(rows) if part == "dense layers" else rows) for part, model in models.items()
    }
    found = [{name: part.seconds() for name, part in work.items()} for _ in range(rounds)]
    return {name: number(median(seconds[name] for seconds in found) * 1e6) for name in work}


if __name__ == "__main__":
    main()
