"""Serves Conv1D text classifiers over REST and gRPC.

`scheduling` and `models` are independent of any protocol, `rest` and `grpc` are thin adapters over them, and `process`
runs them in worker processes. No module of this package imports TensorFlow, Keras, `model` or `export`.
"""

import os

# The service does not use NumPy's linear algebra, and its threads would disturb the forking of workers.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
