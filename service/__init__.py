"""The service: an artifact behind REST and gRPC.

`inference` and `models` know no protocol; `rest` and `grpc` are thin adapters over them, and `process` runs them all.
Nothing here imports TensorFlow, Keras, `export` or the training half of `model`.
"""

import os

# ONNX Runtime reports its use to its makers unless told not to before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# NumPy's linear algebra is not used, and its threads would be in the way of forking workers.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
