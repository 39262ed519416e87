"""TensorFlow without its greeting."""

from __future__ import annotations

import os
import warnings


def quiet_tensorflow() -> None:
    """Hide TensorFlow's start-up messages. Call it before TensorFlow is imported.

    TensorFlow's C++ code logs harmless conditions as errors, for example an attribute that its own graph rewriting left
    behind. A real error raises an exception, and what ends the process is logged in any case.

    oneDNN's kernels are switched off as well: with them the sums, and so the trained weights, differ more between
    machines, and a network of this size does not get faster.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # Keras' exporter asks NumPy whether it still has an alias that NumPy 2.5 announces for the future.
    warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
