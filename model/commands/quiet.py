"""Hide TensorFlow's start-up messages."""

from __future__ import annotations

import os
import warnings


def quiet_tensorflow() -> None:
    """Hide TensorFlow's start-up messages. Call it before TensorFlow is imported.

    TensorFlow's C++ code logs harmless conditions as errors, for example an attribute that its own graph rewriting left
    behind. Real errors still raise exceptions, and fatal errors are still logged.

    The function also disables oneDNN's kernels. With them, the sums and so the trained weights differ more between
    machines, and a network of this size does not train faster.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # Keras' exporter looks up an alias that NumPy 2.5 announces for the future.
    warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
