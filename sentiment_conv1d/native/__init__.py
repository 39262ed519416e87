"""The optional native code. Without its library, ONNX Runtime's own operators and Python do the same.

`folded_convolution.cpp` is an operator of ONNX Runtime, `vocabulary.cpp` looks up words, and `marks.h` finds those of
`words:marks` in a text. Builds run `compilation`, which needs a C++ compiler and makes one library of all.
"""
