"""The ONNX graphs of the Conv1D family: each module writes its part of a graph, and reads it back."""
