"""LitServe: processes that accept requests, and processes that run the model on batches."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import litserve

from benchmarks import ARTIFACT
from benchmarks.baselines.competent import Competent


class Sentiment(litserve.LitAPI):
    """`{"text": ...}` to `{"probability": ...}`."""

    def setup(self, device: str) -> None:
        """Load the model, once per worker."""
        self._classifier = Competent(ARTIFACT)

    # FastAPI would validate annotated parameters. Without annotations, LitServe passes the JSON on unchanged.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        """Return the text."""
        return request["text"]

    def predict(self, texts: Sequence[str]) -> list[float]:
        """Predict a batch."""
        return self._classifier.predict(texts)

    def encode_response(self, probability):  # type: ignore[no-untyped-def]
        """Return the response."""
        return {"probability": probability}


def main() -> None:
    """Serve."""
    port, workers = map(int, sys.argv[1:])
    server = litserve.LitServer(
        Sentiment(max_batch_size=16, batch_timeout=0.002),
        accelerator="cpu",
        workers_per_device=workers,
        fast_queue=True,
    )
    server.run("127.0.0.1", port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
