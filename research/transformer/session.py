"""The trained model in ONNX Runtime: how it is exported, and how it classifies texts in process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from research.transformer.network import Classifier
from research.transformer.pieces import WordPieces, pad

MODEL, QUANTIZED, TOKENIZER = "model.onnx", "model-8bit.onnx", "tokenizer.json"


def export(model: Classifier, tokenizer: bytes, folder: Path) -> None:
    """Write the graph, the graph with 8-bit weights, and the tokenizer."""
    signature = [tf.TensorSpec((None, None), tf.int32, name="tokens")]
    probabilities = tf.function(
        lambda tokens: {"probabilities": tf.nn.softmax(model(tokens))}, input_signature=signature
    )
    graph, _ = tf2onnx.convert.from_function(probabilities, input_signature=signature, opset=17)
    onnx.save(graph, folder / MODEL)
    quantize_dynamic(folder / MODEL, folder / QUANTIZED, weight_type=QuantType.QInt8, per_channel=True)
    (folder / TOKENIZER).write_bytes(tokenizer)


class Session:
    """Classifies texts, with only as many positions as the longest text of a call needs. `threads` 0: on all cores."""

    def __init__(self, graph: Path, length: int, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._pieces = WordPieces((graph.parent / TOKENIZER).read_bytes(), length)

    def predict(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the probabilities of the labels, float32 [texts, labels]."""
        tokens = pad(self._pieces.encode(texts))
        probabilities: npt.NDArray[np.float32] = self._session.run(["probabilities"], {"tokens": tokens})[0]
        return probabilities
