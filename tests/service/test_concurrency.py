"""Many concurrent callers over all protocols get their own answers while others disconnect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import grpc
import httpx
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest, PredictRequest
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import PATIENCE, ServerProcess
from tests.service.grpc.channels import connect
from tests.service.reviews import reviews

CLIENTS = 32
TEXTS_OF_A_CLIENT = 12

#: The limit on waiting texts. A request can have as many, and is refused while another text waits.
PENDING = 12_288

#: Half a second of work.
LARGE = ["word " * 1500] * 1000

INFER = "/inference.GRPCInferenceService/ModelInfer"


class Server(NamedTuple):
    """A server and the clients for it."""

    process: ServerProcess
    http: httpx.AsyncClient
    sentiment: Any
    infer: Any
    infer_request: Any


Ask = Callable[[Server, list[str], Sequence[Prediction]], Awaitable[None]]


def close(given: float, right: Prediction) -> bool:
    return bool(given == pytest.approx(right.probabilities[1], abs=1e-6))


async def post(server: Server, path: str, body: Any) -> httpx.Response:
    response = await server.http.post(path, json=body)
    assert response.status_code == 200, response.text
    return response


async def native(server: Server, texts: list[str], expected: Sequence[Prediction]) -> None:
    for text, right in zip(texts, expected, strict=True):
        answer = (await post(server, "/v1/predict", {"text": text})).json()
        assert (answer["tokens"], answer["unknown_tokens"]) == (right.tokens, right.unknown_tokens)
        assert close(answer["probabilities"]["positive"], right)


async def native_batch(server: Server, texts: list[str], expected: Sequence[Prediction]) -> None:
    answer = (await post(server, "/v1/predict_batch", {"texts": texts * 4})).json()["predictions"]
    for given, right in zip(answer, list(expected) * 4, strict=True):
        assert (given["tokens"], given["unknown_tokens"]) == (right.tokens, right.unknown_tokens)
        assert close(given["probabilities"]["positive"], right)


async def open_inference(server: Server, texts: list[str], expected: Sequence[Prediction]) -> None:
    for text, right in zip(texts, expected, strict=True):
        tensor = {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": [text]}
        body = {"id": str(hash(text)), "inputs": [tensor], "outputs": [{"name": "probabilities"}]}
        answer = (await post(server, "/v2/models/imdb-cnn/infer", body)).json()
        assert answer["id"] == str(hash(text))
        assert close(answer["outputs"][0]["data"][1], right)


async def open_inference_grpc(server: Server, texts: list[str], expected: Sequence[Prediction]) -> None:
    for text, right in zip(texts, expected, strict=True):
        tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [text.encode()]}}
        request = server.infer_request(
            model_name="imdb-cnn",
            id=str(hash(text)),
            inputs=[tensor],
            outputs=[{"name": "label"}],
        )
        answer = await server.infer(request, timeout=PATIENCE)
        assert answer.id == str(hash(text))
        assert answer.raw_output_contents[0][4:].decode() == right.label


async def typed(server: Server, texts: list[str], expected: Sequence[Prediction]) -> None:
    for text, right in zip(texts, expected, strict=True):
        answer = await server.sentiment.Predict(PredictRequest(text=text), timeout=PATIENCE)
        assert (answer.tokens, answer.unknown_tokens) == (right.tokens, right.unknown_tokens)
        assert close(answer.probabilities[1].probability, right)


async def typed_stream(server: Server, texts: list[str], expected: Sequence[Prediction]) -> None:
    answers = server.sentiment.PredictStream((PredictRequest(text=text) for text in texts), timeout=PATIENCE)
    remaining = iter(expected)
    async for answer in answers:
        right = next(remaining)
        assert (answer.tokens, answer.unknown_tokens) == (right.tokens, right.unknown_tokens)
        assert close(answer.probabilities[1].probability, right)
    assert not list(remaining)


async def huggingface(server: Server, texts: list[str], expected: Sequence[Prediction]) -> None:
    for text, right in zip(texts, expected, strict=True):
        [labels] = (await post(server, "/", {"inputs": text})).json()
        assert close(next(each["score"] for each in labels if each["label"] == "positive"), right)
        headers = (await post(server, "/predict", {"inputs": text})).headers
        assert headers["x-compute-tokens"] == str(right.tokens)
        assert headers["x-compute-characters"] == str(len(text))


async def tfserving(server: Server, texts: list[str], expected: Sequence[Prediction]) -> None:
    for text, right in zip(texts, expected, strict=True):
        answer = (await post(server, "/v1/models/imdb-cnn:predict", {"instances": [text]})).json()
        assert close(answer["predictions"][0]["probabilities"][1], right)


ASKING: list[Ask] = [
    native,
    native_batch,
    open_inference,
    open_inference_grpc,
    typed,
    typed_stream,
    huggingface,
    tfserving,
]


async def hang_up(server: Server, body: Any, path: str, part: float) -> None:
    """Send a part of a request, or all of it, and close the connection without reading."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    _, writer = await asyncio.open_connection("127.0.0.1", server.process.port)
    writer.write(head + content[: round(len(content) * part)])
    await writer.drain()
    writer.transport.abort()


async def leave(server: Server, number: int, texts: list[str]) -> None:
    """Disconnect in one of several ways."""
    for text in texts:
        match number % 5:
            case 0:
                await hang_up(server, {"text": text}, "/v1/predict", part=0.5)
            case 1:
                await hang_up(server, {"inputs": text}, "/", part=1)
            case 2:
                call = server.sentiment.Predict(PredictRequest(text=text))
                await call.wait_for_connection()
                call.cancel()
            case 3:
                stream = server.sentiment.PredictStream()
                await stream.write(PredictRequest(text=text))
                assert (await stream.read()).tokens > 1
                stream.cancel()
            case 4:
                call = server.infer(server.infer_request(model_name="imdb-cnn"))
                call.cancel()
    if number % 5 == 0:
        await hang_up(server, {"texts": LARGE}, "/v1/predict_batch", part=1)
    if number % 5 == 2:
        call = server.sentiment.PredictBatch(PredictBatchRequest(texts=LARGE))
        await call.wait_for_connection()
        call.cancel()


async def scenario(process: ServerProcess, classifier: Classifier, leaving: bool) -> None:
    texts = reviews(CLIENTS * TEXTS_OF_A_CLIENT, seed=2)
    expected = [classifier.predict([text])[0] for text in texts]
    with connect(process) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        descriptor = DescriptorPool(database).FindServiceByName("inference.GRPCInferenceService")
        method = descriptor.FindMethodByName("ModelInfer")
    limits = httpx.Limits(max_connections=None)
    options = [("grpc.enable_http_proxy", 0)]
    async with (
        httpx.AsyncClient(base_url=process.url, timeout=PATIENCE, limits=limits, trust_env=False) as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{process.grpc_port}", options=options) as aio,
    ):
        infer: Any = aio.unary_unary(
            INFER,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        server = Server(process, http, SentimentStub(aio), infer, GetMessageClass(method.input_type))
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                mine = slice(number * TEXTS_OF_A_CLIENT, (number + 1) * TEXTS_OF_A_CLIENT)
                if leaving and number % 3 == 0:
                    group.create_task(leave(server, number // 3, texts[mine]))
                else:
                    ask = ASKING[number % len(ASKING)]
                    group.create_task(_awaited(ask(server, texts[mine], expected[mine])))
        # The server drops the texts of cancelled requests when the running piece has finished.
        while True:
            response = await http.post("/v1/predict_batch", json={"texts": ["x"] * PENDING})
            if response.status_code != 429:
                break
        assert [each["tokens"] for each in response.json()["predictions"]] == [2] * PENDING
        for ask in ASKING:
            await ask(server, texts[:2], expected[:2])


async def _awaited(work: Awaitable[None]) -> None:
    await work


@pytest.mark.parametrize("leaving", [False, True], ids=["all stay", "a third leaves"])
def test_own_answers(classifier: Classifier, leaving: bool) -> None:
    """Every remaining caller gets its own answer. Afterwards nothing waits, and every protocol answers."""
    limits = ("--max-pending-texts", str(PENDING), "--max-batch-texts", str(PENDING))
    with ServerProcess(*limits) as process:
        asyncio.run(scenario(process, classifier, leaving))
        assert "Traceback" not in "".join(process.log)
        assert not [line for line in process.log if " ERROR " in line]
