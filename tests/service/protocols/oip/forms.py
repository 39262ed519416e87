"""The forms of infer requests and answers: JSON and binary over REST, typed and raw over gRPC."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import grpc
import pytest

from tests.processes import PATIENCE, ServerProcess
from tests.service.protocols.oip import bodies, messages

TEXTS = ("A gripping, beautifully acted film.", "Dull, très long, and a waste of time.", "")

#: An input or a requested output, as in JSON.
Item = dict[str, Any]


class Answer(NamedTuple):
    """The names, datatypes and shapes of the outputs, and their elements by name."""

    shapes: list[tuple[str, str, list[int]]]
    elements: dict[str, list[Any]]


class Form(Protocol):
    """Sends a request in one form. Returns the answer, or the message of an error for an invalid request."""

    def __call__(self, *inputs: Item, outputs: Sequence[Item] = ()) -> Answer | str: ...


def rest(server: ServerProcess, *, binary: bool) -> Form:
    """Return the form with JSON or binary tensors over REST."""

    def ask(*inputs: Item, outputs: Sequence[Item] = ()) -> Answer | str:
        fields: Item = {"outputs": outputs} if outputs else {}
        body: dict[str, Any] = {"content": bodies.request(*inputs, **fields)}
        if binary:
            raw = [_raw(each) for each in inputs]
            described = [
                {"name": each["name"], "shape": each["shape"], "datatype": each["datatype"]}
                | {"parameters": {"binary_data_size": len(content)}}
                for each, content in zip(inputs, raw, strict=True)
            ]
            wished = [each | {"parameters": each.get("parameters", {}) | {"binary_data": True}} for each in outputs]
            fields = {"outputs": wished} if outputs else {"parameters": {"binary_data_output": True}}
            body = bodies.with_binary(bodies.request(*described, **fields), *raw)
        response = server.client.post(bodies.INFER, **body)
        if response.is_error:
            return bodies.refusal(response)
        answer = bodies.read(response)
        assert bool(answer.binary) == binary
        shapes = [(each["name"], each["datatype"], each["shape"]) for each in answer.document["outputs"]]
        return Answer(shapes, bodies.outputs(answer))

    return ask


def rpc(stub: Any, *, raw: bool) -> Form:
    """Return the form with typed or raw contents over gRPC."""

    def ask(*inputs: Item, outputs: Sequence[Item] = ()) -> Answer | str:
        tensors = [
            messages.tensor(each["name"], each["shape"], each["datatype"], **({} if raw else _typed(each)))
            for each in inputs
        ]
        wished = [messages.output(each["name"], **each.get("parameters", {})) for each in outputs]
        message = messages.request(*tensors, raw=[_raw(each) for each in inputs if raw], outputs=wished)
        try:
            response = stub.ModelInfer(message, timeout=PATIENCE)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            return str(error.details())
        shapes = [(each.name, each.datatype, list(each.shape)) for each in response.outputs]
        return Answer(shapes, messages.elements(response))

    return ask


def _typed(tensor: Item) -> dict[str, Any]:
    """Return typed contents, which only the datatypes of the service have."""
    if tensor["datatype"] == "INT32":
        return {"int_contents": tensor["data"]}
    return {"bytes_contents": list(map(str.encode, tensor["data"]))} if tensor["datatype"] == "BYTES" else {}


def _raw(tensor: Item) -> bytes:
    data = tensor["data"]
    return struct.pack(f"<{len(data)}i", *data) if tensor["datatype"] == "INT32" else bodies.pack(*data)


def native_outputs(server: ServerProcess, *texts: str) -> dict[str, list[Any]]:
    """Return the elements of every output for texts, from the native route."""
    predictions = server.client.post("/v1/predict_batch", json={"texts": texts}).json()["predictions"]
    return {
        "label": [each["label"] for each in predictions],
        "score": [pytest.approx(each["score"], abs=1e-6) for each in predictions],
        "probabilities": [
            pytest.approx(value, abs=1e-6) for each in predictions for value in each["probabilities"].values()
        ],
    }
