"""The optional native code. Without its library, ONNX Runtime's own operators and Python do the same.

`folded_convolution.cpp` is an operator of ONNX Runtime, and `vocabulary.cpp` looks up words. Builds run `compilation`,
which needs a C++ compiler and makes one library of both.
"""
