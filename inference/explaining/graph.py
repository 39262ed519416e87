"""Reads the network of a `model.onnx`."""

from __future__ import annotations

from sentiment_conv1d.inference.graph_file import GraphFileError, parse, read_graph
from sentiment_conv1d.model.explaining.network import Network
from sentiment_conv1d.model.graphs import network


def read_network(content: bytes) -> Network | None:
    """Return the network of a `model.onnx`, or None if the graph is not a folded network."""
    try:
        graph = read_graph(parse(content))
    except GraphFileError:
        return None
    return None if graph is None else network.read_network(graph)
