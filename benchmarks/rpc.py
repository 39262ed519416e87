"""Load over gRPC: `python -m benchmarks.rpc`, a separate process that calls in a closed loop."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from itertools import cycle
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Any

import grpc

from benchmarks.rest import Load
from loadtest.processes import PROJECT, Server
from sentiment_conv1d.protos import inference_pb2
from sentiment_conv1d.protos import sentiment_pb2 as pb
from sentiment_conv1d.stubs import GRPCInferenceServiceStub, SentimentStub

#: Texts of one `PredictBatch`.
BATCH = 32


def run(server: Server, method: str, texts: Path, connections: int, streams: int, seconds: float) -> Load:
    """Call a method from another process, with so many calls at once on each connection.

    `texts` is a JSON file with a list. Each text of a batch counts.
    """
    before = server.cpu_seconds()
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.rpc", f"127.0.0.1:{server.grpc_port}", method, str(texts)),
            *("--connections", str(connections), "--streams", str(streams), "--seconds", str(seconds)),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    cpu = server.cpu_seconds() - before
    answer = json.loads(finished.stdout)
    return Load(answer["texts"] / answer["seconds"], answer["p50"], answer["p99"], cpu / answer["texts"], 0)


class Calls:
    """The callers of one connection, which send the texts in turn until the time is over."""

    def __init__(self, channel: grpc.aio.Channel, texts: Sequence[str], seconds: float) -> None:
        self._stub: Any = SentimentStub(channel)
        self._open_inference: Any = GRPCInferenceServiceStub(channel)
        self._infers = cycle([_infer_request(text) for text in texts])
        self._requests = cycle([pb.PredictRequest(text=text) for text in texts])
        self._batches = cycle([pb.PredictBatchRequest(texts=texts[n : n + BATCH]) for n in range(0, len(texts), BATCH)])
        self._end = perf_counter() + seconds
        self.latencies: list[float] = []  # seconds per answer
        self.texts = 0

    async def predict(self) -> None:
        """Send one text per call."""
        while (started := perf_counter()) < self._end:
            await self._stub.Predict(next(self._requests))
            self._note(started, 1)

    async def infer(self) -> None:
        """Send one text per call of the Open Inference Protocol."""
        while (started := perf_counter()) < self._end:
            await self._open_inference.ModelInfer(next(self._infers))
            self._note(started, 1)

    async def batch(self) -> None:
        """Send `BATCH` texts per call."""
        while (started := perf_counter()) < self._end:
            request = next(self._batches)
            await self._stub.PredictBatch(request)
            self._note(started, len(request.texts))

    async def stream(self) -> None:
        """Send texts over one stream, without waiting for the answers to the earlier ones."""

        async def requests() -> AsyncIterator[pb.PredictRequest]:
            while perf_counter() < self._end:
                yield next(self._requests)

        started = perf_counter()
        async for _ in self._stub.PredictStream(requests()):
            self._note(started, 1)
            started = perf_counter()

    def _note(self, started: float, texts: int) -> None:
        self.latencies.append(perf_counter() - started)
        self.texts += texts


def _infer_request(text: str) -> inference_pb2.ModelInferRequest:
    given = inference_pb2.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[1])
    given.contents.bytes_contents.append(text.encode())
    return inference_pb2.ModelInferRequest(model_name="imdb-cnn", inputs=[given])


async def call(
    address: str, method: str, texts: Sequence[str], connections: int, streams: int, seconds: float
) -> dict[str, float]:
    """Return the number of answered texts, the duration, and the latencies in seconds."""
    # Channels would share a connection otherwise.
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(address, options) for _ in range(connections)]
    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    started = perf_counter()
    every = [Calls(channel, [*texts[number:], *texts[:number]], seconds) for number, channel in enumerate(channels)]
    await asyncio.gather(*(getattr(calls, method)() for calls in every for _ in range(streams)))
    elapsed = perf_counter() - started
    await asyncio.gather(*(channel.close() for channel in channels))
    cuts = quantiles([latency for calls in every for latency in calls.latencies], n=100)
    return {"texts": sum(calls.texts for calls in every), "seconds": elapsed, "p50": cuts[49], "p99": cuts[98]}


def main() -> None:
    """Call, and print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("method", choices=("predict", "infer", "batch", "stream"))
    parser.add_argument("texts", type=Path)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--streams", type=int, default=1, help="calls at once on each connection (default: 1)")
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    texts = json.loads(options.texts.read_text())
    load = options.connections, options.streams, options.seconds
    answer = asyncio.run(call(options.address, options.method, texts, *load))
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
