"""Triton's own clients, unmodified, get the answers of the native route in every form."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

from sentiment_conv1d.artifact.artifact import Artifact
from tests.processes import PATIENCE, ServerProcess
from tests.service.artifacts import publish_table
from tests.service.reviews import reviews

MODEL = "imdb-cnn"
OUTPUTS = ("label", "score", "probabilities")

#: Rows of a batch, and texts that are sent one by one.
BATCH, SINGLES = 50, 100

#: A text's label, its probability, and that of each label.
Answer = tuple[str, float, list[float]]

Row = TypeVar("Row")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Return many texts, including an empty one."""
    return ["", *reviews(499, seed=2)]


@pytest.fixture(scope="module")
def expected(server: ServerProcess, texts: list[str]) -> list[Answer]:
    """Return the answers of `/v1/predict`."""
    answers = (server.client.post("/v1/predict", json={"text": text}).json() for text in texts)
    return [(each["label"], each["score"], list(each["probabilities"].values())) for each in answers]


@pytest.fixture(scope="module")
def http(server: ServerProcess) -> Iterator[Any]:
    """Return the HTTP client."""
    with tritonclient.http.InferenceServerClient(
        f"127.0.0.1:{server.port}", concurrency=4, network_timeout=PATIENCE, connection_timeout=PATIENCE
    ) as client:
        yield client


@pytest.fixture(scope="module")
def grpc(server: ServerProcess) -> Iterator[Any]:
    """Return the gRPC client."""
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        yield client


def batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Divide texts or answers into batches."""
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]


def text_input(package: Any, texts: Sequence[str], **options: bool) -> list[Any]:
    """Build the client's input of texts."""
    tensor = package.InferInput("text", [len(texts), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[text.encode()] for text in texts], np.object_), **options)
    return [tensor]


def answers(result: Any) -> list[Answer]:
    """Return the answers in a response."""
    labels = [each.decode() if isinstance(each, bytes) else each for each in result.as_numpy("label").ravel()]
    scores, probabilities = result.as_numpy("score"), result.as_numpy("probabilities")
    assert (scores.dtype, probabilities.dtype) == (np.float32, np.float32)
    assert (scores.shape, probabilities.shape) == ((len(labels), 1), (len(labels), 2))
    return list(zip(labels, scores.ravel().tolist(), probabilities.tolist(), strict=True))


def assert_same(found: Sequence[Answer], wanted: Sequence[Answer]) -> None:
    """Assert that labels are equal, and probabilities up to their last bits."""
    assert [label for label, _, _ in found] == [label for label, _, _ in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert abs(one[1] - other[1]) <= 1e-6
        assert np.abs(np.array(one[2]) - other[2]).max() <= 1e-6


def test_texts(expected: list[Answer]) -> None:
    """The texts have both labels, and the model is certain of some and uncertain of others."""
    assert {label for label, _, _ in expected} == {"negative", "positive"}
    assert min(score for _, score, _ in expected) < 0.6 and max(score for _, score, _ in expected) > 0.9


@pytest.mark.parametrize(
    ("binary_in", "binary_out"), [(True, None), (True, False), (False, True)], ids=["default", "to json", "from json"]
)
def test_http(http: Any, texts: list[str], expected: list[Answer], binary_in: bool, binary_out: bool | None) -> None:
    """The HTTP client works with binary data and JSON."""
    wish = None
    if binary_out is not None:
        wish = [tritonclient.http.InferRequestedOutput(name, binary_data=binary_out) for name in OUTPUTS]

    def infer(batch: Sequence[str]) -> list[Answer]:
        return answers(http.infer(MODEL, text_input(tritonclient.http, batch, binary_data=binary_in), outputs=wish))

    assert_same([each for batch in batches(texts) for each in infer(batch)], expected)
    assert_same([each for text in texts[:SINGLES] for each in infer([text])], expected[:SINGLES])


@pytest.mark.parametrize(
    ("request_algorithm", "response_algorithm"), [("gzip", None), ("deflate", "gzip"), (None, "deflate")]
)
def test_http_compression(
    http: Any,
    texts: list[str],
    expected: list[Answer],
    request_algorithm: str | None,
    response_algorithm: str | None,
) -> None:
    """The HTTP client works with compressed requests and answers."""
    for batch, wanted in zip(batches(texts[:100]), batches(expected[:100]), strict=True):
        result = http.infer(
            MODEL,
            text_input(tritonclient.http, batch),
            request_compression_algorithm=request_algorithm,
            response_compression_algorithm=response_algorithm,
        )
        assert_same(answers(result), wanted)


def test_http_async_infer(http: Any, texts: list[str], expected: list[Answer]) -> None:
    """The HTTP client works with concurrent requests."""
    running = [http.async_infer(MODEL, text_input(tritonclient.http, batch)) for batch in batches(texts)]
    assert_same([each for request in running for each in answers(request.get_result())], expected)


@pytest.mark.parametrize("algorithm", [None, "gzip", "deflate"])
def test_grpc(grpc: Any, texts: list[str], expected: list[Answer], algorithm: str | None) -> None:
    """The gRPC client works with and without compression."""

    def infer(batch: Sequence[str]) -> list[Answer]:
        return answers(grpc.infer(MODEL, text_input(tritonclient.grpc, batch), compression_algorithm=algorithm))

    assert_same([each for batch in batches(texts) for each in infer(batch)], expected)
    assert_same([each for text in texts[:SINGLES] for each in infer([text])], expected[:SINGLES])


def results(done: queue.SimpleQueue[tuple[Any, Any]], count: int) -> Iterator[Any]:
    """Return a number of results of callbacks, in the order of their arrival."""
    for _ in range(count):
        result, error = done.get(timeout=PATIENCE)
        assert error is None
        yield result


def callback(done: queue.SimpleQueue[tuple[Any, Any]]) -> Callable[[Any, Any], None]:
    """Store the result or the error that the client passes."""
    return lambda result, error: done.put((result, error))


def test_grpc_async_infer(grpc: Any, texts: list[str], expected: list[Answer]) -> None:
    """The gRPC client works with concurrent requests, whose ids identify the answers."""
    done: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    for number, batch in enumerate(batches(texts)):
        grpc.async_infer(MODEL, text_input(tritonclient.grpc, batch), callback(done), request_id=str(number))
    by_id = {int(result.get_response().id): answers(result) for result in results(done, len(expected) // BATCH)}
    assert_same([each for number in sorted(by_id) for each in by_id[number]], expected)


def test_grpc_stream(grpc: Any, texts: list[str], expected: list[Answer]) -> None:
    """The stream of the gRPC client works with one request per text."""
    done: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    grpc.start_stream(callback(done))
    try:
        for number, text in enumerate(texts):
            grpc.async_stream_infer(
                MODEL,
                text_input(tritonclient.grpc, [text]),
                request_id=str(number),
                enable_empty_final_response=number % 2 == 0,
            )
        found = list(results(done, len(texts)))
    finally:
        grpc.stop_stream()
    assert [result.get_response().id for result in found] == [str(number) for number in range(len(texts))]
    assert_same([each for result in found for each in answers(result)], expected)


def test_grpc_stream_with_a_refusal(grpc: Any) -> None:
    """The stream of the gRPC client reports an error and continues."""
    done: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    grpc.start_stream(callback(done))
    try:
        for model in (MODEL, "other", MODEL):
            grpc.async_stream_infer(model, text_input(tritonclient.grpc, ["x"]))
        outcomes = [done.get(timeout=PATIENCE) for _ in range(3)]
    finally:
        grpc.stop_stream()
    assert [error is None for _, error in outcomes] == [True, False, True]
    assert "there is no model 'other'" in str(outcomes[1][1])


@pytest.mark.parametrize(("binary", "algorithm"), [(True, "gzip"), (False, None)])
def test_http_aio(
    server: ServerProcess, texts: list[str], expected: list[Answer], binary: bool, algorithm: str | None
) -> None:
    """The asynchronous HTTP client works with concurrent batches, with and without compression."""

    async def ask() -> list[Any]:
        async with tritonclient.http.aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            wish = [tritonclient.http.aio.InferRequestedOutput(name, binary_data=binary) for name in OUTPUTS]
            running = (
                client.infer(
                    MODEL,
                    text_input(tritonclient.http.aio, batch, binary_data=binary),
                    outputs=wish,
                    request_compression_algorithm=algorithm,
                    response_compression_algorithm=algorithm,
                )
                for batch in batches(texts)
            )
            return await asyncio.gather(*running)

    assert_same([each for result in asyncio.run(ask()) for each in answers(result)], expected)


def test_grpc_aio(server: ServerProcess, texts: list[str], expected: list[Answer]) -> None:
    """The asynchronous gRPC client works with concurrent batches and with its stream."""

    async def ask() -> tuple[list[Any], list[Any]]:
        async with tritonclient.grpc.aio.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
            running = (
                client.infer(MODEL, text_input(tritonclient.grpc.aio, batch), compression_algorithm="gzip")
                for batch in batches(texts)
            )
            batched = await asyncio.gather(*running)

            async def requests() -> AsyncIterator[dict[str, Any]]:
                for text in texts:
                    yield {"model_name": MODEL, "inputs": text_input(tritonclient.grpc.aio, [text])}

            streamed = []
            async for result, error in client.stream_infer(requests()):
                assert error is None
                streamed.append(result)
            return batched, streamed

    for found in asyncio.run(ask()):
        assert_same([each for result in found for each in answers(result)], expected)


def test_tokens(http: Any, grpc: Any, texts: list[str], expected: list[Answer], artifact: Artifact) -> None:
    """Ids from the caller get the answer of their text, with both clients."""
    for text, wanted in list(zip(texts, expected, strict=True))[:SINGLES]:
        ids = artifact.tokenizer.encode(text).ids[np.newaxis].astype(np.int32)
        for client, package in ((http, tritonclient.http), (grpc, tritonclient.grpc)):
            tensor = package.InferInput("tokens", list(ids.shape), "INT32")
            tensor.set_data_from_numpy(ids)
            assert_same(answers(client.infer(MODEL, [tensor])), [wanted])


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_classification(http: Any, grpc: Any, expected: list[Answer], texts: list[str], protocol: str) -> None:
    """The class count of both clients returns that many classes."""
    client, package = (http, tritonclient.http) if protocol == "http" else (grpc, tritonclient.grpc)
    wish = [package.InferRequestedOutput("probabilities", class_count=1)]
    result = client.infer(MODEL, text_input(package, texts[:BATCH]), outputs=wish)
    classes = [each.decode().split(":") for each in result.as_numpy("probabilities").ravel()]
    assert [label for _, _, label in classes] == [label for label, _, _ in expected[:BATCH]]
    assert [float(value) for value, _, _ in classes] == pytest.approx([each[1] for each in expected[:BATCH]], abs=1e-6)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_questions(http: Any, grpc: Any, protocol: str) -> None:
    """All other methods of both clients are answered."""
    client = http if protocol == "http" else grpc
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(MODEL) and client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready("other") and not client.is_model_ready(MODEL, "2")
    as_json = {} if protocol == "http" else {"as_json": True}
    assert client.get_server_metadata(**as_json)["name"] == "sentiment-conv1d"
    assert client.get_model_metadata(MODEL, **as_json)["versions"] == ["1"]
    config = client.get_model_config(MODEL, **as_json)
    assert config.get("config", config)["max_batch_size"] == 1024
    statistics = client.get_inference_statistics(MODEL, **as_json)["model_stats"]
    assert [(each["name"], each["version"]) for each in statistics] == [(MODEL, "1")]
    index = client.get_model_repository_index(**as_json)
    assert (index if protocol == "http" else index["models"])[0]["state"] == "READY"


def test_repository(tmp_path: Path) -> None:
    """Both clients load and unload models, and each client sees the other's changes."""
    publish_table(tmp_path)
    with (
        ServerProcess("--admin", "open", repository=tmp_path) as process,
        tritonclient.http.InferenceServerClient(f"127.0.0.1:{process.port}") as http,
        tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{process.grpc_port}") as grpc,
    ):
        for one, other in ((http, grpc), (grpc, http)):
            one.unload_model("tickets")
            assert not other.is_model_ready("tickets") and not other.is_server_ready()
            other.load_model("tickets")
            assert one.is_model_ready("tickets", "1") and one.is_server_ready()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_refusals(http: Any, grpc: Any, protocol: str) -> None:
    """Both clients show the reason of an error."""
    client, package = (http, tritonclient.http) if protocol == "http" else (grpc, tritonclient.grpc)
    given = text_input(package, ["x"])
    with pytest.raises(InferenceServerException, match="there is no model 'other'"):
        client.infer("other", given)
    with pytest.raises(InferenceServerException, match="there is no output 'logits'"):
        client.infer(MODEL, given, outputs=[package.InferRequestedOutput("logits")])
    with pytest.raises(InferenceServerException, match="is not loaded; loaded: 1"):
        client.infer(MODEL, given, model_version="2")
    with pytest.raises(InferenceServerException, match="there is no model 'other'"):
        client.load_model("other")
    assert len(answers(client.infer(MODEL, given, request_id="1", priority=2, timeout=60_000_000))) == 1
