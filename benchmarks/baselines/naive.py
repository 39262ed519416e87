"""The first version: the tokenizers library, and the graph as Keras exports it, over ids padded to full length.

The graph is rebuilt from the artifact's weights without folding, so it runs without training:
Gather, Conv, Relu, GlobalMaxPool, two Gemm, sigmoid. `benchmarks.baselines.applications` serves it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import tokenizers
from onnx import TensorProto, helper, numpy_helper

ARTIFACT = Path(__file__).parents[2] / "model_repository" / "imdb-cnn" / "1"
MAX_TOKENS = 400


def unfolded_graph(folded: onnx.ModelProto, sequence_length: int | str = MAX_TOKENS) -> onnx.ModelProto:
    """Return a graph with a real convolution.

    It maps tokens, int32 [batch, sequence_length], to probabilities, float32 [batch, 1].
    `sequence_length` is a number, or a name for a dynamic one.
    """
    weights = {each.name: numpy_helper.to_array(each) for each in folded.graph.initializer}
    taps = [weights[f"convolution_3_kernel_{tap}"][0] for tap in range(3)]
    constants = {
        "embedding": weights["embedding"],
        "kernel": np.stack(taps, axis=-1).transpose(1, 0, 2),  # [filters, embedding, width]
        "bias": weights["convolution_3_bias"],
        **{name: weights[name] for name in ("dense_0_kernel", "dense_0_bias", "dense_1_kernel", "dense_1_bias")},
    }
    nodes = [
        helper.make_node("Gather", ["embedding", "tokens"], ["embedded"]),
        helper.make_node("Transpose", ["embedded"], ["channels_first"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["channels_first", "kernel", "bias"], ["convolved"]),
        helper.make_node("Relu", ["convolved"], ["feature_map"]),
        helper.make_node("GlobalMaxPool", ["feature_map"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "dense_0_kernel", "dense_0_bias"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["hidden_relu"]),
        helper.make_node("Gemm", ["hidden_relu", "dense_1_kernel", "dense_1_bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "unfolded",
        [helper.make_tensor_value_info("tokens", TensorProto.INT32, ["batch", sequence_length])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save_unfolded(folder: Path, sequence_length: int | str) -> Path:
    """Save the unfolded graph and the tokenizer of the shipped model, and return the folder."""
    onnx.save(unfolded_graph(onnx.load(ARTIFACT / "model.onnx"), sequence_length), folder / "model.onnx")
    shutil.copy(ARTIFACT / "tokenizer.json", folder)
    return folder


class Naive:
    """Classifies texts in process on one thread."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        graph = unfolded_graph(onnx.load(ARTIFACT / "model.onnx")).SerializeToString()
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._tokenizer = tokenizers.Tokenizer.from_file(str(ARTIFACT / "tokenizer.json"))

    def predict(self, text: str) -> float:
        """Return the probability of `positive`."""
        ids = self._tokenizer.encode(text).ids
        tokens = np.zeros((1, MAX_TOKENS), np.int32)  # id 0 pads
        tokens[0, MAX_TOKENS - len(ids) :] = ids
        return float(self._session.run(["probabilities"], {"tokens": tokens})[0][0, 0])
