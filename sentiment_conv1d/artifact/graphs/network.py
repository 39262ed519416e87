"""Reads the network of a graph that this package wrote, so that explanations use the weights that are served."""

from __future__ import annotations

from sentiment_conv1d.artifact.explaining.network import Network
from sentiment_conv1d.artifact.graphs.folded import read_bank
from sentiment_conv1d.artifact.graphs.graph import Graph, UnknownGraph
from sentiment_conv1d.artifact.graphs.head import read_head
from sentiment_conv1d.artifact.graphs.quantized import read_quantized_bank


def read_network(graph: Graph) -> Network | None:
    """Return the network of a graph, or None if the graph is not a folded network."""
    try:
        pooled, head, final = read_head(graph)
        if "embedding" in graph.constants:
            banks = tuple(read_bank(graph, each) for each in pooled)
            return Network(graph.weights("embedding"), banks, head, final)
        banks, tables = zip(*(read_quantized_bank(graph, each) for each in pooled), strict=True)
        return Network(None, banks, head, final, tables)
    except UnknownGraph:
        return None
