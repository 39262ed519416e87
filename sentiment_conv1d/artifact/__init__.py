"""What a model is: its manifest and configuration, the tokenizer, the graphs, and what its layers compute.

`artifact` reads and writes the folder of a model. Everything here works without TensorFlow, Keras and ONNX Runtime.
"""
