"""From a trained Keras model to a versioned ONNX artifact that is proven equal to it.

`family` recognises the Conv1D family, `folded` writes its graph, `graph` is one in the making, `reference` has Keras
write its own, `parity` compares answers, `exporter` tells the story from start to end.
"""

import os

# ONNX Runtime reports its use to its makers unless told not to before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
