"""The float32 graph of a model of the family."""

from __future__ import annotations

import onnx

from sentiment_conv1d.export.graphs.onnx_file import onnx_model
from sentiment_conv1d.model.graphs.folded import write_folded
from sentiment_conv1d.model.layers import Family


def folded_graph(family: Family) -> onnx.ModelProto:
    """Return a graph: tokens int32 [batch, up to `max_tokens`] -> probabilities float32 [batch, outputs]."""
    return onnx_model(write_folded(family), family.outputs)
