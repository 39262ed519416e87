"""MLServer: one process for HTTP, and workers that run the model."""

from __future__ import annotations

import asyncio
import sys
import tempfile

import mlserver
import numpy as np
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import install_uvloop_event_loop

from benchmarks import ARTIFACT
from benchmarks.baselines.competent import Competent


class Sentiment(mlserver.MLModel):
    """`text`, BYTES [batch, 1], to `probability`, FP32 [batch, 1], over the Open Inference Protocol."""

    async def load(self) -> bool:
        """Load the model, once per worker."""
        self._classifier = Competent(ARTIFACT)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Predict a batch, which contains the texts of several requests."""
        texts = StringCodec.decode_input(payload.inputs[0])
        probabilities = np.array(self._classifier.predict(texts), np.float32)[:, None]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("probability", probabilities)])


async def serve(port: int, workers: int, folder: str) -> None:
    """Serve until a signal arrives."""
    settings = mlserver.Settings(
        debug=False,
        host="127.0.0.1",
        http_port=port,
        grpc_port=0,
        metrics_port=0,
        metrics_dir=folder,
        parallel_workers=workers,
    )
    model = mlserver.ModelSettings(
        name="sentiment",
        implementation="benchmarks.other_servers.applications.mlserver.Sentiment",
        max_batch_size=16,
        max_batch_time=0.002,
    )
    await mlserver.MLServer(settings).start([model])


def main() -> None:
    """Serve."""
    port, workers = map(int, sys.argv[1:])
    install_uvloop_event_loop()  # as its command does
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(serve(port, workers, folder))


if __name__ == "__main__":
    main()
