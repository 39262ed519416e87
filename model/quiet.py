"""TensorFlow without its greeting."""

from __future__ import annotations

import os
import warnings


def quiet_tensorflow() -> None:
    """Call before TensorFlow is imported: leaves out its page of hints.

    Its C++ half logs as errors what is none, such as an attribute that its own graph rewriting left behind. An error
    that stops the work comes as an exception, and what ends the process is logged all the same.

    oneDNN's kernels are switched off as well: it announces them at every start, sums differ from machine to machine
    with them, and a network of this size is not faster for them.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # Keras' exporter asks NumPy whether it still has an alias that NumPy 2.5 announces for the future.
    warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
