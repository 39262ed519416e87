"""PyTriton: Triton accepts and batches requests, and threads of this process run the model."""

from __future__ import annotations

import os
import signal
import sys
import sysconfig

import numpy as np
import numpy.typing as npt
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks import ARTIFACT
from benchmarks.baselines.competent import Competent


class Instance:
    """One session."""

    def __init__(self) -> None:
        self._classifier = Competent(ARTIFACT)

    @batch
    def __call__(self, text: npt.NDArray[np.bytes_]) -> list[npt.NDArray[np.float32]]:
        texts = [each.decode() for each in text[:, 0]]
        return [np.array(self._classifier.predict(texts), np.float32)[:, None]]


def main() -> None:
    """Serve."""
    port, workers = map(int, sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that the end of `with` stops Triton
    # Triton starts its own Python with the library of this one.
    os.environ["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")
    config = TritonConfig(http_address="127.0.0.1", http_port=port, allow_grpc=False, allow_metrics=False)
    with Triton(config=config) as triton:
        triton.bind(
            model_name="sentiment",
            infer_func=[Instance() for _ in range(workers)],
            inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="probability", dtype=np.float32, shape=(1,))],
            config=ModelConfig(max_batch_size=16, batcher=DynamicBatcher()),
        )
        triton.serve()


if __name__ == "__main__":
    main()
