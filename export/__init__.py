"""From a trained Keras model to a versioned ONNX artifact that is proven equal to it.

`sources` reads the model and its vocabulary, `recognition` finds out whether the model belongs to the Conv1D family,
`graphs` writes the ONNX graphs, and `checks` compares their answers with Keras'. `exporter` runs these steps in order.
`conversion` writes artifacts in forms that other programs read.
"""
