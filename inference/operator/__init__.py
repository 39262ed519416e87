"""The optional native operator: folded convolutions in C++. Without its library, ONNX Runtime's own operators run.

Builds run `compilation`, which needs a C++ compiler. `rewriting` uses its result.
"""
