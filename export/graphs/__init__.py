"""ONNX graphs: folded, 8-bit, and the one that tf2onnx writes."""
