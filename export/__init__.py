"""From a trained Keras model to a versioned ONNX artifact that is proven equal to it.

`family` recognizes the Conv1D family, with `activations`, `affine` (batch normalizations) and `connections` (how layers
are connected). `folded` writes its graph and `quantized` the 8-bit form, both with `graph`. `reference` has Keras write
its own, `parity` compares answers, `quantization_error` measures what 8 bits cost, and `exporter` runs all of it.
"""

import os

# ONNX Runtime reports its use to its makers unless told not to before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
